package btfraw

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Extension puts types behind those of a raw BTF blob, whose own types and strings
// keep their IDs and offsets.
type Extension struct {
	types   *BTF
	header  []byte
	added   []byte // types
	strings []byte
}

// Member is one of a union.
type Member struct {
	Name string
	Type btf.TypeID
}

// Extend returns an extension of a blob that stands alone, without anything in it
// yet. It keeps a reference to raw.
//
// It refuses a blob of which types and strings, in this order, are not all there
// is: clang, GCC, pahole and libbpf's linker write no other, and what a newer
// compiler puts behind them is not known here.
func Extend(raw []byte) (*Extension, error) {
	types, err := Parse(raw, nil)
	if err != nil {
		return nil, err
	}
	if err := types.index(); err != nil {
		return nil, err
	}
	order, headerLen := types.Order, types.Order.Uint32(raw[4:])
	switch {
	case order.Uint32(raw[8:]) != 0 || order.Uint32(raw[16:]) != uint32(len(types.types)),
		uint64(headerLen)+uint64(len(types.types))+uint64(len(types.strings)) != uint64(len(raw)):
		return nil, errors.New("BTF is not types and strings, one behind the other: made by a newer compiler than this program knows")
	}
	return &Extension{types: types, header: raw[:headerLen]}, nil
}

// BTF kinds, in the place where struct btf_type has them.
const (
	kindPointer = 2 << 24
	kindUnion   = 5 << 24
)

// maxMembers is BTF_MAX_VLEN of include/uapi/linux/btf.h.
const maxMembers = 0xffff

// Pointer adds a pointer to a type and returns its ID.
func (e *Extension) Pointer(to btf.TypeID) btf.TypeID {
	return e.add(0, kindPointer, uint32(to))
}

// Union adds a union of so many bytes and returns its ID. It refuses more members
// than BTF has room for.
func (e *Extension) Union(name string, size uint32, members []Member) (btf.TypeID, error) {
	if len(members) > maxMembers {
		return 0, fmt.Errorf("union %s of %d members: BTF has room for %d", name, len(members), maxMembers)
	}
	id := e.add(e.string(name), kindUnion|uint32(len(members)), size)
	for _, member := range members {
		e.words(e.string(member.Name), uint32(member.Type), 0)
	}
	return id, nil
}

// add appends a struct btf_type.
func (e *Extension) add(name, info, sizeOrType uint32) btf.TypeID {
	e.words(name, info, sizeOrType)
	e.types.end++
	return e.types.end - 1
}

func (e *Extension) words(words ...uint32) {
	for _, word := range words {
		at := len(e.added)
		e.added = append(e.added, 0, 0, 0, 0)
		e.types.Order.PutUint32(e.added[at:], word)
	}
}

// string adds a string and returns its offset.
func (e *Extension) string(s string) uint32 {
	offset := len(e.types.strings) + len(e.strings)
	e.strings = append(append(e.strings, s...), 0)
	return uint32(offset)
}

// Bytes returns the blob with what was added.
func (e *Extension) Bytes() []byte {
	typesLen, stringsLen := len(e.types.types)+len(e.added), len(e.types.strings)+len(e.strings)
	out := make([]byte, 0, len(e.header)+typesLen+stringsLen)
	out = append(out, e.header...)
	e.types.Order.PutUint32(out[12:], uint32(typesLen))
	e.types.Order.PutUint32(out[16:], uint32(typesLen))
	e.types.Order.PutUint32(out[20:], uint32(stringsLen))
	out = append(append(out, e.types.types...), e.added...)
	return append(append(out, e.types.strings...), e.strings...)
}

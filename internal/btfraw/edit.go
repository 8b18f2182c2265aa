package btfraw

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// Edit changes single types of a raw BTF blob, and puts more behind them. All types and
// strings that are there keep their IDs and offsets.
type Edit struct {
	order    binary.ByteOrder
	header   []byte
	types    [][]byte // by ID: struct btf_type and what follows
	strings  stringTable
	datasecs map[string]btf.TypeID // by name; nil until asked for
}

// NewEdit returns an edit that changes nothing yet, of a blob that stands alone. It
// keeps no reference to raw.
//
// It refuses a blob of which types and strings, in this order, are not all there
// is: clang, GCC, pahole and libbpf's linker write no other, and what a newer
// compiler puts behind them is not known here.
func NewEdit(raw []byte) (*Edit, error) {
	parsed, err := Parse(bytes.Clone(raw), nil)
	if err != nil {
		return nil, err
	}
	if err := parsed.Index(); err != nil {
		return nil, err
	}
	order, headerLen := parsed.Order, parsed.Order.Uint32(raw[4:])
	switch {
	case headerLen < headerSize,
		order.Uint32(raw[8:]) != 0 || order.Uint32(raw[16:]) != uint32(len(parsed.types)),
		uint64(headerLen)+uint64(len(parsed.types))+uint64(len(parsed.strings)) != uint64(len(raw)):
		return nil, errors.New("BTF is not types and strings, one behind the other: made by a newer compiler than this program knows")
	}
	e := &Edit{order: order, header: bytes.Clone(raw[:headerLen]), types: [][]byte{nil}} // 0 is void
	if e.strings, err = newStringTable(parsed.strings); err != nil {
		return nil, err
	}
	for rest := parsed.types; len(rest) > 0; {
		size, err := encodedSize(order.Uint32(rest[4:]))
		if err != nil {
			return nil, err
		}
		e.types = append(e.types, rest[:size:size])
		rest = rest[size:]
	}
	return e, nil
}

// Rename gives a type another name.
func (e *Edit) Rename(id btf.TypeID, name string) error {
	raw, err := e.find(id)
	if err == nil {
		e.put(raw, e.strings.add(name))
	}
	return err
}

// SetLinkage gives a function another linkage, which is in the place of vlen.
func (e *Edit) SetLinkage(function btf.TypeID, linkage btf.FuncLinkage) error {
	raw, err := e.findKind(function, kindFunc)
	if err == nil {
		e.put(raw[4:], kindFunc<<kindShift|uint32(linkage))
	}
	return err
}

// SetProto gives a function another prototype.
func (e *Edit) SetProto(function, proto btf.TypeID) error {
	if _, err := e.findKind(proto, kindFuncProto); err != nil {
		return err
	}
	raw, err := e.findKind(function, kindFunc)
	if err == nil {
		e.put(raw[8:], uint32(proto))
	}
	return err
}

// ProtoOf returns the prototype of a function.
func (e *Edit) ProtoOf(function btf.TypeID) (btf.TypeID, error) {
	raw, err := e.findKind(function, kindFunc)
	if err != nil {
		return 0, err
	}
	return btf.TypeID(e.order.Uint32(raw[8:])), nil
}

// DropVars takes those variables out of a DATASEC that drop names by their type's ID.
func (e *Edit) DropVars(datasec btf.TypeID, drop func(btf.TypeID) bool) error {
	return e.changeVars(datasec, func(entries [][]byte) [][]byte {
		return slices.DeleteFunc(entries, func(entry []byte) bool { return drop(btf.TypeID(e.order.Uint32(entry))) })
	})
}

// PlaceVars gives variables of a DATASEC the offsets that where says, by their type's
// ID, and puts all in the order of their offsets, as the kernel wants them
// (btf_datasec_check_meta).
func (e *Edit) PlaceVars(datasec btf.TypeID, where map[btf.TypeID]uint32) error {
	return e.changeVars(datasec, func(entries [][]byte) [][]byte {
		for _, entry := range entries {
			if offset, ok := where[btf.TypeID(e.order.Uint32(entry))]; ok {
				e.put(entry[4:], offset)
			}
		}
		slices.SortStableFunc(entries, func(a, b []byte) int { return cmp.Compare(e.order.Uint32(a[4:]), e.order.Uint32(b[4:])) })
		return entries
	})
}

// changeVars changes the entries of a DATASEC, struct btf_var_secinfo.
func (e *Edit) changeVars(datasec btf.TypeID, change func([][]byte) [][]byte) error {
	raw, err := e.findKind(datasec, kindDatasec)
	if err != nil {
		return err
	}
	entries := change(slices.Collect(slices.Chunk(raw[typeSize:], trailing[kindDatasec].each)))
	if len(entries) > maxMembers {
		return fmt.Errorf("DATASEC of %d variables: BTF has room for %d", len(entries), maxMembers)
	}
	changed := append(bytes.Clone(raw[:typeSize]), bytes.Join(entries, nil)...)
	e.put(changed[4:], e.order.Uint32(raw[4:])&^maxMembers|uint32(len(entries)))
	e.types[datasec] = changed
	return nil
}

// BTF kinds, and where the info word has them.
const (
	kindInt       = 1
	kindPointer   = 2
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindTypedef   = 8
	kindVolatile  = 9
	kindConst     = 10
	kindRestrict  = 11
	kindFunc      = 12
	kindFuncProto = 13
	kindVar       = 14
	kindDatasec   = 15
	kindDeclTag   = 17
	kindTypeTag   = 18
	kindEnum64    = 19

	kindShift = 24
	kindMask  = 0x1f
)

// maxMembers is BTF_MAX_VLEN of include/uapi/linux/btf.h.
const maxMembers = 0xffff

func (e *Edit) find(id btf.TypeID) ([]byte, error) {
	if id == 0 || uint64(id) >= uint64(len(e.types)) {
		return nil, fmt.Errorf("damaged BTF: no type %d", id)
	}
	return e.types[id], nil
}

func (e *Edit) findKind(id btf.TypeID, kind uint32) ([]byte, error) {
	raw, err := e.find(id)
	if err == nil && e.kind(raw) != kind {
		err = fmt.Errorf("damaged BTF: type %d is of another kind than %d", id, kind)
	}
	return raw, err
}

func (e *Edit) kind(raw []byte) uint32 { return e.order.Uint32(raw[4:]) >> kindShift & kindMask }

func (e *Edit) put(at []byte, word uint32) { e.order.PutUint32(at, word) }

// Bytes returns the blob with the changes.
func (e *Edit) Bytes() []byte {
	types := bytes.Join(e.types, nil)
	out := make([]byte, 0, len(e.header)+len(types)+e.strings.size())
	out = append(out, e.header...)
	e.put(out[12:], uint32(len(types)))
	e.put(out[16:], uint32(len(types)))
	e.put(out[20:], uint32(e.strings.size()))
	return e.strings.appendTo(append(out, types...))
}

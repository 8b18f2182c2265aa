package btfraw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// Index finds where each type is. It reads their headers, and no more, but those of the
// base as well, and returns the error if one is damaged. Whatever asks for a type does
// the same before. Once it is done, goroutines may share the blob.
func (b *BTF) Index() error {
	if b.offsets != nil {
		return nil
	}
	b.first = 1 // ID 0 is void
	if b.base != nil {
		if err := b.base.Index(); err != nil {
			return err
		}
		b.first = b.base.end()
	}
	if err := b.checkStrings(); err != nil {
		return err
	}
	offsets := make([]uint32, 0, len(b.types)/typicalSize)
	var named []uint32
	for at := 0; at < len(b.types); {
		raw := b.types[at:]
		size, err := b.checkHeader(raw)
		if err != nil {
			return fmt.Errorf("type %d: %w", b.first+btf.TypeID(len(offsets)), err)
		}
		if b.word(raw) > 0 && isType(b.kind(raw)) {
			named = append(named, uint32(len(offsets)))
		}
		offsets = append(offsets, uint32(at))
		at += size
	}
	b.offsets, b.named = offsets, named
	return nil
}

// isType reports whether what is of a kind is a type.
func isType(kind uint32) bool {
	switch kind {
	case kindFunc, kindVar, kindDatasec, kindDeclTag, kindTypeTag:
		return false
	}
	return true
}

// typicalSize is about how many bytes the kernel's types take each.
const typicalSize = 25

// checkStrings wants each string to have an end.
func (b *BTF) checkStrings() error {
	if n := len(b.strings); n > 0 && (b.strings[n-1] != 0 || b.base == nil && b.strings[0] != 0) {
		return errors.New("damaged BTF: the string table does not start with the empty string, or its last one has no end")
	}
	return nil
}

// checkHeader returns how many bytes the first of some types takes.
func (b *BTF) checkHeader(types []byte) (int, error) {
	if len(types) < typeSize {
		return 0, errCutShort
	}
	if name := b.word(types); name > 0 {
		if err := b.checkString(name); err != nil {
			return 0, err
		}
	}
	size, err := encodedSize(b.word(types[4:]))
	if err == nil && size > len(types) {
		err = errCutShort
	}
	return size, err
}

var errCutShort = errors.New("damaged BTF: it is cut short")

// word is the one that some bytes start with. It is asked for more often than is good
// for a call through an interface.
func (b *BTF) word(raw []byte) uint32 {
	word := binary.LittleEndian.Uint32(raw)
	if b.isBigEndian {
		return bits.ReverseBytes32(word)
	}
	return word
}

// end returns one past the last ID.
func (b *BTF) end() btf.TypeID { return b.first + btf.TypeID(len(b.offsets)) }

// Has reports whether an ID is of a type of the blob itself, and not of its base.
func (b *BTF) Has(id btf.TypeID) bool { return id >= b.first && id < b.end() }

// find returns a type: struct btf_type and what follows.
func (b *BTF) find(id btf.TypeID) ([]byte, error) {
	if err := b.Index(); err != nil {
		return nil, err
	}
	switch {
	case b.base != nil && id < b.first:
		return b.base.find(id)
	case id < b.first || id >= b.end():
		return nil, fmt.Errorf("damaged BTF: no type %d", id)
	}
	raw := b.types[b.offsets[id-b.first]:]
	size, err := encodedSize(b.word(raw[4:]))
	if err != nil {
		return nil, err
	}
	return raw[:size:size], nil
}

func (b *BTF) kind(raw []byte) uint32 { return b.word(raw[4:]) >> kindShift & kindMask }

// Named returns the IDs of all types that bear a name once its flavour suffix is taken
// off. Functions, variables, their sections and tags are no types here.
func (b *BTF) Named(essential string) ([]btf.TypeID, error) {
	if essential == "" {
		return nil, nil
	}
	var ids []btf.TypeID
	if b.base != nil {
		var err error
		if ids, err = b.base.Named(essential); err != nil {
			return nil, err
		}
	}
	if err := b.Index(); err != nil {
		return nil, err
	}
	return b.nameIndex().find(essential, ids), nil
}

// nameIndex finds types by their essential name.
type nameIndex struct {
	blob   *BTF
	seed   maphash.Seed
	newest []uint32 // by hash of the name: the last type that has it, as index of named plus one; 0 if there is none
	older  []uint32 // by index of named: the one before of the same hash, in the same way
}

// nameIndex returns the index of the types' names, which it makes when it is first asked
// for, maybe by several goroutines.
func (b *BTF) nameIndex() *nameIndex {
	b.makeNames.Do(func() {
		n := &nameIndex{b, maphash.MakeSeed(), make([]uint32, 1<<bits.Len(uint(len(b.named)))), make([]uint32, len(b.named))}
		for i := range b.named {
			newest := n.bucket(n.name(i))
			n.older[i], *newest = *newest, uint32(i)+1
		}
		b.names = n
	})
	return b.names
}

// name returns the essential name of one of the types. Its offset is right, or there
// would be no index.
func (n *nameIndex) name(i int) string {
	name, _ := n.blob.String(n.blob.word(n.blob.types[n.blob.offsets[n.blob.named[i]]:]))
	return EssentialName(name)
}

func (n *nameIndex) bucket(name string) *uint32 {
	return &n.newest[maphash.String(n.seed, name)&uint64(len(n.newest)-1)]
}

// find appends the types of a name to ids, in ascending order.
func (n *nameIndex) find(essential string, ids []btf.TypeID) []btf.TypeID {
	before := len(ids)
	for i := *n.bucket(essential); i > 0; i = n.older[i-1] {
		if n.name(int(i-1)) == essential {
			ids = append(ids, n.blob.first+btf.TypeID(n.blob.named[i-1]))
		}
	}
	slices.Reverse(ids[before:])
	return ids
}

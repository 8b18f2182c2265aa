package memlab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// Types are those of a kernel.
type Types struct{ spec *btf.Spec }

// ReadTypes reads raw BTF, as of /sys/kernel/btf/vmlinux. It wraps the errors of
// btf.LoadSpecFromReader.
func ReadTypes(raw []byte) (*Types, error) {
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return &Types{spec}, nil
}

// Has returns whether a kernel has a struct or union of a name.
func (t *Types) Has(name string) bool { return t.find(name) != nil }

// Size returns the size of a struct or union in bytes.
func (t *Types) Size(name string) int {
	typ := t.find(name)
	if typ == nil {
		panic(fmt.Sprintf("memlab: no struct %s", name))
	}
	return sizeOf(typ)
}

// find returns a struct or union, or nil. Of several of a name, which are copies, it is
// the first.
func (t *Types) find(name string) btf.Type {
	types, err := t.spec.AnyTypesByName(name)
	if err != nil {
		return nil
	}
	for _, typ := range types {
		if isComposite(typ) {
			return typ
		}
	}
	return nil
}

func isComposite(typ btf.Type) bool {
	switch typ.(type) {
	case *btf.Struct, *btf.Union:
		return true
	}
	return false
}

func sizeOf(typ btf.Type) int {
	size, err := btf.Sizeof(typ)
	if err != nil {
		panic(fmt.Sprintf("memlab: %v", err))
	}
	return size
}

// Struct is a struct at an address, as a kernel lays it out.
type Struct struct {
	memory  *Memory
	typ     btf.Type
	Address uint64
}

// Place takes memory for a struct, and for a number of bytes that follow it.
func (m *Memory) Place(types *Types, name string, more int) *Struct {
	return m.Struct(types, name, m.Take(types.Size(name)+more))
}

// Struct returns the struct at an address, which need not be one in the memory.
func (m *Memory) Struct(types *Types, name string, address uint64) *Struct {
	typ := types.find(name)
	if typ == nil {
		panic(fmt.Sprintf("memlab: no struct %s", name))
	}
	return &Struct{m, typ, address}
}

// place is where a member is.
type place struct {
	offset, bits int // of its first bit; bits is its width if it is a bit-field
	typ          btf.Type
}

// Has returns whether a struct has a member: a path such as "cq.wq.cc".
func (s *Struct) Has(path string) bool {
	_, ok := s.find(path)
	return ok
}

// At returns the address of a member.
func (s *Struct) At(path string) uint64 { return s.Address + uint64(s.member(path).offset/8) }

// Offset returns the offset of a member in bytes.
func (s *Struct) Offset(path string) int { return s.member(path).offset / 8 }

// Get returns what a program loads from a member that is a number or a pointer: zeroes if
// the struct is at an address that faults.
func (s *Struct) Get(path string) uint64 {
	m := s.member(path)
	if m.bits == 0 {
		return s.memory.Load(s.At(path), sizeOf(m.typ))
	}
	var number uint64
	for i := range m.bits {
		at, shift := m.bit(i)
		number |= s.memory.Load(s.Address+at, 1) >> shift & 1 << i
	}
	return number
}

// Set sets a member that is a number or a pointer, which has to be in the memory.
func (s *Struct) Set(path string, number uint64) {
	m := s.member(path)
	if m.bits == 0 {
		s.memory.Store(s.At(path), sizeOf(m.typ), number)
		return
	}
	for i := range m.bits {
		at, shift := m.bit(i)
		kept := s.memory.Load(s.Address+at, 1) &^ (1 << shift)
		s.memory.Store(s.Address+at, 1, kept|number>>i&1<<shift)
	}
}

// bit returns where bit i of a bit-field is, of which bit 0 is the lowest: in which byte of
// the struct, and how far from the lowest of that. BTF counts from the lowest bit of a byte
// on little-endian machines, and from the highest one on others.
func (p place) bit(i int) (at uint64, shift int) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		n := p.offset + i
		return uint64(n / 8), n % 8
	}
	n := p.offset + p.bits - 1 - i
	return uint64(n / 8), 7 - n%8
}

func (s *Struct) member(path string) place {
	found, ok := s.find(path)
	if !ok {
		panic(fmt.Sprintf("memlab: struct %s has no %s", s.typ.TypeName(), path))
	}
	return found
}

func (s *Struct) find(path string) (place, bool) {
	at := place{typ: s.typ}
	for _, name := range strings.Split(path, ".") {
		next, ok := memberOf(at.typ, name)
		if !ok {
			return place{}, false
		}
		at = place{at.offset + next.offset, next.bits, next.typ}
	}
	return at, true
}

// memberOf returns a member of a struct or union, or of one without a name in it.
func memberOf(typ btf.Type, name string) (place, bool) {
	var members []btf.Member
	switch typ := btf.UnderlyingType(typ).(type) {
	case *btf.Struct:
		members = typ.Members
	case *btf.Union:
		members = typ.Members
	}
	for _, member := range members {
		found, ok := place{int(member.Offset), int(member.BitfieldSize), member.Type}, member.Name == name
		if member.Name == "" {
			found, ok = memberOf(member.Type, name)
			found.offset += int(member.Offset)
		}
		if ok {
			return found, true
		}
	}
	return place{}, false
}

package rewrite_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// pairGaps moves members of a layout apart, beyond what C asks for. The zero
// value lays out as C does.
type pairGaps struct {
	random *rand.Rand
	odds   float64
	bits   bool // also within bytes, for bit-fields
}

// before returns how many bits to leave out before a member.
func (g *pairGaps) before(scalar bool) int {
	if g.random == nil || g.random.Float64() >= g.odds {
		return 0
	}
	if scalar && g.bits {
		return 1 + g.random.IntN(20)
	}
	return 8 * (1 + g.random.IntN(6))
}

// layOut gives every member its place by the rules of the psABI of x86-64 and
// of BPF: plain members at their natural alignment, bit-fields within a unit of
// their declared type; in a packed struct, one after the other.
func layOut(typ pairType, gaps pairGaps) {
	switch typ := typ.(type) {
	case *pairArray:
		layOut(typ.element, gaps)
	case *pairStruct:
		end, at := 0, 0
		for i := range typ.members {
			member := &typ.members[i]
			layOut(member.typ, gaps)
			if typ.union {
				at = 0
			}
			scalar, _ := member.typ.(*pairScalar)
			isBits := scalar != nil && scalar.bits > 0
			if !typ.union {
				at += gaps.before(isBits)
			}
			size, align := pairSize(member.typ)
			if typ.packed {
				align = 1
			}
			if isBits {
				if unit := size * 8; !typ.packed && at%unit+scalar.bits > unit {
					at = roundUp(at, unit)
				}
				member.bit = at
				at += scalar.bits
			} else {
				at = roundUp(at, align*8)
				member.bit = at
				at += size * 8
			}
			end = max(end, at)
		}
		_, align := pairSize(typ)
		typ.size = roundUp(roundUp(end, 8)/8, align)
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// crosses reports whether a bit-field crosses an 8-byte boundary. Those of a
// layout may; clang can't record accesses to one that does.
func (s *pairStruct) crosses(paths []pairPath) bool {
	return slices.ContainsFunc(paths, func(path pairPath) bool {
		leaf, ok := s.find(path)
		return ok && leaf.bits > 0 && leaf.bit/64 != (leaf.bit+leaf.bits-1)/64
	})
}

// unloadable reports whether the kernel refuses the BTF of a struct: where there
// are bit-fields, it takes every enumeration for 4 bytes
// (btf_enum_check_kflag_member of kernel/bpf/btf.c).
func unloadable(typ pairType) bool {
	switch typ := typ.(type) {
	case *pairArray:
		return unloadable(typ.element)
	case *pairStruct:
		isBits := func(m pairMember) bool { s, ok := m.typ.(*pairScalar); return ok && s.bits > 0 }
		hasBits := slices.ContainsFunc(typ.members, isBits)
		return slices.ContainsFunc(typ.members, func(m pairMember) bool {
			s, ok := m.typ.(*pairScalar)
			if !ok || s.kind != pairEnum || !hasBits {
				return unloadable(m.typ)
			}
			return s.bits > 32 || s.bits == 0 && m.bit/8+4 > typ.size
		})
	}
	return false
}

// btfTypes makes BTF of the types of a layout.
type btfTypes struct{ enums map[string]*btf.Enum }

func (b *btfTypes) of(typ pairType) btf.Type {
	switch typ := typ.(type) {
	case *pairArray:
		return &btf.Array{Index: btfInt("__ARRAY_SIZE_TYPE__", 4, false), Type: b.of(typ.element), Nelems: uint32(typ.length)}
	case *pairStruct:
		members := make([]btf.Member, len(typ.members))
		for i, member := range typ.members {
			members[i] = btf.Member{Name: member.name, Type: b.of(member.typ), Offset: btf.Bits(member.bit)}
			if scalar, ok := member.typ.(*pairScalar); ok {
				members[i].BitfieldSize = btf.Bits(scalar.bits)
			}
		}
		if typ.union {
			return &btf.Union{Name: typ.tag, Size: uint32(typ.size), Members: members}
		}
		return &btf.Struct{Name: typ.tag, Size: uint32(typ.size), Members: members}
	}
	return b.scalar(typ.(*pairScalar))
}

func (b *btfTypes) scalar(s *pairScalar) btf.Type {
	typ := b.plain(s)
	for _, name := range slices.Backward(s.typedefs) {
		typ = &btf.Typedef{Name: name, Type: typ}
	}
	switch s.qualifiers {
	case "const":
		typ = &btf.Const{Type: typ}
	case "volatile":
		typ = &btf.Volatile{Type: typ}
	case "const volatile":
		typ = &btf.Const{Type: &btf.Volatile{Type: typ}}
	}
	return typ
}

func (b *btfTypes) plain(s *pairScalar) btf.Type {
	switch s.kind {
	case pairBool:
		return &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}
	case pairEnum:
		if b.enums[s.enum] == nil {
			enum := &btf.Enum{Name: s.enum, Size: uint32(s.size), Signed: s.signed}
			for i, value := range s.enumerators() {
				enum.Values = append(enum.Values, btf.EnumValue{Name: fmt.Sprintf("%s_%c", s.enum, 'A'+i), Value: uint64(value)})
			}
			b.enums[s.enum] = enum
		}
		return b.enums[s.enum]
	case pairBig, pairSmall:
		return &btf.Typedef{Name: s.spelled(), Type: &btf.Typedef{Name: fmt.Sprintf("__u%d", s.size*8), Type: btfInt(cNames[s.size], s.size, false)}}
	}
	return &btf.Typedef{Name: s.spelled(), Type: btfInt(cNames[s.size], s.size, s.signed)}
}

var cNames = map[int]string{1: "char", 2: "short", 4: "int", 8: "long long"}

func btfInt(name string, size int, signed bool) *btf.Int {
	if signed {
		return &btf.Int{Name: "signed " + name, Size: uint32(size), Encoding: btf.Signed}
	}
	return &btf.Int{Name: "unsigned " + name, Size: uint32(size)}
}

// pairsBTF returns the raw BTF of a layout that defines the targets of all
// pairs.
func pairsBTF(pairs []*accessPair) ([]byte, error) {
	var roots []btf.Type
	for _, p := range pairs {
		types := btfTypes{make(map[string]*btf.Enum)}
		roots = append(roots, types.of(p.target))
	}
	builder, err := btf.NewBuilder(roots, nil)
	if err != nil {
		return nil, err
	}
	options := btf.MarshalOptions{Order: binary.LittleEndian}
	if pairsBigEndian() {
		options.Order = binary.BigEndian
	}
	return builder.Marshal(nil, &options)
}

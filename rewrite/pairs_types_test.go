package rewrite_test

import (
	"fmt"
	"slices"
	"strings"
)

// pairType is a type of a generated struct: *pairScalar, *pairArray or
// *pairStruct.
type pairType interface{ clone() pairType }

// pairScalar is a type that can be read and written: an integer, a bool, an
// enumeration, or a bit-field of one of these.
type pairScalar struct {
	kind   pairKind
	size   int // in bytes
	signed bool
	bits   int // width of a bit-field, 0 if it is none

	enum       string   // name of an enumeration
	typedefs   []string // names, the outermost first
	qualifiers string   // "const", "volatile", "const volatile" or none
}

type pairKind uint8

const (
	pairInt   pairKind = iota
	pairBig            // __be16, __be32, __be64
	pairSmall          // __le16, __le32, __le64
	pairBool
	pairEnum
)

type pairArray struct {
	length  int
	element pairType
}

// pairStruct is a struct or a union, with a tag or anonymous.
type pairStruct struct {
	tag     string
	union   bool
	packed  bool
	members []pairMember
	size    int // in bytes, set by a layout
}

// pairMember is a member by name, or an anonymous struct or union.
type pairMember struct {
	name string
	typ  pairType
	bit  int // from the start of the struct, set by a layout
}

func (s *pairScalar) clone() pairType {
	c := *s
	return &c
}

func (a *pairArray) clone() pairType { return &pairArray{a.length, a.element.clone()} }

func (s *pairStruct) clone() pairType {
	c := *s
	c.members = slices.Clone(s.members)
	for i := range c.members {
		c.members[i].typ = c.members[i].typ.clone()
	}
	return &c
}

// width returns how many bits the scalar has.
func (s *pairScalar) width() int {
	if s.bits > 0 {
		return s.bits
	}
	return s.size * 8
}

func (s *pairScalar) isConst() bool { return strings.Contains(s.qualifiers, "const") }

// class names what matters to an access but the width: "unsigned", "signed
// bits", "big-endian".
func (s *pairScalar) class() string {
	name := "unsigned"
	switch {
	case s.kind == pairBool:
		name = "bool"
	case s.kind == pairBig:
		name = "big-endian"
	case s.kind == pairSmall:
		name = "little-endian"
	case s.signed:
		name = "signed"
	}
	if s.kind == pairEnum {
		name += " enum"
	}
	if s.bits > 0 {
		name += " bits"
	}
	return name
}

// pairStep is a step of a path: to a member, or to an element if it has no
// name.
type pairStep struct {
	name  string
	index int
}

// pairPath is the way from a root type to a scalar, through what has a name.
type pairPath []pairStep

// String spells the path as C does behind a pointer to the root type.
func (p pairPath) String() string {
	var b strings.Builder
	for i, step := range p {
		switch {
		case step.name == "":
			fmt.Fprintf(&b, "[%d]", step.index)
		case i > 0:
			b.WriteString("." + step.name)
		default:
			b.WriteString(step.name)
		}
	}
	return b.String()
}

// whole returns the path to the struct or array that the end of the path is in.
func (p pairPath) whole() pairPath { return p[:len(p)-1] }

// within reports whether a path leads through another one.
func (p pairPath) within(whole pairPath) bool {
	return len(p) > len(whole) && slices.Equal(p[:len(whole)], whole)
}

// pairLeaf is what lies at the end of a path.
type pairLeaf struct {
	*pairScalar // nil if it is a struct or array
	typ         pairType
	bit         int         // from the start of the root type
	record      *pairStruct // that it is a member of, nil for an element of an array
	within      int         // bits from the start of the record
}

// find follows a path. It reports false for what is not there.
func (s *pairStruct) find(path pairPath) (pairLeaf, bool) {
	return findPairLeaf(s, path, pairLeaf{})
}

// findPairLeaf starts at a place that it knows all of but the type.
func findPairLeaf(typ pairType, path pairPath, at pairLeaf) (pairLeaf, bool) {
	if len(path) == 0 {
		at.typ = typ
		at.pairScalar, _ = typ.(*pairScalar)
		return at, true
	}
	switch typ := typ.(type) {
	case *pairArray:
		if path[0].name != "" || path[0].index >= typ.length {
			return pairLeaf{}, false
		}
		size, _ := pairSize(typ.element)
		return findPairLeaf(typ.element, path[1:], pairLeaf{bit: at.bit + path[0].index*size*8})
	case *pairStruct:
		if path[0].name == "" {
			return pairLeaf{}, false
		}
		for _, member := range typ.members {
			rest := path
			switch member.name {
			case path[0].name:
				rest = path[1:]
			case "":
			default:
				continue
			}
			if leaf, ok := findPairLeaf(member.typ, rest, pairLeaf{bit: at.bit + member.bit, record: typ, within: member.bit}); ok {
				return leaf, true
			}
		}
	}
	return pairLeaf{}, false
}

// recorded reports whether clang can record accesses to a bit-field: it ends
// with a fatal error where the bits are not within one unit as large as the
// alignment of the struct that they are in (GetStorageBitRange of LLVM's
// BPFAbstractMemberAccess.cpp). It takes that from types in which bit-fields
// are bytes, and of a union does not know it.
func (l pairLeaf) recorded() bool {
	if l.bits == 0 {
		return true
	}
	unit := 8
	if !l.record.union && !holdsPacked(l.record) {
		unit = plainAlignment(l.record) * 8
	}
	return l.within/unit == (l.within+l.bits-1)/unit
}

// holdsPacked reports whether a type is packed or contains one that is: LLVM
// then packs the whole.
func holdsPacked(typ pairType) bool {
	switch typ := typ.(type) {
	case *pairArray:
		return holdsPacked(typ.element)
	case *pairStruct:
		return typ.packed || slices.ContainsFunc(typ.members, func(m pairMember) bool { return holdsPacked(m.typ) })
	}
	return false
}

// plainAlignment returns the alignment of a type without its bit-fields.
func plainAlignment(typ pairType) int {
	switch typ := typ.(type) {
	case *pairArray:
		return plainAlignment(typ.element)
	case *pairStruct:
		align := 1
		for _, member := range typ.members {
			align = max(align, plainAlignment(member.typ))
		}
		return align
	}
	if scalar := typ.(*pairScalar); scalar.bits == 0 {
		return scalar.size
	}
	return 1
}

// pairLeaves lists the paths to every scalar; of an array, to each element.
func pairLeaves(typ pairType) []pairPath {
	var paths []pairPath
	add := func(step pairStep, inner pairType) {
		for _, rest := range pairLeaves(inner) {
			paths = append(paths, append(pairPath{step}, rest...))
		}
	}
	switch typ := typ.(type) {
	case *pairScalar:
		return []pairPath{{}}
	case *pairArray:
		for i := range typ.length {
			add(pairStep{index: i}, typ.element)
		}
	case *pairStruct:
		for _, member := range typ.members {
			if member.name == "" {
				paths = append(paths, pairLeaves(member.typ)...)
				continue
			}
			add(pairStep{name: member.name}, member.typ)
		}
	}
	return paths
}

// pairSize returns the size of a type in bytes, of a struct that has been laid
// out, and its natural alignment.
func pairSize(typ pairType) (size, align int) {
	switch typ := typ.(type) {
	case *pairArray:
		size, align = pairSize(typ.element)
		return size * typ.length, align
	case *pairStruct:
		align = 1
		if typ.packed {
			return typ.size, 1
		}
		for _, member := range typ.members {
			_, natural := pairSize(member.typ)
			align = max(align, natural)
		}
		return typ.size, align
	}
	scalar := typ.(*pairScalar)
	return scalar.size, scalar.size
}

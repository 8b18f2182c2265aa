package reloc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Leaf is a piece of a struct, union or array that is kept in one place: a
// number, a pointer, or any type of which the two sides have the same
// representation.
type Leaf struct {
	Path   string // from the start of the whole, such as ".inner.words[2]"
	Local  *Field // in the program, with offsets from the start of the root type
	Target *Field // in the layout, the same
}

// Moves reports whether the layout has the same bytes in another place, and
// nothing else differs.
func (l *Leaf) Moves(order binary.ByteOrder) bool {
	return !l.Local.IsBitField() && !l.Target.IsBitField() && SameRepresentation(l.Local, l.Target, order)
}

// Leaves returns the pieces of a program's field that have bits among so many
// bytes from an offset, and where the layout has each. Both fields are structs,
// unions or arrays, and offset counts from the start of the root type. Members
// are found by name, through anonymous structs and unions, as Resolve finds
// those on a path, and elements by index. Bytes that are no piece's are padding.
//
// why is set if that can't be said: the layout lacks a member or an element, has
// something else in its place, or a union has members that the layout keeps in
// different ways.
func Leaves(local, target *Field, offset int64, size uint32, order binary.ByteOrder) (leaves []Leaf, why string, err error) {
	w := &leafWalk{first: uint64(offset) * 8, last: (uint64(offset) + uint64(size)) * 8, order: order, patience: maxVisits}
	why, err = w.walk("", fieldLocation(local), fieldLocation(target), 0)
	return w.leaves, why, err
}

func fieldLocation(f *Field) location {
	return location{bits: uint64(f.Offset) * 8, typ: f.typ}
}

// maxVisits bounds the work on types that contain themselves.
const maxVisits = 1 << 12

var errTooDeep = errors.New("types are nested too deeply to copy")

// leafWalk collects the leaves among some bits of the root type.
type leafWalk struct {
	first, last uint64 // last exclusive
	order       binary.ByteOrder
	patience    int
	leaves      []Leaf
}

// walk goes through a type of the program, from where the layout has the same.
func (w *leafWalk) walk(path string, local, target location, depth int) (why string, err error) {
	if w.patience--; w.patience < 0 || depth > maxDepth {
		return "", errTooDeep
	}
	here, err := local.field()
	if err != nil || !w.overlaps(local, here) {
		return "", err
	}
	there, err := target.field()
	if err != nil {
		return "", err
	}
	if leaf := (Leaf{path, here, there}); leaf.Moves(w.order) {
		w.leaves = append(w.leaves, leaf)
		return "", nil
	}
	switch typ := btf.UnderlyingType(local.typ).(type) {
	case *btf.Array:
		return w.elements(path, typ, local, target, depth)
	case *btf.Struct:
		for i := range typ.Members {
			if why, err = w.member(path, &typ.Members[i], local, target, depth); why != "" || err != nil {
				return why, err
			}
		}
		return "", nil
	case *btf.Union:
		return w.union(path, typ, local, target, depth)
	}
	w.leaves = append(w.leaves, Leaf{path, here, there})
	return "", nil
}

// overlaps reports whether a field has bits among those that are asked for.
func (w *leafWalk) overlaps(loc location, field *Field) bool {
	bits := uint64(field.BitSize)
	if !field.IsBitField() {
		bits = uint64(field.Size) * 8
	}
	return loc.bits < w.last && loc.bits+bits > w.first
}

// elements goes through the elements of an array that are asked for.
func (w *leafWalk) elements(path string, array *btf.Array, local, target location, depth int) (why string, err error) {
	size, err := btf.Sizeof(array.Type)
	if err != nil || size == 0 {
		return "", err
	}
	bits := uint64(size) * 8
	index := uint64(0)
	if w.first > local.bits {
		index = (w.first - local.bits) / bits
	}
	for ; index < uint64(array.Nelems) && local.bits+index*bits < w.last; index++ {
		here, there := local, target
		here.typ = array.Type
		if err := here.advance(uint32(index), array.Type); err != nil {
			return "", err
		}
		if why, err := there.matchElement(step{index: uint32(index), typ: array.Type}, false); why != "" || err != nil {
			return named(path, why), err
		}
		if !fieldsCompatible(here.typ, there.typ) {
			return named(path, fmt.Sprintf("its elements are %s, which is no %s", TypeString(there.typ), TypeString(here.typ))), nil
		}
		if why, err = w.walk(fmt.Sprintf("%s[%d]", path, index), here, there, depth+1); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// member goes through a member. What is in an anonymous one belongs to the struct
// around it.
func (w *leafWalk) member(path string, member *btf.Member, local, target location, depth int) (why string, err error) {
	if err := local.enter(member); err != nil {
		return "", err
	}
	field, err := local.field()
	if err != nil || !w.overlaps(local, field) {
		return "", err
	}
	if member.Name == "" {
		if !isComposite(btf.UnderlyingType(member.Type)) {
			return "", nil // bits without a name are padding
		}
		return w.anonymous(path, member, local, target, depth)
	}
	if _, why, err := target.matchMember(step{name: member.Name, typ: member.Type}); why != "" || err != nil {
		return named(path, why), err
	}
	return w.walk(path+"."+member.Name, local, target, depth+1)
}

// anonymous goes through an anonymous struct or union, whose members the layout
// may have anywhere in the type that is around it.
func (w *leafWalk) anonymous(path string, member *btf.Member, local, target location, depth int) (why string, err error) {
	if w.patience--; w.patience < 0 || depth > maxDepth {
		return "", errTooDeep
	}
	if union, ok := btf.UnderlyingType(member.Type).(*btf.Union); ok {
		return w.union(path, union, local, target, depth+1)
	}
	inner := members(btf.UnderlyingType(member.Type))
	for i := range inner {
		if why, err = w.member(path, &inner[i], local, target, depth+1); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// union takes the leaves of one member, if all of them come to the same: nothing
// tells which one the program means.
func (w *leafWalk) union(path string, union *btf.Union, local, target location, depth int) (why string, err error) {
	before := w.leaves
	var agreed []Leaf
	for i := range union.Members {
		w.leaves = nil
		if why, err = w.member(path, &union.Members[i], local, target, depth); why != "" || err != nil {
			return why, err
		}
		if i > 0 && !w.sameLeaves(agreed, w.leaves) {
			return named(path, fmt.Sprintf("nothing tells which member of %s is meant, and the layout keeps them in different ways", TypeString(union))), nil
		}
		agreed = w.leaves
	}
	w.leaves = append(before, agreed...)
	return "", nil
}

// sameLeaves reports whether two members of a union are the same but for their
// names.
func (w *leafWalk) sameLeaves(a, b []Leaf) bool {
	if len(a) != len(b) {
		return false
	}
	same := func(a, b *Field) bool {
		return a.Offset == b.Offset && a.BitOffset == b.BitOffset && SameRepresentation(a, b, w.order)
	}
	for i := range a {
		if !same(a[i].Local, b[i].Local) || !same(a[i].Target, b[i].Target) {
			if !w.sameBytes(a[i], b[i]) {
				return false
			}
		}
	}
	return true
}

// sameBytes reports whether two leaves are of the same bytes on either side, which
// only move.
func (w *leafWalk) sameBytes(a, b Leaf) bool {
	return a.Moves(w.order) && b.Moves(w.order) &&
		a.Local.Offset == b.Local.Offset && a.Target.Offset == b.Target.Offset && a.Local.Size == b.Local.Size
}

// named puts the path before what is wrong with it.
func named(path, why string) string {
	if why == "" || path == "" {
		return why
	}
	return path + ": " + why
}

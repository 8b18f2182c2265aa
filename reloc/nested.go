package reloc

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// Clang breaks an access apart at an index that is not constant, at a call, and
// where the address of a struct is kept: of md->tag[i].prio it records md->tag,
// and then prio, with struct tag as the root type. That is the layout's as much as
// the other, though its name does not say so: a loader would look for a struct tag
// of the kernel's.
//
// The other way round, of a struct that has the descriptor within it nobody knows.

// nest is a struct, a union or an enumeration within root types.
type nest struct {
	paths []*pathSpec // that lead to it, at least one

	// What the layout has there, once somebody has asked.
	layout     *Layout
	candidates []candidate
}

// maxNested bounds how many nests are looked for.
const maxNested = 1 << 16

var errNested = fmt.Errorf("more than %d members are nested in what the program accesses", maxNested)

// Adopt marks the accesses whose root type is nested in another root type, which
// isRoot chooses by its name, if another access, be it resolved already, leads to it
// there, or through it, and the layout has something there too: Resolve then looks
// for it there, and not by its name. Those to a struct without a name are marked
// whatever the layout has, since no loader could find it by itself.
//
// A program that never reaches into the member has the struct from elsewhere, the
// packet or the kernel's memory: that it is also a member's type tells nothing. An
// enumeration is nowhere in memory, and asked for without an access: it is the
// descriptor's if a member is of that type, unless it is also in a struct that is left
// to the loader. If the layout has nothing there, the values of its enumerators are
// missing; all else that is asked of it is left to the loader, who answers that it is
// not there, or what the kernel has if it was the kernel's.
func (r *Recorded) Adopt(layout *Layout, isRoot func(name string) bool) error {
	isOurs := func(a *Access) bool { return a.RootName() != "" && isRoot(a.RootName()) }
	var nested, enums map[btf.Type]*nest
	for i := range r.Accesses {
		access := &r.Accesses[i]
		if access.Kind == LocalTypeID || isOurs(access) {
			continue
		}
		if nested == nil {
			var err error
			if nested, err = r.nestsIn(isOurs); err != nil {
				return err
			}
			if enums, err = r.enumsIn(isOurs, nested); err != nil {
				return err
			}
		}
		root := btf.UnderlyingType(access.path.root)
		access.nested, access.lacking = nil, false
		if err := access.adopt(nested[root], access.RootName() == "", layout); err != nil {
			return err
		}
		if access.Adopted() {
			continue
		}
		if err := access.adopt(enums[root], access.RootName() == "" || access.Kind == EnumValue, layout); err != nil {
			return err
		}
	}
	return nil
}

// adopt marks the access if the layout has something where a nest lies, or whether or
// not it has.
func (a *Access) adopt(n *nest, anyway bool, layout *Layout) error {
	if n == nil {
		return nil
	}
	there, err := n.candidatesIn(layout)
	if err == nil && (anyway || len(there) > 0) {
		a.nested = n
	}
	a.lacking = err == nil && a.nested == nil && a.Kind == ByteOffset
	return err
}

// Lacking reports whether the access is to a field of what is nested in another root
// type, and the layout has nothing there. It is the descriptor's then if the program has
// it in a copy of its own, and left to the loader if not.
func (a *Access) Lacking() bool { return a.lacking }

// enumsIn finds the enumerations in root types that are not in the root types of
// accesses to something else.
func (r *Recorded) enumsIn(isOurs func(*Access) bool, nested map[btf.Type]*nest) (map[btf.Type]*nest, error) {
	w := &nestWalk{found: make(map[btf.Type]*nest), patience: maxNested}
	roots, elsewhere := make(map[btf.Type]bool), make(map[btf.Type]bool)
	asks := func(a *Access) bool { return a.Kind != LocalTypeID && is[*btf.Enum](btf.UnderlyingType(a.path.root)) }
	if !slices.ContainsFunc(r.Accesses, func(a Access) bool { return asks(&a) && !isOurs(&a) }) {
		return nil, nil
	}
	for access := range r.all() {
		root := access.path.root
		switch {
		case isOurs(access) && !roots[root]:
			roots[root] = true
			w.walk(&pathSpec{root: root, location: location{typ: root}})
		case !isOurs(access) && !asks(access) && access.Kind != LocalTypeID && nested[btf.UnderlyingType(root)] == nil:
			within(root, elsewhere)
		}
	}
	if w.patience < 0 {
		return nil, errNested
	}
	for typ := range w.found {
		if !is[*btf.Enum](typ) || elsewhere[typ] {
			delete(w.found, typ)
		}
	}
	return w.found, nil
}

// within notes a type and those that lie within it: of members and elements.
func within(typ btf.Type, types map[btf.Type]bool) {
	typ = btf.UnderlyingType(typ)
	if types[typ] {
		return
	}
	types[typ] = true
	if array, ok := typ.(*btf.Array); ok {
		within(array.Type, types)
	}
	for _, member := range members(typ) {
		within(member.Type, types)
	}
}

// Adopted reports whether Recorded.Adopt marked the access.
func (a *Access) Adopted() bool { return a.nested != nil }

// RootIsOf reports whether a field is of the access's root type, or an array of such.
func (a *Access) RootIsOf(f *Field) bool {
	typ := btf.UnderlyingType(f.typ)
	for {
		array, ok := typ.(*btf.Array)
		if !ok {
			return typ == btf.UnderlyingType(a.path.root)
		}
		typ = btf.UnderlyingType(array.Type)
	}
}

// NestedIn returns the field that the root type is the type of, or that of the
// elements of, if Adopt marked the access, such as "md->tag"; the first of several.
func (a *Access) NestedIn() string {
	if !a.Adopted() {
		return ""
	}
	field := a.nested.paths[0].clone()
	for n := len(field.steps); n > 0 && field.steps[n-1].name == ""; n-- {
		field.steps = field.steps[:n-1]
	}
	return field.String()
}

// nestsIn finds what accesses lead through, and what is nested where they end.
func (r *Recorded) nestsIn(isOurs func(*Access) bool) (map[btf.Type]*nest, error) {
	w := &nestWalk{found: make(map[btf.Type]*nest), patience: maxNested}
	type place struct {
		root btf.Type
		path string
	}
	seen := make(map[place]bool)
	for access := range r.all() {
		at := place{access.path.root, access.Path}
		if !access.Kind.aboutField() || seen[at] || !isOurs(access) {
			continue
		}
		seen[at] = true
		w.passed(access.path)
		end := access.path.clone()
		if end.end != nil { // a loop comes to the elements from there, too
			end.typ, end.end = end.end, nil
		}
		w.walk(end)
	}
	if w.patience < 0 {
		return nil, errNested
	}
	return w.found, nil
}

// nestWalk collects nests.
type nestWalk struct {
	found    map[btf.Type]*nest
	patience int
}

// passed notes what a path leads through.
func (w *nestWalk) passed(path *pathSpec) {
	for n, step := range path.steps {
		if is[*btf.Array](btf.UnderlyingType(step.typ)) {
			continue
		}
		part := &pathSpec{root: path.root, first: path.first, steps: path.steps[:n+1]}
		part.typ = step.typ
		w.note(part)
	}
}

// walk notes what is nested at the end of a path.
func (w *nestWalk) walk(at *pathSpec) {
	if w.patience--; w.patience < 0 || len(at.steps) > maxDepth {
		return
	}
	underlying := btf.UnderlyingType(at.typ)
	if array, ok := underlying.(*btf.Array); ok {
		if first := at.clone(); first.element(array, 0, true) == nil {
			w.walk(first)
		}
		return
	}
	if len(at.steps) > 0 {
		w.note(at)
	}
	all := members(underlying)
	for i := range all {
		if inner := at.clone(); inner.member(all, uint32(i)) == nil {
			w.walk(inner)
		}
	}
}

func (w *nestWalk) note(at *pathSpec) {
	typ := btf.UnderlyingType(at.typ)
	if !isComposite(typ) && !is[*btf.Enum](typ) {
		return
	}
	if w.found[typ] == nil {
		w.found[typ] = new(nest)
	}
	w.found[typ].paths = append(w.found[typ].paths, at)
}

func (p *pathSpec) clone() *pathSpec {
	clone := *p
	clone.steps = slices.Clone(p.steps)
	return &clone
}

// candidatesIn returns the types that a layout has where the nest lies in root types
// of the program.
func (n *nest) candidatesIn(layout *Layout) ([]candidate, error) {
	if n.layout == layout {
		return n.candidates, nil
	}
	n.layout, n.candidates = layout, nil
	for _, path := range n.paths {
		roots, err := layout.candidatesFor(path.root)
		if err != nil {
			return nil, err
		}
		for _, root := range roots {
			at, why, err := match(path, root.typ)
			if err != nil {
				return nil, err
			}
			typ := btf.UnderlyingType(at.typ)
			if why != "" || is[*btf.Enum](typ) != is[*btf.Enum](btf.UnderlyingType(path.typ)) {
				continue
			}
			id, err := root.from.id(typ)
			if err != nil {
				return nil, fmt.Errorf("layout %s: %w", layout.name, err)
			}
			if n.has(id) {
				continue
			}
			if len(n.candidates) == maxCandidates {
				return nil, fmt.Errorf("layout %s has more than %d different types where the program has %s", layout.name, maxCandidates, TypeString(path.typ))
			}
			n.candidates = append(n.candidates, candidate{typ, id, fields(typ), path, root.from})
		}
	}
	return n.candidates, nil
}

// has reports whether a type is among the candidates.
func (n *nest) has(id btf.TypeID) bool {
	return slices.ContainsFunc(n.candidates, func(c candidate) bool { return c.id == id })
}

// checkNested refuses to say where a field is in a nested struct that the layout
// keeps in another way: whether a pointer to such a struct leads to the descriptor
// or to a copy, which is as the program declares it, is not recorded. Of one that is
// missing nothing is said.
func (a *Access) checkNested(c candidate, r *Resolution) error {
	if !a.Kind.aboutField() || a.Kind == FieldExists || c.at == nil || !r.Exists {
		return nil
	}
	local, target := &Field{typ: a.path.root}, &Field{typ: c.typ}
	if SameRepresentation(local, target, a.path.order) {
		return nil
	}
	return fmt.Errorf("%s is nested, as %s, where the layout keeps it in another way, and nothing tells whether this is there or in a copy",
		a.Root, c.at)
}

// Unresolvable returns the accesses to what lies in a struct around the descriptor: to
// the descriptor in it, or to what is beside it. Neither the layout nor the kernel has
// such a struct, and a loader would find nothing, or answer 0. isRoot is that of Adopt, which
// comes before.
//
// Whether the struct exists, or matches, can be asked.
func (r *Recorded) Unresolvable(isRoot func(name string) bool) []*Access {
	around := make(map[btf.Type]bool)
	var accesses []*Access
	for i := range r.Accesses {
		access := &r.Accesses[i]
		if !access.Kind.aboutField() && access.Kind != TypeSize || access.Adopted() || isRoot(access.RootName()) {
			continue
		}
		if holds(access.path.root, isRoot, around) {
			accesses = append(accesses, access)
		}
	}
	return accesses
}

// holds reports whether the descriptor lies within a type. known is of other types, by
// what is known of them.
func holds(typ btf.Type, isRoot func(name string) bool, known map[btf.Type]bool) bool {
	typ = btf.UnderlyingType(typ)
	if held, ok := known[typ]; ok {
		return held
	}
	known[typ] = false // or it is within itself, which C has not
	held := is[*btf.Struct](typ) && btfraw.EssentialName(typ.TypeName()) == Descriptor && isRoot(typ.TypeName())
	if array, ok := typ.(*btf.Array); ok {
		held = holds(array.Type, isRoot, known)
	}
	for _, member := range members(typ) {
		held = held || holds(member.Type, isRoot, known)
	}
	known[typ] = held
	return held
}

package reloc

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// Clang breaks an access apart at an index that is not constant, at a call, and
// where the address of a struct is kept: of md->tag[i].prio it records md->tag,
// and then prio, with struct tag as the root type. That is the layout's as much as
// the other, though its name does not say so: a loader would look for a struct tag
// of the kernel's.

// nests are the structs, unions and enumerations within root types, each with the
// paths that lead to it.
type nests map[btf.Type][]*pathSpec

// Adopt marks the accesses whose root type is nested in another root type, which
// isRoot chooses by its name, if the layout has something there too: Resolve then
// looks for it there, and not by its name. Those to a struct without a name are
// marked in any case, since no loader could find it by itself.
func (r *Recorded) Adopt(layout *Layout, isRoot func(name string) bool) error {
	var nested nests
	for i := range r.Accesses {
		access := &r.Accesses[i]
		named := access.RootName() != ""
		if access.Kind == LocalTypeID || named && isRoot(access.RootName()) {
			continue
		}
		if nested == nil {
			nested = r.nestsIn(isRoot)
		}
		access.nested = nested[btf.UnderlyingType(access.path.root)]
		if !access.Adopted() || !named {
			continue
		}
		there, err := access.candidates(layout)
		if err != nil {
			return err
		}
		if len(there) == 0 {
			access.nested = nil
		}
	}
	return nil
}

// Adopted reports whether Adopt marked the access.
func (a *Access) Adopted() bool { return len(a.nested) > 0 }

// nestsIn finds what is nested in the object's types that isRoot chooses.
func (r *Recorded) nestsIn(isRoot func(name string) bool) nests {
	found := make(nests)
	for typ, err := range r.types.All() {
		if err != nil {
			break // damaged types that no access leads to
		}
		if isComposite(typ) && isRoot(typ.TypeName()) {
			w := &nestWalk{found: found, patience: maxVisits}
			w.walk(&pathSpec{root: typ, location: location{typ: typ}})
		}
	}
	return found
}

// nestWalk collects what is nested in one root type.
type nestWalk struct {
	found    nests
	patience int
}

func (w *nestWalk) walk(at *pathSpec) {
	if w.patience--; w.patience < 0 || len(at.steps) > maxDepth {
		return
	}
	underlying := btf.UnderlyingType(at.typ)
	if array, ok := underlying.(*btf.Array); ok {
		if first := at.clone(); first.element(array, 0, false) == nil {
			w.walk(first)
		}
		return
	}
	if at.typ != at.root && (isComposite(underlying) || is[*btf.Enum](underlying)) {
		w.found[underlying] = append(w.found[underlying], at)
	}
	all := members(underlying)
	for i := range all {
		if inner := at.clone(); inner.member(all, uint32(i)) == nil {
			w.walk(inner)
		}
	}
}

func (p *pathSpec) clone() *pathSpec {
	clone := *p
	clone.steps = slices.Clone(p.steps)
	return &clone
}

// nestedCandidates returns what a layout has where the root type of an access lies
// in other root types of the program.
func (a *Access) nestedCandidates(layout *Layout) ([]candidate, error) {
	var found []candidate
	for _, path := range a.nested {
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
			if why != "" || is[*btf.Enum](typ) != is[*btf.Enum](btf.UnderlyingType(a.path.root)) {
				continue
			}
			id, err := layout.types.TypeID(typ)
			if err != nil {
				return nil, fmt.Errorf("layout %s: %w", layout.name, err)
			}
			found = append(found, candidate{typ, id, fields(typ), path})
		}
	}
	return found, nil
}

// checkNested refuses to say where a field is in a nested struct that the layout
// keeps in another way: whether a pointer to such a struct leads to the descriptor
// or to a copy, which is as the program declares it, is not recorded.
func (a *Access) checkNested(c candidate) error {
	if !a.Kind.aboutField() || a.Kind == FieldExists || c.at == nil {
		return nil
	}
	local, target := &Field{typ: a.path.root}, &Field{typ: c.typ}
	if SameRepresentation(local, target, a.order) {
		return nil
	}
	return fmt.Errorf("%s is nested, as %s, where the layout keeps it in another way, and nothing tells whether this is there or in a copy",
		a.Root, c.at)
}

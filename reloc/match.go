package reloc

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// match follows the steps of a path in another root type. It returns where
// they lead, or why they lead nowhere (bpf_core_spec_match of libbpf).
func match(p *pathSpec, root btf.Type) (location, string, error) {
	loc := location{typ: root}
	if err := loc.advance(p.first, root); err != nil {
		return loc, "", err
	}
	flexible := false
	for _, step := range p.steps {
		var why string
		var err error
		if step.name != "" {
			flexible, why, err = loc.matchMember(step)
		} else {
			why, err = loc.matchElement(step, flexible)
			flexible = false
		}
		if why != "" || err != nil {
			return loc, why, err
		}
	}
	return loc, "", nil
}

// matchMember moves the location to the member of a step's name, which may lie
// within anonymous structs and unions. last reports whether it is the last one
// of the struct that has it.
func (loc *location) matchMember(s step) (last bool, why string, err error) {
	container := loc.typ
	found, last, err := loc.find(s.name, make(map[btf.Type]bool), 0)
	if err != nil {
		return false, "", err
	}
	if !found {
		return false, fmt.Sprintf("%s has no field %s", TypeString(container), s.name), nil
	}
	if !fieldsCompatible(s.typ, loc.typ) {
		return false, fmt.Sprintf("%s of %s is %s, which is no %s", s.name, TypeString(container), TypeString(loc.typ), TypeString(s.typ)), nil
	}
	return last, "", nil
}

// find looks for a member by name. seen holds the anonymous types that don't
// have it, so that each is searched once.
func (loc *location) find(name string, seen map[btf.Type]bool, depth int) (found, last bool, err error) {
	underlying := btf.UnderlyingType(loc.typ)
	if seen[underlying] || depth > maxDepth {
		return false, false, nil
	}
	seen[underlying] = true

	all := members(underlying)
	for i := range all {
		member := &all[i]
		if member.Name != name && member.Name != "" {
			continue
		}
		inner := *loc
		if err := inner.enter(member); err != nil {
			return false, false, err
		}
		found, last := true, i == len(all)-1
		if member.Name == "" {
			if found, last, err = inner.find(name, seen, depth+1); err != nil {
				return false, false, err
			}
		}
		if found {
			*loc = inner
			return true, last, nil
		}
	}
	return false, false, nil
}

func (loc *location) matchElement(s step, flexible bool) (why string, err error) {
	array, ok := btf.UnderlyingType(loc.typ).(*btf.Array)
	if !ok {
		return fmt.Sprintf("%s is no array", TypeString(loc.typ)), nil
	}
	if s.index >= array.Nelems && !(flexible && array.Nelems == 0) {
		return fmt.Sprintf("%s has no element %d", TypeString(array), s.index), nil
	}
	loc.typ = array.Type
	return "", loc.advance(s.index, array.Type)
}

// matchEnd moves the location to one past the last element of an array. What is
// computed with that address and the array's own, such as how many elements are
// left, is only right for one that is like the program's.
func (loc *location) matchEnd(local *btf.Array, order binary.ByteOrder) (why string, err error) {
	array, ok := btf.UnderlyingType(loc.typ).(*btf.Array)
	c := comparison{native: nativeOrder(order), seen: make(map[typePair]bool)}
	if !ok || !c.equal(local, array) {
		return fmt.Sprintf("%s does not end where %s does", TypeString(loc.typ), TypeString(local)), nil
	}
	return "", loc.advanceToEnd(array)
}

// sameKind reports whether a type can be a candidate for another by its kind.
func sameKind(a, b btf.Type) bool {
	switch a.(type) {
	case *btf.Struct:
		return is[*btf.Struct](b)
	case *btf.Union:
		return is[*btf.Union](b)
	case *btf.Enum: // enum and enum64 are one type here
		return is[*btf.Enum](b)
	case *btf.Typedef:
		return is[*btf.Typedef](b)
	case *btf.Int:
		return is[*btf.Int](b)
	case *btf.Float:
		return is[*btf.Float](b)
	case *btf.Array:
		return is[*btf.Array](b)
	case *btf.Pointer:
		return is[*btf.Pointer](b)
	case *btf.FuncProto:
		return is[*btf.FuncProto](b)
	case *btf.Fwd:
		return is[*btf.Fwd](b)
	}
	return false
}

func is[T btf.Type](typ btf.Type) bool {
	_, ok := typ.(T)
	return ok
}

func isComposite(typ btf.Type) bool {
	return is[*btf.Struct](typ) || is[*btf.Union](typ)
}

// isNumber reports whether a type is an integer or an enumeration, which is one.
func isNumber(typ btf.Type) bool { return is[*btf.Int](typ) || is[*btf.Enum](typ) }

// fieldsCompatible reports whether a member may stand for another by its type
// (bpf_core_fields_are_compat of libbpf): size and sign of integers do not
// count here, nor does the number of an array's elements.
//
// To libbpf an integer is no enumeration. To C it is, and it matters: a program
// that knows a status as __u32 would take that of a layout with an enum for
// missing.
func fieldsCompatible(local, target btf.Type) bool {
	for range maxDepth {
		local, target = btf.UnderlyingType(local), btf.UnderlyingType(target)
		if isComposite(local) && isComposite(target) {
			return true
		}
		if isNumber(local) && isNumber(target) && !sameKind(local, target) {
			return true
		}
		if !sameKind(local, target) {
			return false
		}
		switch typ := local.(type) {
		case *btf.Int, *btf.Pointer, *btf.Float:
			return true
		case *btf.Enum, *btf.Fwd:
			return namesCompatible(local.TypeName(), target.TypeName())
		case *btf.Array:
			return fieldsCompatible(typ.Type, target.(*btf.Array).Type)
		default:
			return false
		}
	}
	return false
}

// namesCompatible reports whether one of two names is empty, or both are the
// same but for the flavour.
func namesCompatible(a, b string) bool {
	a, b = btfraw.EssentialName(a), btfraw.EssentialName(b)
	return a == "" || b == "" || a == b
}

// compatible decides type_exists, type_size and target_type_id for two types of
// the same name (bpf_core_types_are_compat of libbpf): what pointers, arrays and
// functions are made of has to be of the same kind, in the end.
func compatible(local, target btf.Type) bool {
	return sameKind(local, target) && (&compatibility{make(map[typePair]bool)}).at(local, target, maxDepth/2)
}

type compatibility struct {
	decided map[typePair]bool // of functions: each pair once, or it takes exponential time
}

// at compares types with so many steps to go. Typedefs don't count.
func (c *compatibility) at(local, target btf.Type, depth int) bool {
	local, target = btf.UnderlyingType(local), btf.UnderlyingType(target)
	if is[*btf.Void](local) && is[*btf.Void](target) {
		return true
	}
	if depth == 0 || !sameKind(local, target) {
		return false
	}
	switch local := local.(type) {
	case *btf.Struct, *btf.Union, *btf.Enum, *btf.Fwd, *btf.Int:
		return true
	case *btf.Pointer:
		return c.at(local.Target, target.(*btf.Pointer).Target, depth-1)
	case *btf.Array:
		return c.at(local.Type, target.(*btf.Array).Type, depth-1)
	case *btf.FuncProto:
		return c.prototypes(local, target.(*btf.FuncProto), depth-1)
	}
	return false
}

func (c *compatibility) prototypes(local, target *btf.FuncProto, depth int) bool {
	pair := typePair{local, target}
	if decided, ok := c.decided[pair]; ok {
		return decided
	}
	compatible := len(local.Params) == len(target.Params) && c.at(local.Return, target.Return, depth)
	for i := 0; compatible && i < len(local.Params); i++ {
		compatible = c.at(local.Params[i].Type, target.Params[i].Type, depth)
	}
	c.decided[pair] = compatible
	return compatible
}

// structurallyMatches decides type_matches (bpf_core_types_match of libbpf):
// every member of local, recursively, is in target under the same name with a
// type that matches; integers match in size and sign, enumerations in size and
// in the names of local's enumerators, arrays in length. Behind a pointer a
// struct need only have the same name.
func structurallyMatches(local, target btf.Type) bool {
	return (&matcher{seen: make(map[typePair]bool)}).match(local, target, false)
}

type typePair struct{ a, b btf.Type }

type matcher struct {
	seen map[typePair]bool // pairs under way or decided
}

func (m *matcher) match(local, target btf.Type, behindPointer bool) bool {
	local, target = btf.UnderlyingType(local), btf.UnderlyingType(target)
	if !sameName(local.TypeName(), target.TypeName()) {
		return false
	}
	switch local := local.(type) {
	case *btf.Struct, *btf.Union:
		if behindPointer {
			return sameKind(local, target) || declares(target, local)
		}
		return sameKind(local, target) && m.membersMatch(local, target)
	case *btf.Fwd:
		if behindPointer && declares(local, target) {
			return true
		}
		fwd, ok := target.(*btf.Fwd)
		return ok && fwd.Kind == local.Kind
	}
	if is[*btf.Void](local) {
		return is[*btf.Void](target)
	}
	if !sameKind(local, target) {
		return false
	}
	switch local := local.(type) {
	case *btf.Int:
		other := target.(*btf.Int)
		return local.Size == other.Size && local.Encoding&btf.Signed == other.Encoding&btf.Signed
	case *btf.Enum:
		return enumsMatch(local, target.(*btf.Enum))
	case *btf.Pointer:
		return m.match(local.Target, target.(*btf.Pointer).Target, true)
	case *btf.Array:
		other := target.(*btf.Array)
		return local.Nelems == other.Nelems && m.match(local.Type, other.Type, behindPointer)
	case *btf.FuncProto:
		return m.prototypesMatch(local, target.(*btf.FuncProto), behindPointer)
	}
	return false
}

func (m *matcher) prototypesMatch(local, target *btf.FuncProto, behindPointer bool) bool {
	pair := typePair{local, target}
	if decided, ok := m.seen[pair]; ok {
		return decided
	}
	m.seen[pair] = true
	matches := len(local.Params) == len(target.Params) && m.match(local.Return, target.Return, behindPointer)
	for i := 0; matches && i < len(local.Params); i++ {
		matches = m.match(local.Params[i].Type, target.Params[i].Type, behindPointer)
	}
	m.seen[pair] = matches
	return matches
}

// declares reports whether fwd is a forward declaration of typ's kind.
func declares(fwd, typ btf.Type) bool {
	declaration, ok := fwd.(*btf.Fwd)
	if !ok {
		return false
	}
	if declaration.Kind == btf.FwdUnion {
		return is[*btf.Union](typ)
	}
	return is[*btf.Struct](typ)
}

func (m *matcher) membersMatch(local, target btf.Type) bool {
	pair := typePair{local, target}
	if decided, ok := m.seen[pair]; ok {
		return decided
	}
	m.seen[pair] = true
	for _, member := range members(local) {
		if !m.hasMember(members(target), member) {
			m.seen[pair] = false
			return false
		}
	}
	return true
}

func (m *matcher) hasMember(targets []btf.Member, member btf.Member) bool {
	for _, target := range targets {
		if sameName(member.Name, target.Name) && m.match(member.Type, target.Type, false) {
			return true
		}
	}
	return false
}

func enumsMatch(local, target *btf.Enum) bool {
	if local.Size != target.Size {
		return false
	}
	has := make(map[string]bool, len(target.Values))
	for _, value := range target.Values {
		has[btfraw.EssentialName(value.Name)] = true
	}
	for _, value := range local.Values {
		if !has[btfraw.EssentialName(value.Name)] {
			return false
		}
	}
	return true
}

func sameName(a, b string) bool {
	return btfraw.EssentialName(a) == btfraw.EssentialName(b)
}

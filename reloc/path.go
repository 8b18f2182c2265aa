package reloc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// maxDepth bounds the nesting of types and the length of paths: as much as
// libbpf's BPF_CORE_SPEC_MAX_LEN allows.
const maxDepth = 64

// pathSpec is an access string resolved in the object's own types, which are in its byte
// order.
type pathSpec struct {
	order      binary.ByteOrder
	root       btf.Type
	first      uint32 // index of the root type, as in md[1].hash
	steps      []step
	end        *btf.Array    // set if the path leads to one past the last element of it, and no further
	enumerator btf.EnumValue // for records about one
	location
}

// step is one turn of a path that means something in C: a named member, or an
// array element. Anonymous structs and unions make none.
type step struct {
	name  string // empty for an array element
	index uint32 // of the array element
	typ   btf.Type
}

// newPath follows an access string such as "0:1:2" from root. The first number
// indexes root as a pointer does, each further one is the index of a member or
// of an array element (bpf_core_parse_spec of libbpf).
//
// The address of one past the last element is one that C lets a program have,
// and clang records as an offset like any other. libbpf refuses it.
func newPath(root btf.Type, access string, kind Kind) (*pathSpec, error) {
	indices, err := parseAccess(access)
	if err != nil {
		return nil, err
	}

	p := &pathSpec{root: root, first: indices[0], location: location{typ: root}}
	if err := p.advance(indices[0], root); err != nil {
		return nil, err
	}
	var flexible bool // whether the last step was to the last member of a struct
	for i, index := range indices[1:] {
		switch typ := btf.UnderlyingType(p.typ).(type) {
		case *btf.Struct:
			err = p.member(typ.Members, index)
			flexible = int(index) == len(typ.Members)-1
		case *btf.Union:
			err = p.member(typ.Members, index)
			flexible = int(index) == len(typ.Members)-1
		case *btf.Array:
			if isLast := i == len(indices)-2; isLast && kind == ByteOffset && index > 0 && index == typ.Nelems {
				p.end = typ
				return p, p.location.advanceToEnd(typ)
			}
			err = p.element(typ, index, flexible)
			flexible = false
		default:
			err = fmt.Errorf("%s has no members and no elements", TypeString(p.typ))
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func parseAccess(access string) ([]uint32, error) {
	words := strings.Split(access, ":")
	if len(words) > maxDepth {
		return nil, fmt.Errorf("access string %.20q... has more than %d numbers", access, maxDepth)
	}
	indices := make([]uint32, len(words))
	for i, word := range words {
		index, err := strconv.ParseUint(word, 10, 32)
		if err == nil && i == 0 && index > math.MaxInt32 {
			return nil, fmt.Errorf("access string %.20q has an index of %d: start from the first element instead", access, int32(index))
		}
		if err != nil || index > math.MaxInt32 {
			return nil, fmt.Errorf("access string %.20q is not numbers separated by colons", access)
		}
		indices[i] = uint32(index)
	}
	return indices, nil
}

func (p *pathSpec) member(members []btf.Member, index uint32) error {
	if int(index) >= len(members) {
		return fmt.Errorf("%s has no member number %d", TypeString(p.typ), index)
	}
	member := &members[index]
	if p.bitfield > 0 {
		return errors.New("path leads through a bit-field")
	}
	if member.Name != "" {
		p.steps = append(p.steps, step{name: member.Name, typ: member.Type})
	}
	return p.enter(member)
}

func (p *pathSpec) element(array *btf.Array, index uint32, flexible bool) error {
	if index >= array.Nelems && !(flexible && array.Nelems == 0) {
		return fmt.Errorf("%s has no element number %d", TypeString(p.typ), index)
	}
	p.steps = append(p.steps, step{index: index, typ: array.Type})
	p.typ = array.Type
	return p.advance(index, array.Type)
}

// advanceToEnd moves the location from an array to one past its last element:
// there is an array without any.
func (loc *location) advanceToEnd(array *btf.Array) error {
	loc.typ = &btf.Array{Index: array.Index, Type: array.Type}
	return loc.advance(array.Nelems, array.Type)
}

// enter moves the location to a member of the type it is at.
func (loc *location) enter(member *btf.Member) error {
	loc.record, loc.recordBits = loc.typ, loc.bits
	loc.bits += uint64(member.Offset)
	loc.typ = member.Type
	loc.bitfield = uint32(member.BitfieldSize)
	if loc.bits > maxBits {
		return errTooFar
	}
	return nil
}

// advance moves the location by so many elements of a type.
func (loc *location) advance(elements uint32, typ btf.Type) error {
	if elements == 0 {
		return nil
	}
	size, err := btf.Sizeof(typ)
	if err != nil {
		return fmt.Errorf("size of %s: %w", TypeString(typ), err)
	}
	if size > maxBits/8 || uint64(elements)*uint64(size) > maxBits/8 {
		return errTooFar
	}
	loc.bits += uint64(elements) * uint64(size) * 8
	if loc.bits > maxBits {
		return errTooFar
	}
	return nil
}

// String spells the path as C does from a pointer to the root type. Every
// pointer to a metadata descriptor is called md, others by their type's name.
func (p *pathSpec) String() string {
	name := pointerName(p.root)
	var b strings.Builder
	b.WriteString(name)
	if p.first != 0 {
		fmt.Fprintf(&b, "[%d]", p.first)
	} else if len(p.steps) == 0 {
		return "*" + name
	}
	for i, step := range p.steps {
		switch {
		case step.name == "":
			fmt.Fprintf(&b, "[%d]", step.index)
		case i == 0 && p.first == 0:
			b.WriteString("->" + step.name)
		default:
			b.WriteString("." + step.name)
		}
	}
	if p.end != nil {
		fmt.Fprintf(&b, "[%d]", p.end.Nelems)
	}
	return b.String()
}

// Descriptor is the essential name of the struct that this project is about.
const Descriptor = "md_desc"

func pointerName(root btf.Type) string {
	name := btfraw.EssentialName(root.TypeName())
	switch name {
	case Descriptor:
		return "md"
	case "":
		return "{...}"
	}
	return name
}

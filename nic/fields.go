package nic

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// Field is one of a layout's descriptor: a number, a bit-field, or an array.
type Field struct {
	Path string `json:"path"` // from the descriptor, as C names it: "rx.queue"
	Type string `json:"type"` // as C spells it
	Bit  uint32 `json:"bit"`  // where it is, in bits from the start of the descriptor
	Bits uint32 `json:"bits"` // how many it has
}

// Where says where the field is: "20-23" for bytes, or "bits 96-98".
func (f *Field) Where() string {
	first, last := f.Bit, f.Bit+f.Bits-1
	switch {
	case f.Bits == 0:
		return fmt.Sprint(first / 8)
	case first%8 != 0 || f.Bits%8 != 0:
		return between("bit", "bits", first, last)
	}
	return between("", "", first/8, last/8)
}

func between(one, many string, first, last uint32) string {
	space := " "
	if one == "" {
		space = ""
	}
	if first == last {
		return fmt.Sprintf("%s%s%d", one, space, first)
	}
	return fmt.Sprintf("%s%s%d-%d", many, space, first, last)
}

// Descriptor is the struct of a layout.
type Descriptor struct {
	Name   string  `json:"name"` // with its flavour
	Size   uint32  `json:"size"` // in bytes
	Fields []Field `json:"fields"`
}

// maxMembers bounds how many members are looked at of a descriptor of some hundred bytes:
// those without any need not end.
const maxMembers = 1 << 12

// Descriptors returns those of a layout: one, but for flavours that disagree, of which a
// program can access no field that they do not agree on. Members of unions are at the same
// place. It wraps ErrNoDescriptor if there is none.
func Descriptors(layout *reloc.Layout) ([]Descriptor, error) {
	if err := checkSize(layout); err != nil {
		return nil, err
	}
	structs, err := layout.Structs(reloc.Descriptor)
	if err != nil {
		return nil, err
	}
	if len(structs) == 0 {
		return nil, fmt.Errorf("layout %s: %w", layout.Name(), errNoDescriptor)
	}
	var descriptors []Descriptor
	for _, typ := range structs {
		d := Descriptor{Name: typ.Name, Size: typ.Size}
		left := maxMembers
		if err := d.add(typ, "", 0, &left); err != nil {
			return nil, fmt.Errorf("layout %s: %w", layout.Name(), err)
		}
		descriptors = append(descriptors, d)
	}
	return descriptors, nil
}

// add adds the fields of a struct or union that is at a bit, as long as members are left.
func (d *Descriptor) add(record btf.Type, path string, at uint32, left *int) error {
	for _, member := range membersOf(record) {
		if *left--; *left < 0 {
			return fmt.Errorf("struct %s has more than %d members", d.Name, maxMembers)
		}
		bit := at + uint32(member.Offset)
		inner := path + member.Name
		if underlying := btf.UnderlyingType(member.Type); membersOf(underlying) != nil {
			if member.Name != "" {
				inner += "."
			}
			if err := d.add(underlying, inner, bit, left); err != nil {
				return err
			}
			continue
		}
		size, err := btf.Sizeof(member.Type)
		if err != nil {
			return fmt.Errorf("size of %s: %w", inner, err)
		}
		bits := uint32(member.BitfieldSize)
		if bits == 0 {
			bits = uint32(size) * 8
		}
		d.Fields = append(d.Fields, Field{Path: inner, Type: reloc.TypeString(member.Type), Bit: bit, Bits: bits})
	}
	return nil
}

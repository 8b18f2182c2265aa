package reloc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

var (
	// ErrNoStruct is wrapped by FieldNamed's error about a struct that a layout does not have.
	ErrNoStruct = errors.New("no such struct")

	// ErrNoField is wrapped by FieldNamed's error about a field that the struct does not have.
	ErrNoField = errors.New("no such field")
)

// FieldNamed returns the field of a layout's struct, or of a flavour of it, that a path
// leads to as C names it, "hash" or "rx.queue", anonymous structs and unions aside.
//
// It wraps ErrNoStruct, ErrNoField, or ErrAmbiguous if there are flavours that disagree.
func (l *Layout) FieldNamed(essential, path string) (*Field, error) {
	structs, err := l.Structs(btfraw.EssentialName(essential))
	if err != nil {
		return nil, err
	}
	if len(structs) == 0 {
		return nil, fmt.Errorf("layout %s: %w: struct %s", l.name, ErrNoStruct, essential)
	}
	var first *Field
	for _, typ := range structs {
		field, err := fieldNamed(typ, path)
		if err != nil {
			return nil, fmt.Errorf("layout %s: %w", l.name, err)
		}
		if first == nil {
			first = field
		}
		if field.Offset != first.Offset || field.BitOffset != first.BitOffset || !SameRepresentation(first, field, l.ByteOrder()) {
			return nil, fmt.Errorf("layout %s: %w: %s is %s in %s, and %s in %s",
				l.name, ErrAmbiguous, path, first, TypeString(structs[0]), field, TypeString(typ))
		}
	}
	return first, nil
}

func fieldNamed(root *btf.Struct, path string) (*Field, error) {
	loc := location{typ: root}
	for name := range strings.SplitSeq(path, ".") {
		inside := loc.typ
		found := false
		var err error
		if name != "" { // members without a name have this one
			found, _, err = loc.find(name, make(map[btf.Type]bool), 0)
		}
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("%w: %s has no %q, but %s", ErrNoField, TypeString(inside), name, listed(fields(inside)))
		}
	}
	return loc.field()
}

// listed lists names, or says that there are none.
func listed(names []string) string {
	if len(names) == 0 {
		return "no fields at all"
	}
	return strings.Join(names, ", ")
}

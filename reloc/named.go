package reloc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
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
// It wraps ErrNoStruct, ErrNoField, or ErrAmbiguous if there are flavours that disagree, of
// which some may lack it.
func (l *Layout) FieldNamed(essential, path string) (*Field, error) {
	structs, err := l.Structs(essential)
	if err != nil {
		return nil, err
	}
	if len(structs) == 0 {
		return nil, fmt.Errorf("layout %s: %w: struct %s", l.name, ErrNoStruct, essential)
	}
	var first *Field
	var missing error
	for i, typ := range structs {
		field, err := fieldNamed(typ, path)
		if err != nil && !errors.Is(err, ErrNoField) {
			return nil, fmt.Errorf("layout %s: %w", l.name, err)
		}
		if i == 0 {
			first, missing = field, err
		}
		if !sameField(first, field, l.ByteOrder()) {
			return nil, fmt.Errorf("layout %s: %w: %s is %s in %s, and %s in %s",
				l.name, ErrAmbiguous, path, spellField(first), TypeString(structs[0]), spellField(field), TypeString(typ))
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("layout %s: %w", l.name, missing)
	}
	return first, nil
}

func spellField(f *Field) string {
	if f == nil {
		return "not there"
	}
	return f.String()
}

func fieldNamed(root *btf.Struct, path string) (*Field, error) {
	loc := location{typ: root}
	for name := range strings.SplitSeq(path, ".") {
		inside := loc.typ
		found, _, err := loc.find(name, make(map[btf.Type]bool), 0)
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

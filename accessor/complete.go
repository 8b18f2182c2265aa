package accessor

import (
	"fmt"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/link"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Complete returns accessors with the fields of others that they lack. Both are for programs
// with the same ctx, and fit the same kernel; the descriptor is that of the first, whose
// fields they stay where both have one. The functions of the other fields are given that
// descriptor, whatever type it has.
func Complete(accessors, others *rewrite.Accessors) (*rewrite.Accessors, error) {
	completed, functions := *accessors, make(map[string]string) // fields by functions
	for field, accessor := range others.Fields {
		if _, ok := accessors.Fields[field]; !ok {
			functions[accessor.Function] = field
		}
	}
	if len(functions) == 0 {
		return accessors, nil
	}
	linked, object, err := linkInto(accessors.Object, others.Object, slices.Sorted(maps.Keys(functions)))
	if err != nil {
		return nil, fmt.Errorf("accessors of %s, with those of %s: %w", accessors.Name, others.Name, err)
	}
	completed.Object = object
	completed.Fields, completed.Missing = maps.Clone(accessors.Fields), maps.Clone(accessors.Missing)
	for function, field := range functions {
		accessor := others.Fields[field]
		accessor.Function = linked[function]
		completed.Fields[field] = accessor
		delete(completed.Missing, field)
	}
	return &completed, nil
}

// linkInto puts functions of one object into another, and returns what they are called
// there, by their names.
func linkInto(object, from []byte, functions []string) (map[string]string, []byte, error) {
	to, err := elfobj.Parse(object)
	if err != nil {
		return nil, nil, err
	}
	others, err := elfobj.Parse(from)
	if err != nil {
		return nil, nil, err
	}
	source, err := link.NewSource(others)
	if err != nil {
		return nil, nil, err
	}
	linked, err := source.Into(to, nil, link.Wanted{Functions: functions})
	if err != nil {
		return nil, nil, err
	}
	names := make(map[string]string, len(functions))
	for _, function := range functions {
		names[function] = to.Symbols[linked.Functions[function]].Name
	}
	return names, to.Bytes(), nil
}

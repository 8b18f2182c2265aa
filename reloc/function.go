package reloc

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Function is a function of the kernel that a layout is of.
type Function struct {
	ID   btf.TypeID // what a program calls it by, if it may
	Type *btf.Func  // of structs and unions behind pointers name and size
}

// Functions returns the functions of a name: of the kernel there may be several that are
// static. Which of them programs may call is not in the BTF of all kernels. It takes the
// time to look at all names of functions.
func (l *Layout) Functions(name string) ([]Function, error) {
	ids, err := l.raw.Functions(name)
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", l.name, err)
	}
	types, _, err := l.read(ids)
	if err != nil {
		return nil, err
	}
	functions := make([]Function, len(types))
	for i, typ := range types {
		function, ok := typ.(*btf.Func)
		if !ok {
			return nil, fmt.Errorf("layout %s: type %d is no function", l.name, ids[i])
		}
		functions[i] = Function{ids[i], function}
	}
	return functions, nil
}

// FunctionsLike returns the names of the layout's own functions, those of the layout that
// it is split from left out, that have the prototype of the function of a name: the same
// types, whatever parameters are called. There are none if no function has the name, or
// several. It takes the time to look at all functions.
func (l *Layout) FunctionsLike(name string) ([]string, error) {
	ids, err := l.raw.Functions(name)
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", l.name, err)
	}
	if len(ids) != 1 {
		return nil, nil
	}
	alike, err := l.raw.Alike(ids[0])
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", l.name, err)
	}
	names := make([]string, len(alike))
	for i, id := range alike {
		if names[i], err = l.raw.FunctionName(id); err != nil {
			return nil, fmt.Errorf("layout %s: %w", l.name, err)
		}
	}
	return names, nil
}

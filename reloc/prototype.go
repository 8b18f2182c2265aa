package reloc

import (
	"debug/elf"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// Place is where an instruction is in an object: a section, and a slot in units of
// InstructionSize.
type Place struct {
	Section string
	Slot    int
}

// Prototype is what a function was declared as.
type Prototype struct {
	Name       string
	Parameters []Parameter
}

// Parameter is one that a function was declared with.
type Parameter struct {
	Name string

	// Struct is the name of the struct that it points to, flavour included, and Size
	// that struct's size in bytes; empty and 0 for any other parameter.
	Struct string
	Size   uint32
}

// prototypes returns those that func_info has, by where the functions start. What
// it has of anything but functions is left out.
func prototypes(types *btf.Spec, ext *btfraw.Ext) map[Place]Prototype {
	all := make(map[Place]Prototype, len(ext.Functions))
	for _, record := range ext.Functions {
		typ, err := types.TypeByID(btf.TypeID(record.TypeID))
		if err != nil {
			continue
		}
		function, isFunction := typ.(*btf.Func)
		if !isFunction {
			continue
		}
		proto, isProto := function.Type.(*btf.FuncProto)
		if !isProto {
			continue
		}
		at := Place{record.Section, int(record.InsnOffset / InstructionSize)}
		all[at] = Prototype{function.Name, parameters(proto)}
	}
	return all
}

func parameters(proto *btf.FuncProto) []Parameter {
	list := make([]Parameter, len(proto.Params))
	for n, param := range proto.Params {
		list[n].Name = param.Name
		pointer, isPointer := btf.UnderlyingType(param.Type).(*btf.Pointer)
		if !isPointer {
			continue
		}
		if pointee, isStruct := btf.UnderlyingType(pointer.Target).(*btf.Struct); isStruct {
			list[n].Struct, list[n].Size = pointee.Name, pointee.Size
		}
	}
	return list
}

// externs returns how many parameters the functions have that the object declares
// and that others define, by name.
func externs(types *btf.Spec, obj *elfobj.Object) map[string]int {
	all := make(map[string]int)
	for _, symbol := range obj.Symbols {
		if symbol.Section != elf.SHN_UNDEF || symbol.Name == "" {
			continue
		}
		var function *btf.Func
		if types.TypeByName(symbol.Name, &function) != nil {
			continue
		}
		if proto, isProto := function.Type.(*btf.FuncProto); isProto {
			all[symbol.Name] = len(proto.Params)
		}
	}
	return all
}

package reloc

import (
	"debug/elf"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// Prototype is what a function was declared as.
type Prototype struct {
	Name       string
	Parameters []Parameter
}

// Parameter is one that a function was declared with.
type Parameter struct {
	Name string

	// Struct is the name of the struct that it points to, flavour included; empty for
	// any other parameter. Size is that of what it points to, in bytes, 0 if that has none.
	Struct string
	Size   uint32
}

// Prototype returns that of the function that starts at a slot of a section, in units of
// InstructionSize. It has neither name nor parameters if func_info has none there.
func (r *Recorded) Prototype(section string, slot int) Prototype {
	return r.prototypes[place{section, slot}]
}

// Extern returns the prototype of a function that the object declares and that others
// define, the kernel say, and whether it declares one.
func (r *Recorded) Extern(name string) (Prototype, bool) {
	prototype, ok := r.externs[name]
	return prototype, ok
}

// place is where a function starts.
type place struct {
	section string
	slot    int
}

// prototypes returns those that func_info has, by where the functions start. What
// it has of anything but functions is left out.
func prototypes(types *btf.Spec, ext *btfraw.Ext) map[place]Prototype {
	all := make(map[place]Prototype, len(ext.Functions))
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
		at := place{record.Section, int(record.InsnOffset / InstructionSize)}
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
			list[n].Struct = pointee.Name
		}
		if size, err := btf.Sizeof(pointer.Target); err == nil {
			list[n].Size = uint32(size)
		}
	}
	return list
}

// externs returns the prototypes of the functions that the object declares and that
// others define, by name.
func externs(types *btf.Spec, obj *elfobj.Object) map[string]Prototype {
	all := make(map[string]Prototype)
	for _, symbol := range obj.Symbols {
		if symbol.Section != elf.SHN_UNDEF || symbol.Name == "" {
			continue
		}
		var function *btf.Func
		if types.TypeByName(symbol.Name, &function) != nil {
			continue
		}
		if proto, isProto := function.Type.(*btf.FuncProto); isProto {
			all[symbol.Name] = Prototype{symbol.Name, parameters(proto)}
		}
	}
	return all
}

package collection

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Function is one that the kernel itself has, not one of its modules.
type Function struct {
	ID   btf.TypeID // in the BTF of vmlinux
	Type *btf.Func
}

// LinkKfuncs gives calls of kfuncs the IDs of the kernel's functions. cilium/ebpf v0.22
// reads all of vmlinux's BTF for that, when it loads the program (fixupKfuncs in
// linker.go), which takes longer than everything else together.
//
// find returns the functions of a name. Left to cilium/ebpf, which says what is wrong or
// finds them in a module, are calls of those that are not there, or not once, or have
// another prototype than the program says, and addresses of functions.
func LinkKfuncs(spec *ebpf.CollectionSpec, find func(name string) []Function) {
	l := kfuncLinker{spec.Types, find, make(map[string]btf.TypeID)}
	for _, program := range spec.Programs {
		for i := range program.Instructions {
			if ins := &program.Instructions[i]; isUnlinked(ins) {
				l.link(ins)
			}
		}
	}
}

// isUnlinked reports whether an instruction calls a kfunc by its name.
func isUnlinked(ins *asm.Instruction) bool {
	return ins.IsKfuncCall() && ins.Constant == -1 && ins.Reference() != ""
}

type kfuncLinker struct {
	types *btf.Spec
	find  func(name string) []Function
	ids   map[string]btf.TypeID // by name; 0 for those that are left
}

func (l *kfuncLinker) link(call *asm.Instruction) {
	name := call.Reference()
	id, known := l.ids[name]
	if !known {
		id = l.id(name)
		l.ids[name] = id
	}
	if id > 0 {
		*call = linked(call, id)
	}
}

// id returns the ID of the only function of a name, if it is what the program says.
func (l *kfuncLinker) id(name string) btf.TypeID {
	var declared *btf.Func
	if err := l.types.TypeByName(name, &declared); err != nil {
		return 0
	}
	functions := l.find(name)
	if len(functions) != 1 || btf.CheckTypeCompatibility(declared.Type, functions[0].Type.Type) != nil {
		return 0
	}
	return functions[0].ID
}

// linked returns a call by an ID. It has all of the call's metadata but its name and what
// cilium/ebpf keeps to itself, by which that tells what it has to link.
func linked(call *asm.Instruction, id btf.TypeID) asm.Instruction {
	by := asm.Instruction{OpCode: call.OpCode, Dst: call.Dst, Src: call.Src, Constant: int64(id)}
	if symbol := call.Symbol(); symbol != "" {
		by = by.WithSymbol(symbol)
	}
	if function := btf.FuncMetadata(call); function != nil {
		by = btf.WithFuncMetadata(by, function)
	}
	if source := call.Source(); source != nil {
		by = by.WithSource(source)
	}
	return by
}

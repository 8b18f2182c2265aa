package rewrite

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// What is known of functions from outside of their code: from their prototypes,
// their symbols, and the names of their sections.

// declaredSize returns how many bytes of the descriptor the kernel lets a global
// function see: it verifies it by its prototype alone, and wants of its callers that
// there are so many (btf_prepare_func_args of kernel/bpf/btf.c).
func (p *planner) declaredSize(fn *function) (size uint32, name string, ok bool) {
	if !fn.IsGlobal {
		return 0, "", false
	}
	for _, parameter := range fn.Prototype().Parameters {
		if btfraw.EssentialName(parameter.Struct) == reloc.Descriptor && parameter.Size > size {
			size, name, ok = parameter.Size, parameter.Name, true
		}
	}
	return size, name, ok
}

// remedyFor says what to do about a global function that can't take the layout's
// descriptor. What replaces another function can't be static.
func remedyFor(fn *function) string {
	if fn.IsProgram {
		return "declare the argument with a flavour of the struct that is as long as the layout's"
	}
	return "make the function static, or __hidden if another file calls it"
}

// checkPrototype refuses an access in a global function that ends beyond what the
// function may see of a descriptor that it gets from its caller.
func (p *planner) checkPrototype(access *reloc.Access, slot int, end int64) error {
	fn := p.function(access)
	size, name, ok := p.declaredSize(fn)
	if !ok || end <= int64(size) || !p.isFromCaller(fn, slot) {
		return nil
	}
	return refuse.Because(remedyFor(fn), "in the layout it ends at byte %d, and the kernel lets the global function %s see the %d bytes of its argument %s, as it is declared",
		end, fn.Prototype().Name, size, name)
}

// isFromCaller reports whether a load or store finds its address in what the function
// was called with.
func (p *planner) isFromCaller(fn *function, slot int) bool {
	sub := p.program.subs[fn.Place()]
	if sub == nil {
		return false
	}
	pointees, _ := p.program.pointers.Address(sub, slot)
	return slices.ContainsFunc(pointees, func(pointee flow.Pointee) bool {
		return pointee.Region == flow.Area && (pointee.Subprogram != sub || pointee.Slot == fn.Start)
	})
}

// tooSmall refuses global functions that want more bytes of a descriptor than the
// layout's has.
func (p *planner) tooSmall() []Refusal {
	have := p.descriptorSize()
	var refused []Refusal
	for _, at := range p.analyze().order {
		fn := p.functions[at]
		size, name, ok := p.declaredSize(fn)
		if !ok || have == 0 || have >= size || !p.getsDescriptor(at) {
			continue
		}
		function := fn.Prototype().Name
		refused = append(refused, Refusal{
			Access: p.unrecordedAt(fn, fn.Start), Unrecorded: true, Remedy: remedyFor(fn),
			Reason: fmt.Sprintf("the kernel wants %d bytes for the argument %s of the global function %s, as it is declared, and the layout's descriptor has %d", size, name, function, have),
		})
	}
	return refused
}

// getsDescriptor reports whether a function is called with the descriptor.
func (p *planner) getsDescriptor(at bpf.Place) bool {
	for _, argument := range p.program.pointers.Arguments(p.program.subs[at]) {
		if slices.ContainsFunc(argument, func(pointee flow.Pointee) bool { return pointee.Region == flow.Area }) {
			return true
		}
	}
	return false
}

// tooNarrow refuses to make room in front of the packet for as many bytes as the
// program's own struct has, in a function that fills in a descriptor, if the layout's
// has more: md_desc(ctx) would be NULL from then on.
func (p *planner) tooNarrow() []Refusal {
	have := p.descriptorSize()
	var refused []Refusal
	for _, at := range p.analyze().order {
		fn := p.functions[at]
		size := p.storedSize(fn)
		if size == 0 || size >= have {
			continue
		}
		for slot := fn.Start; slot < fn.End; slot++ {
			if p.makesRoom(fn, slot, size) {
				refused = append(refused, Refusal{
					Access: p.unrecordedAt(fn, slot), Unrecorded: true, Remedy: "make room for bpf_core_type_size(struct md_desc) bytes",
					Reason: fmt.Sprintf("it makes room for %d bytes, the size of struct md_desc in the program, and the layout's has %d", size, have),
				})
			}
		}
	}
	return refused
}

// storedSize returns the size of the program's struct of which a function stores
// fields in the descriptor, the largest of its flavours; 0 if it stores none.
func (p *planner) storedSize(fn *function) (size uint32) {
	for _, q := range fn.stores {
		if isDescriptor(q.access) && !q.access.Adopted() && !p.isOwn(q.access) {
			size = max(size, q.access.Local.TypeSize)
		}
	}
	return size
}

// makesRoom reports whether an instruction calls bpf_xdp_adjust_meta for so many bytes
// more.
func (p *planner) makesRoom(fn *function, slot int, size uint32) bool {
	if ins := fn.section.Read(slot); !ins.IsHelperCall() || asm.BuiltinFunc(ins.Imm) != asm.FnXdpAdjustMeta {
		return false
	}
	constants := p.program.constants[p.program.subs[fn.Place()]]
	if constants == nil {
		return false
	}
	by, ok := constants.Value(slot, asm.R2)
	return ok && int32(by) == -int32(size)
}

// descriptorSize returns the size of the layout's descriptor, 0 if no access tells.
func (p *planner) descriptorSize() uint32 {
	for i := range p.accesses {
		if access := &p.accesses[i]; isDescriptor(access) && !access.Adopted() && !p.isOwn(access) && p.resolutions[i].TypeSize > 0 {
			return p.resolutions[i].TypeSize
		}
	}
	return 0
}

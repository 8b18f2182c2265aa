package rewrite

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
)

// What a driver keeps of a packet is found by way of ctx. A function that is called with
// it has it where that is needed: in a register that holds it there anyway, or on the
// stack, where the function puts it when it starts.

// contextPlace is where a function has ctx at an instruction: in a register, or so far
// below r10.
type contextPlace struct {
	register asm.Register
	depth    int // 0 if it is in the register
}

// contextAt returns where a function has ctx at a load.
func (p *planner) contextAt(fn *function, slot int) (contextPlace, error) {
	brings := p.contextArgument(fn)
	if brings == 0 {
		return contextPlace{}, errNoContext
	}
	live := fn.Liveness()
	load := fn.section.Read(slot)
	inUse := live.LiveOut(slot)&^(1<<load.Dst) | live.Dies(slot) // others have been given away
	if copies := (fn.Flow.CopiesOf(uint8(brings)).At(slot) & inUse).List(); len(copies) > 0 {
		return contextPlace{register: copies[len(copies)-1]}, nil // one that calls don't change
	}
	depth, err := p.keepContext(fn)
	return contextPlace{depth: depth}, err
}

// contextArgument returns the register that a function gets ctx in, whoever calls it; 0
// if it does not.
func (p *planner) contextArgument(fn *function) asm.Register {
	if fn.contextKnown {
		return fn.contextArgument
	}
	fn.contextKnown = true // 0 for calls of itself
	switch {
	case fn.Err != nil:
	case fn.IsProgram && fn.Context() != nil:
		fn.contextArgument = asm.R1
	case !fn.IsEntered():
		for reg := asm.R1; reg <= asm.R5 && fn.contextArgument == 0; reg++ {
			if p.getsContextIn(fn, reg) {
				fn.contextArgument = reg
			}
		}
	}
	return fn.contextArgument
}

// getsContextIn reports whether a function is called with ctx in a register everywhere.
func (p *planner) getsContextIn(fn *function, reg asm.Register) bool {
	calls := p.callsOf(fn)
	for _, call := range calls {
		if !call.isCall || call.from == fn {
			return false // who calls it by its address nobody knows
		}
		brings := p.contextArgument(call.from)
		if brings == 0 || !call.from.Flow.CopiesOf(uint8(brings)).At(call.slot).Has(reg) {
			return false
		}
	}
	return len(calls) > 0
}

// call is where a function is called, or its address is taken.
type call struct {
	from   *function
	slot   int
	isCall bool
}

// callsOf returns where a function is referred to.
func (p *planner) callsOf(fn *function) []call {
	if p.calls == nil {
		p.calls = make(map[bpf.Place][]call)
		for _, at := range p.analyze().order {
			from := p.functionAt(at)
			for slot, callee := range from.References() {
				ins := from.section.Read(slot)
				p.calls[callee] = append(p.calls[callee], call{from, slot, ins.IsLocalCall()})
			}
		}
	}
	return p.calls[fn.Place()]
}

// keepContext has a function keep ctx on the stack, and returns how far below r10.
func (p *planner) keepContext(fn *function) (int, error) {
	if fn.contextDepth > 0 {
		return fn.contextDepth, nil
	}
	constants, err := p.constantsOf(fn)
	if err != nil {
		return 0, err
	}
	depth, known := constants.StackDepth()
	depth = (depth+7)/8*8 + 8
	if !known || !p.deepen(fn, depth) {
		return 0, errNoContextRoom
	}
	fn.contextDepth = depth
	return depth, nil
}

// keepContexts finds the functions that have to keep ctx, before anything else is put on
// their stacks.
func (p *planner) keepContexts() {
	for i := range p.accesses {
		access := &p.accesses[i]
		if b := p.bodyOf(access); b != nil && b.context {
			_, _ = p.contextAt(p.function(access), access.Insn) // which refuses it once more
		}
	}
}

// putStarts puts what functions start with in front of their first instructions.
func putStarts(obj *elfobj.Object, replacements map[string][]code.Replacement, starts map[string]map[int]Instructions) error {
	for section, first := range starts {
		for slot, insns := range first {
			encoded, err := insns.encode(obj.Order)
			if err != nil {
				return err
			}
			list := replacements[section]
			at, found := slices.BinarySearchFunc(list, slot, func(r code.Replacement, slot int) int { return r.Slot - slot })
			if !found {
				same, err := code.Unchanged(obj.Section(section), slot, obj.Order)
				if err != nil {
					return err
				}
				list = slices.Insert(list, at, same)
			}
			list[at].PutInFront(encoded)
			replacements[section] = list
		}
	}
	return nil
}

// prologues returns what functions start with, to keep ctx, by section and slot.
func (p *planner) prologues() map[string]map[int]Instructions {
	starts := make(map[string]map[int]Instructions)
	for at, fn := range p.functions {
		if fn.contextDepth == 0 {
			continue
		}
		if starts[at.Section] == nil {
			starts[at.Section] = make(map[int]Instructions)
		}
		starts[at.Section][at.Slot] = Instructions{{
			Instruction: asm.StoreMem(asm.RFP, int16(-fn.contextDepth), fn.contextArgument, asm.DWord),
			Kind:        insn.Spill,
		}}
	}
	return starts
}

var (
	errNoContext = refuse.Because("call md_desc(ctx) in the function that reads the field, or pass ctx to it as well",
		"what computes it needs ctx, which the function does not have wherever it is called")
	errNoContextRoom = refuse.Because("keep less on the stack",
		"what computes it needs ctx, and there is no room for that on the stack")
)

package rewrite

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// What a driver keeps of a packet is found by way of ctx. A function that is called with
// it has it where that is needed: in a register that holds it there anyway, or on the
// stack, where the function puts it when it starts. One that is called without gets it as
// one more argument, or finds it on the stack of a function that it has an address in.

// contextPlace is where a function has ctx at an instruction: in a register, or so far
// below r10.
type contextPlace struct {
	register asm.Register
	depth    int // 0 if it is in the register
}

// context is how a function comes by ctx.
type context struct {
	argument asm.Register // that brings it
	isAdded  bool         // the callers don't pass it by themselves
	passed   []passedContext

	// The argument points into the stack of a function that is still running, and ctx is
	// offset bytes from there.
	isThrough bool
	offset    int64

	depth int   // below r10, where the function keeps it; 0 if it does not
	lent  []int // where it keeps it for callbacks that other functions lend it to as well
}

// kept returns how far below r10 the function keeps ctx, wherever it does.
func (c *context) kept() []int {
	kept := slices.Clone(c.lent)
	if c.depth > 0 {
		kept = append(kept, c.depth)
	}
	return kept
}

// passedContext is a call that ctx has to be passed with as one more argument.
type passedContext struct {
	call
	to   *function
	from contextPlace
}

// contextAt returns where a function has ctx at a load or a call.
func (p *planner) contextAt(fn *function, slot int) (contextPlace, error) {
	c, err := p.contextOf(fn)
	if err != nil {
		return contextPlace{}, err
	}
	if !c.isAdded && !c.isThrough {
		if copies := (fn.Flow.CopiesOf(uint8(c.argument)).At(slot) & fn.keptThrough(slot)).List(); len(copies) > 0 {
			return contextPlace{register: copies[len(copies)-1]}, nil // one that calls don't change
		}
	}
	depth, err := p.keepContext(fn)
	return contextPlace{depth: depth}, err
}

// keptThrough returns the registers whose values a function needs at an instruction or
// later: the others may have been given away.
func (fn *function) keptThrough(slot int) insn.Registers {
	live, ins := fn.Liveness(), fn.section.Read(slot)
	if ins.IsCall() {
		return live.LiveOut(slot) &^ insn.Clobbered
	}
	return live.LiveOut(slot)&^(1<<ins.Dst) | live.Dies(slot)
}

// contextOf returns how a function comes by ctx, whoever calls it.
func (p *planner) contextOf(fn *function) (*context, error) {
	if fn.context == nil {
		fn.context, fn.contextErr = new(context), errNoContext // for calls of itself
		fn.contextErr = p.findContext(fn, fn.context)
	}
	return fn.context, fn.contextErr
}

func (p *planner) findContext(fn *function, c *context) error {
	switch {
	case fn.Err != nil || p.analyze().subs[fn.Place()] == nil:
		return errNoContext
	case fn.IsEntered():
		c.argument = asm.Register(fn.ContextArgument())
		if c.argument == asm.R0 {
			return refuse.Because("make the function static, or have ctx as one of its parameters",
				"what computes it needs ctx, and a global function gets no more than it is declared with")
		}
		return nil
	}
	for n := range fn.Takes() { // what is in other registers the callers don't keep
		if reg := asm.R1 + asm.Register(n); p.isPassedContext(fn, reg) {
			c.argument = reg
			return nil
		}
	}
	if slices.ContainsFunc(p.callsOf(fn), func(call call) bool { return !call.isCall }) {
		return p.findThrough(fn, c)
	}
	return p.addArgument(fn, c)
}

// isPassedContext reports whether a function is called with ctx in a register everywhere.
func (p *planner) isPassedContext(fn *function, reg asm.Register) bool {
	calls := p.callsOf(fn)
	for _, call := range calls {
		if !call.isCall {
			return false
		}
		from, err := p.contextOf(call.caller)
		if err != nil || from.isThrough || from.isAdded || !call.caller.Flow.CopiesOf(uint8(from.argument)).At(call.slot).Has(reg) {
			return false
		}
	}
	return len(calls) > 0
}

// findThrough looks for an argument of a callback that points into the stacks of functions
// that have ctx, and has these keep ctx.
func (p *planner) findThrough(fn *function, c *context) error {
	arguments := p.program.pointers.Arguments(p.program.subs[fn.Place()])
	for n, pointees := range arguments[:fn.Takes()] {
		lenders, ok := p.lenders(fn, pointees)
		if !ok {
			continue
		}
		offset, err := p.lendContext(lenders)
		if err != nil {
			continue
		}
		c.argument, c.isThrough, c.offset = asm.R1+asm.Register(n), true, offset
		return nil
	}
	return errNoContext
}

// lender is a function that has ctx, and something in its stack that a callback is given.
type lender struct {
	*function
	data int64 // from r10
}

// lenders returns the functions that an argument points into the stacks of, if it points
// nowhere else.
func (p *planner) lenders(fn *function, pointees []flow.Pointee) (lenders []lender, ok bool) {
	for n := range pointees {
		data := &pointees[n]
		at, known := p.program.places[data.Subprogram]
		if data.Region != flow.Stack || data.Indexed || data.Field.Subprogram != nil || !known || at == fn.Place() {
			return nil, false
		}
		owner := p.functionAt(at)
		if _, err := p.contextOf(owner); err != nil {
			return nil, false
		}
		lenders = append(lenders, lender{owner, data.Offset})
	}
	return lenders, len(lenders) > 0
}

// lendContext has functions keep ctx as far from what a callback is given, whichever of
// them it is from, and returns how far.
func (p *planner) lendContext(lenders []lender) (offset int64, err error) {
	if len(lenders) == 1 {
		depth, err := p.keepContext(lenders[0].function)
		return int64(-depth) - lenders[0].data, err
	}
	for _, l := range lenders {
		depth, err := p.freeDepth(l.function)
		if err != nil {
			return 0, err
		}
		offset = min(offset, int64(-depth)-l.data)
	}
	for _, l := range lenders {
		depth := int(-offset - l.data)
		if depth%8 != 0 || !p.deepen(l.function, depth) {
			return 0, errNoContextRoom
		}
		l.context.lent = append(l.context.lent, depth)
	}
	return offset, nil
}

// addArgument has the callers of a static function pass ctx to it.
func (p *planner) addArgument(fn *function, c *context) error {
	calls, taken := p.callsOf(fn), fn.Takes()
	if len(calls) == 0 {
		return errNoContext
	}
	if taken >= 5 {
		return refuse.Because("call md_desc(ctx) in the function, or give it fewer arguments",
			"what computes it needs ctx, and the function is called without, and with five arguments already")
	}
	c.argument, c.isAdded = asm.R1+asm.Register(taken), true
	for _, call := range calls {
		from, err := p.contextAt(call.caller, call.slot)
		if err != nil {
			return err
		}
		c.passed = append(c.passed, passedContext{call, fn, from})
	}
	return nil
}

// call is where a function is called, or its address is taken.
type call struct {
	caller *function
	slot   int
	isCall bool
}

// callsOf returns where a function is referred to.
func (p *planner) callsOf(fn *function) []call {
	if p.calls == nil {
		p.calls = make(map[bpf.Place][]call)
		for _, at := range p.analyze().order {
			caller := p.functionAt(at)
			references := caller.References()
			for _, slot := range slices.Sorted(maps.Keys(references)) {
				ins, callee := caller.section.Read(slot), references[slot]
				p.calls[callee] = append(p.calls[callee], call{caller, slot, ins.IsLocalCall()})
			}
		}
	}
	return p.calls[fn.Place()]
}

// keepContext has a function keep ctx on the stack, and returns how far below r10.
func (p *planner) keepContext(fn *function) (int, error) {
	if fn.context.depth > 0 {
		return fn.context.depth, nil
	}
	depth, err := p.freeDepth(fn)
	if err != nil {
		return 0, err
	}
	if !p.deepen(fn, depth) {
		return 0, errNoContextRoom
	}
	fn.context.depth = depth
	return depth, nil
}

// freeDepth returns how far below r10 there is a place for ctx in a function, below
// everything else.
func (p *planner) freeDepth(fn *function) (int, error) {
	if !fn.startsOnce() {
		return 0, errNoContextStart
	}
	depth, known := p.stackDepth(fn)
	if !known {
		return 0, errNoContextRoom
	}
	depth = (depth + 7) / 8 * 8
	return max(depth, slices.Max(append(fn.context.kept(), 0))) + 8, nil
}

// keepContexts finds the functions that have to keep ctx, before anything else is put on
// their stacks.
func (p *planner) keepContexts() {
	for i := range p.accesses {
		access := &p.accesses[i]
		if b := p.bodyOf(access); b == nil || !b.context {
			continue
		}
		slots := []int{access.Insn}
		if !p.section(access.Section).IsMemoryAt(access.Insn) {
			slots = p.loadsThrough(access)
		}
		for _, slot := range slots {
			_, _ = p.contextAt(p.function(access), slot) // which refuses it once more
		}
	}
}

// loadsThrough returns the loads that an offset is used for.
func (p *planner) loadsThrough(access *reloc.Access) (slots []int) {
	uses, err := p.usesOf(access)
	if err != nil || uses.reached == nil {
		return nil
	}
	for _, use := range uses.dereferences[access.Insn] {
		slots = append(slots, use.Slot)
	}
	return slots
}

var (
	errNoContext = refuse.Because("call md_desc(ctx) in the function that reads the field, or pass ctx to it as well",
		"what computes it needs ctx, which the function does not have wherever it is called")
	errNoContextStart = refuse.Because("do something in front of the loop that the function starts with",
		"what computes it needs ctx, which the function would keep before anything else, and a loop leads back to its start")
	errNoContextRoom = refuse.Because("keep less on the stack",
		"what computes it needs ctx, and there is no room for that on the stack")
)

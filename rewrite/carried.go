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

// What a driver keeps of a packet is found by way of ctx, and what is computed when the
// program starts is found where its first function has put it. A function that is called
// with ctx has it where that is needed: in a register that holds it there anyway, or on the
// stack, where the function puts it when it starts. One that is called without gets it as
// one more argument, or finds it on the stack of a function that it has an address in.

// need is what a function needs that the program's first function has.
type need int

const (
	needContext need = iota // ctx
	needStart               // what was computed when the program started
	needs       int  = iota
)

// needTexts are what is said where a function does not come by what it needs.
type needTexts struct {
	why       string // it is needed
	global    string // what to do about a function that gets no more than it is declared with
	arguments string // and about one with five arguments
	lacking   error
}

var textsOf = [needs]needTexts{
	needContext: {
		why:       "what computes it needs ctx",
		global:    "make the function static, or have ctx as one of its parameters",
		arguments: "call md_desc(ctx) in the function, or give it fewer arguments",
		lacking:   errNoContext,
	},
	needStart: {
		why:       "it is computed when the program starts",
		global:    "make the function static",
		arguments: "give the function fewer arguments, or read the field where it is called",
		lacking: refuse.Because("read the field in the program, and pass it on",
			"it is computed when the program starts, and nothing leads there from the function wherever it is called"),
	},
}

var errNoContext = refuse.Because("call md_desc(ctx) in the function that reads the field, or pass ctx to it as well",
	"what computes it needs ctx, which the function does not have wherever it is called")

func (n need) noRoom() error {
	return refuse.Because("keep less on the stack", "%s, and there is no room for that on the stack", textsOf[n].why)
}

// carriedPlace is where a function has what it needs at an instruction: in a register, or so
// far below r10.
type carriedPlace struct {
	register asm.Register
	depth    int // 0 if it is in the register
}

// carried is how a function comes by what it needs.
type carried struct {
	err error // why it does not

	argument asm.Register // that brings it; r0 if the function makes it itself
	isAdded  bool         // the callers don't pass it by themselves
	passed   []passedOn

	// The argument points into the stack of a function that is still running, and what is
	// needed is offset bytes from there.
	isThrough bool
	offset    int64

	depth int   // below r10, where the function keeps it; 0 if it does not
	lent  []int // where it keeps it for callbacks that other functions lend it to as well
}

// kept returns how far below r10 the function keeps it, wherever it does.
func (c *carried) kept() []int {
	if c == nil || c.err != nil {
		return nil
	}
	kept := slices.Clone(c.lent)
	if c.depth > 0 {
		kept = append(kept, c.depth)
	}
	return kept
}

// keptDepth returns how far below r10 a function uses the stack to keep what is needed.
func (fn *function) keptDepth() int {
	depth := 0
	for _, c := range fn.carried {
		depth = max(depth, slices.Max(append(c.kept(), 0)))
	}
	return depth
}

// passedOn is a call that what is needed has to be passed with as one more argument.
type passedOn struct {
	call
	to   asm.Register
	from carriedPlace
}

// carriedAt returns where a function has what it needs at a load or a call.
func (p *planner) carriedAt(fn *function, what need, slot int) (carriedPlace, error) {
	c, err := p.carriedOf(fn, what)
	if err != nil {
		return carriedPlace{}, err
	}
	if what == needContext && !c.isAdded && !c.isThrough {
		if copies := (fn.Flow.CopiesOf(uint8(c.argument)).At(slot) & fn.keptThrough(slot)).List(); len(copies) > 0 {
			return carriedPlace{register: copies[len(copies)-1]}, nil // one that calls don't change
		}
	}
	depth, err := p.keep(fn, what)
	return carriedPlace{depth: depth}, err
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

// carriedOf returns how a function comes by what it needs, whoever calls it.
func (p *planner) carriedOf(fn *function, what need) (*carried, error) {
	if fn.carried[what] == nil {
		c := &carried{err: textsOf[what].lacking} // for calls of itself
		fn.carried[what] = c
		c.err = p.findCarried(fn, what, c)
	}
	return fn.carried[what], fn.carried[what].err
}

func (p *planner) findCarried(fn *function, what need, c *carried) error {
	switch {
	case fn.Err != nil || p.analyze().subs[fn.Place()] == nil:
		return textsOf[what].lacking
	case what == needStart && fn.IsProgram:
		return nil
	case fn.IsEntered():
		if what == needContext {
			c.argument = asm.Register(fn.ContextArgument())
		}
		if c.argument == asm.R0 {
			return refuse.Because(textsOf[what].global, "%s, and a global function gets no more than it is declared with", textsOf[what].why)
		}
		return nil
	}
	for n := range fn.Takes() { // what is in other registers the callers don't keep
		if reg := asm.R1 + asm.Register(n); what == needContext && p.isPassedContext(fn, reg) {
			c.argument = reg
			return nil
		}
	}
	if slices.ContainsFunc(p.callsOf(fn), func(call call) bool { return !call.isCall }) {
		return p.findThrough(fn, what, c)
	}
	return p.addArgument(fn, what, c)
}

// isPassedContext reports whether a function is called with ctx in a register everywhere.
func (p *planner) isPassedContext(fn *function, reg asm.Register) bool {
	calls := p.callsOf(fn)
	for _, call := range calls {
		if !call.isCall {
			return false
		}
		from, err := p.carriedOf(call.caller, needContext)
		if err != nil || from.isThrough || from.isAdded || !call.caller.Flow.CopiesOf(uint8(from.argument)).At(call.slot).Has(reg) {
			return false
		}
	}
	return len(calls) > 0
}

// findThrough looks for an argument of a callback that points into the stacks of functions
// that have what it needs, and has these keep that.
func (p *planner) findThrough(fn *function, what need, c *carried) error {
	arguments := p.program.pointers.Arguments(p.program.subs[fn.Place()])
	for n, pointees := range arguments[:fn.Takes()] {
		lenders, ok := p.lenders(fn, what, pointees)
		if !ok {
			continue
		}
		offset, err := p.lend(lenders, what)
		if err != nil {
			continue
		}
		c.argument, c.isThrough, c.offset = asm.R1+asm.Register(n), true, offset
		return nil
	}
	return textsOf[what].lacking
}

// lender is a function that has what is needed, and something in its stack that a callback is given.
type lender struct {
	*function
	data int64 // from r10
}

// lenders returns the functions that an argument points into the stacks of, if it points
// nowhere else.
func (p *planner) lenders(fn *function, what need, pointees []flow.Pointee) (lenders []lender, ok bool) {
	for n := range pointees {
		data := &pointees[n]
		at, known := p.program.places[data.Subprogram]
		if data.Region != flow.Stack || data.Indexed || data.Field.Subprogram != nil || !known || at == fn.Place() {
			return nil, false
		}
		owner := p.functionAt(at)
		if _, err := p.carriedOf(owner, what); err != nil {
			return nil, false
		}
		lenders = append(lenders, lender{owner, data.Offset})
	}
	return lenders, len(lenders) > 0
}

// lend has functions keep what is needed as far from what a callback is given, whichever of
// them it is from, and returns how far.
func (p *planner) lend(lenders []lender, what need) (offset int64, err error) {
	if len(lenders) == 1 {
		depth, err := p.keep(lenders[0].function, what)
		return int64(-depth) - lenders[0].data, err
	}
	for _, l := range lenders {
		depth, err := p.freeDepth(l.function, what)
		if err != nil {
			return 0, err
		}
		offset = min(offset, int64(-depth)-l.data)
	}
	for _, l := range lenders {
		depth := int(-offset - l.data)
		if depth%8 != 0 || !p.deepen(l.function, depth) {
			return 0, what.noRoom()
		}
		l.carried[what].lent = append(l.carried[what].lent, depth)
	}
	return offset, nil
}

// addArgument has the callers of a static function pass what it needs to it.
func (p *planner) addArgument(fn *function, what need, c *carried) error {
	calls, taken := p.callsOf(fn), fn.Takes()
	if len(calls) == 0 {
		return textsOf[what].lacking
	}
	for _, other := range fn.carried {
		if other != nil && other.err == nil && other.isAdded {
			taken++
		}
	}
	if taken >= 5 {
		return refuse.Because(textsOf[what].arguments, "%s, and the function is called without, and with five arguments already", textsOf[what].why)
	}
	c.argument, c.isAdded = asm.R1+asm.Register(taken), true
	for _, call := range calls {
		from, err := p.carriedAt(call.caller, what, call.slot)
		if err != nil {
			return err
		}
		c.passed = append(c.passed, passedOn{call, c.argument, from})
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

// keep has a function keep what it needs on the stack, and returns how far below r10.
func (p *planner) keep(fn *function, what need) (int, error) {
	c := fn.carried[what]
	if c.depth > 0 {
		return c.depth, nil
	}
	depth, err := p.freeDepth(fn, what)
	if err != nil {
		return 0, err
	}
	if !p.deepen(fn, depth) {
		return 0, what.noRoom()
	}
	c.depth = depth
	return depth, nil
}

// freeDepth returns how far below r10 there is a place for what a function needs, below
// everything else.
func (p *planner) freeDepth(fn *function, what need) (int, error) {
	if !fn.startsOnce() {
		return 0, refuse.Because("do something in front of the loop that the function starts with",
			"%s, which the function would keep before anything else, and a loop leads back to its start", textsOf[what].why)
	}
	depth, known := p.stackDepth(fn)
	if !known {
		return 0, what.noRoom()
	}
	return max((depth+7)/8*8, fn.keptDepth()) + 8, nil
}

// keepNeeded finds the functions that have to keep what is needed, before anything else is
// put on their stacks.
func (p *planner) keepNeeded() {
	for i := range p.accesses {
		access := &p.accesses[i]
		b := p.bodyOf(access)
		if b == nil {
			continue
		}
		what, needed := b.need()
		if !needed {
			continue
		}
		slots := []int{access.Insn}
		if !p.section(access.Section).IsMemoryAt(access.Insn) {
			slots = p.loadsThrough(access)
		}
		for _, slot := range slots {
			_, _ = p.carriedAt(p.function(access), what, slot) // which refuses it once more
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

package rewrite

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
)

// frameUnit is what the verifier rounds the stack of each of them up to. With a
// JIT it is half of that since Linux 6.9 (round_up_stack_depth of
// kernel/bpf/verifier.c).
const frameUnit = 32

// frame returns what a function takes of the stack that uses it down to a depth.
func frame(depth int) int { return (max(depth, 1) + frameUnit - 1) / frameUnit * frameUnit }

// stackDepth returns how far below r10 a function uses its stack by itself, and what it
// calls does that knows an address there.
func (p *planner) stackDepth(fn *function) (int, bool) {
	if p.isLowered(fn) {
		return 0, true // all of that is below the headroom
	}
	constants, err := p.constantsOf(fn)
	if err != nil {
		return 0, false
	}
	if depth, exact := constants.StackDepth(); exact {
		return depth, true
	}
	program := p.analyze()
	depth, known := program.pointers.StackDepth(program.subs[fn.Place()])
	if !known {
		p.noteCramped(fn)
	}
	return depth, known
}

// hasStack reports whether a function can use the stack down to a depth: if all that is
// called at a time still has room then. Where one of these functions is not understood,
// there is none.
func (p *planner) hasStack(fn *function, depth int) bool {
	if !p.framesKnown {
		p.findFrames()
	}
	switch {
	case p.isLowered(fn) && depth > headroom:
		return false
	case depth <= fn.depth && !p.isLowered(fn):
		return true
	}
	more := max(0, frame(depth)-frame(fn.depth))
	return fn.frames != nil && fn.frames.above+fn.frames.size+more+fn.frames.below <= flow.MaxStack
}

// deepen lets a function use the stack down to a depth, if it can.
func (p *planner) deepen(fn *function, depth int) bool {
	if !p.hasStack(fn, depth) {
		return false
	}
	if depth > fn.depth {
		fn.frames.size += frame(depth) - frame(fn.depth)
		fn.depth = depth
		fn.frames.raiseAbove()
		fn.frames.raiseBelow()
	}
	return true
}

// frames is what functions take of the stack in bytes: one, or all that call each
// other in a circle. Such a circle is only loaded if not all in it are calls but
// some set a callback for later; which these are is not looked at.
type frames struct {
	size         int
	above, below int  // of the deepest chain of calls that leads there, and on from there
	tailCalls    bool // to another program
	callers      []*frames
	callees      []*frames
}

// needed returns how much of the stack a caller has to leave: half of it where
// the stack of another program comes next (check_max_stack_depth of
// kernel/bpf/verifier.c).
func (f *frames) needed() int {
	if f.tailCalls {
		return max(f.size+f.below, flow.MaxStack/2+1)
	}
	return f.size + f.below
}

// raiseAbove lets those that are called know that there is more above them. This
// ends soon: there is no more than flow.MaxStack.
func (f *frames) raiseAbove() {
	for _, callee := range f.callees {
		if above := f.above + f.size; above > callee.above {
			callee.above = above
			callee.raiseAbove()
		}
	}
}

// raiseBelow does the same for the callers.
func (f *frames) raiseBelow() {
	for _, caller := range f.callers {
		if below := f.needed(); below > caller.below {
			caller.below = below
			caller.raiseBelow()
		}
	}
}

// findFrames finds out what each function takes of the stack, and the chains of
// calls. A function that sets a callback counts as its caller.
func (p *planner) findFrames() {
	p.framesKnown = true
	c := &circles{planner: p, numbers: make(map[*function]int)}
	for _, section := range p.object.Code() {
		for _, start := range section.Starts() {
			if at := (bpf.Place{Section: section.Name, Slot: start}); p.object.IsFunction(at) {
				c.visit(p.functionAt(at))
			}
		}
	}
	for _, group := range slices.Backward(c.closed) { // callers come first
		for _, callee := range group.callees {
			callee.above = max(callee.above, group.above+group.size)
		}
	}
}

// circles finds the functions that call each other.
//
// After Tarjan: Depth-First Search and Linear Graph Algorithms.
type circles struct {
	planner *planner
	numbers map[*function]int // in the order of the first visit
	open    []*function       // whose frames aren't known yet
	closed  []*frames         // those of called functions first
}

// visit returns the lowest number of an open function that one leads to.
func (c *circles) visit(fn *function) int {
	if number, ok := c.numbers[fn]; ok {
		return number
	}
	number := len(c.numbers)
	c.numbers[fn] = number
	first := len(c.open)
	c.open = append(c.open, fn)
	lowest := number
	callees, _ := c.planner.callees(fn)
	for _, callee := range callees {
		if callee.frames == nil {
			lowest = min(lowest, c.visit(callee))
		}
	}
	if lowest == number {
		c.close(slices.Clone(c.open[first:]))
		c.open = c.open[:first]
	}
	return lowest
}

// close notes functions that call each other, and nobody else who does not have
// frames already.
func (c *circles) close(functions []*function) {
	group := new(frames)
	for _, fn := range functions {
		fn.frames = group
		group.size += c.planner.frameOf(fn)
		group.tailCalls = group.tailCalls || c.planner.tailCalls(fn)
	}
	for _, fn := range functions {
		callees, all := c.planner.callees(fn)
		if !all {
			group.below = max(group.below, tooDeep)
		}
		for _, callee := range callees {
			if callee.frames == group {
				continue
			}
			group.callees = append(group.callees, callee.frames)
			callee.frames.callers = append(callee.frames.callers, group)
			group.below = max(group.below, callee.frames.needed())
		}
	}
	c.closed = append(c.closed, group)
}

// tooDeep stands for what is not known.
const tooDeep = flow.MaxStack + 1

// frameOf returns what a function takes of the stack before anything is spilled,
// as far as that is known: one that hands out an address in its stack is taken to
// have it used upwards from there. Spill wants to know it of its own function.
func (p *planner) frameOf(fn *function) int {
	constants, err := p.constantsOf(fn)
	if err != nil {
		return tooDeep
	}
	fn.depth, _ = constants.StackDepth()
	return frame(fn.depth)
}

// callees returns the functions of the object that one calls or takes the address
// of, by slot. It returns false if one is missing, as it has no symbol.
func (p *planner) callees(fn *function) (callees []*function, all bool) {
	named := fn.References()
	all = true
	for _, slot := range slices.Sorted(maps.Keys(named)) {
		at := named[slot]
		if p.object.IsFunction(at) {
			callees = append(callees, p.functionAt(at))
		} else if p.object.Section(at.Section).IsCode() {
			all = false
		}
	}
	return callees, all
}

// tailCalls reports whether a function calls the helper of that name.
func (p *planner) tailCalls(fn *function) bool {
	for slot := fn.Start; slot < fn.End; slot++ {
		if ins := fn.section.Read(slot); ins.IsHelperCall() && asm.BuiltinFunc(ins.Imm) == asm.FnTailCall {
			return true
		}
	}
	return false
}

package flow

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// maxEntries is in how many ways a function is looked at.
const maxEntries = 512

// enter follows a function that is entered in some way, and returns the ways in which it
// is left. chain are the functions whose stacks there are, and given is what its arguments
// point at. It returns to the kernel if it is an entry or a callback.
func (v *validity) enter(fn *pointerFunction, chain []int32, entry *held, given [5]pointer, returns bool) []*held {
	f := v.functions[fn.sub]
	f.onlyLess(&given)
	chain = append(slices.Clone(chain), f.number)
	key := []byte{0}
	if returns {
		key[0] = 1
	}
	for _, owner := range chain {
		key = binary.AppendUvarint(key, uint64(owner))
	}
	for _, pointees := range given {
		key = binary.AppendUvarint(key, uint64(pointees))
	}
	key = entry.append(append(key, 0), true)
	if ways, ok := v.ways[string(key)]; ok {
		return ways
	}
	if f.isActive || f.entered == maxEntries {
		v.note(f.sub, Misuse{Slot: f.sub.start, Kind: Unfollowed})
		return []*held{entry.unfollowed()}
	}
	f.isActive = true
	f.entered++
	w := &way{validity: v, fn: f, chain: chain, given: given, returns: returns, heads: make(map[int]*head)}
	ways := w.follow(entry)
	f.isActive = false
	v.ways[string(key)] = ways
	return ways
}

// onlyLess leaves of what arguments point at what is less than they do for all callers.
func (f *validFunction) onlyLess(given *[5]pointer) {
	start := f.solver.at(0)
	for n := range given {
		if !f.looks || start == nil || given[n] == start.regs[n+1] {
			given[n] = 0
		}
	}
}

// copiesOf returns the registers that hold an argument, by its number less one.
func (f *validFunction) copiesOf(argument int) *Copies {
	if f.copies[argument] == nil {
		f.copies[argument] = f.sub.CopiesOf(uint8(argument + 1))
	}
	return f.copies[argument]
}

// unfollowed returns what is left of what a function is entered with if nothing is known
// of it. Which is refused.
func (h *held) unfollowed() *held {
	n := h.clone()
	n.fill(insn.Accessible)
	return n
}

// call returns false where the paths that come out of a call are followed on their own.
func (w *way) call(i int, h *held, ins *instruction) bool {
	if callee := w.fn.callee(i); callee != nil && !callee.Global {
		return w.callStatic(i, h, ins, callee)
	}
	return w.callOther(i, h, ins)
}

// callStatic follows a call into a function that the verifier follows it into, too.
func (w *way) callStatic(i int, h *held, ins *instruction, callee *Subprogram) bool {
	f := w.functions[callee]
	if f == nil { // which is never come to
		w.afterCall(i, h, holding{})
		return true
	}
	entry, pass := w.entry(h, ins.Arguments(), f)
	if entry.entered == 0 && !f.moves && !f.makes {
		w.afterCall(i, h, holding{})
		return true
	}
	var given [5]pointer
	for n, all := range w.fn.arguments[i] {
		given[n] = w.pointerAt(i, asm.R1+asm.Register(n), all)
	}
	for _, left := range w.enter(f.pointerFunction, w.chain, entry, given, false) {
		next := h.clone()
		w.afterCall(i, next, pass.back(next, left))
		w.arrive(i+1, next)
	}
	return false
}

// afterCall notes what a call does to registers and numbers in the stack.
func (w *way) afterCall(i int, h *held, result holding) {
	if from, ok := w.fn.constants.exposed[i]; ok {
		w.forgetNumbers(h, from)
	}
	h.fill(insn.Clobbered)
	h.regs[0] = result
}

// passage is what a function is entered with of what its caller holds.
type passage struct {
	values []int32 // by those that the function was entered with, those of the caller
	sees   func(*heldCell) bool
}

// entry returns what a function is entered with.
func (w *way) entry(h *held, arguments insn.Registers, f *validFunction) (*held, *passage) {
	pass := &passage{sees: func(c *heldCell) bool {
		return f.looks && (c.owner != w.fn.number || h.isDescriptor(c.holding) || w.holders[heldPlace{c.owner, c.place}])
	}}
	entry := newHeld()
	live := f.live.in[0] & insn.Arguments & arguments
	for _, r := range live.List() {
		entry.regs[r] = h.regs[r]
	}
	for n := range h.cells {
		if pass.sees(&h.cells[n]) {
			entry.cells = append(entry.cells, h.cells[n])
		}
	}
	numbers := make(map[int32]int32)
	renumber := func(which bool) {
		each := func(v *holding) {
			if _, ok := numbers[v.value]; !ok && v.value != 0 && h.isDescriptor(*v) == which {
				numbers[v.value] = entry.add(h.facts[v.value]).value
				if which {
					pass.values = append(pass.values, v.value)
				}
			}
		}
		for r := range entry.regs {
			each(&entry.regs[r])
		}
		for n := range entry.cells {
			each(&entry.cells[n].holding)
		}
	}
	renumber(true)
	renumber(false)
	entry.entered = len(pass.values)
	for r := range entry.regs {
		entry.regs[r].value = numbers[entry.regs[r].value]
	}
	for n := range entry.cells {
		entry.cells[n].value = numbers[entry.cells[n].value]
	}
	return entry.canonical(live), pass
}

// back changes what the caller holds to what it does after the function was left in some
// way, and returns the result.
func (pass *passage) back(h, left *held) holding {
	if left.moved.sub != 0 {
		h.move(left.moved)
	}
	values := make([]int32, len(left.facts))
	for n, value := range pass.values {
		h.facts[value], values[n+1] = left.facts[n+1], value
	}
	back := func(v holding) holding {
		if v.value != 0 && values[v.value] == 0 {
			values[v.value] = h.add(left.facts[v.value]).value
		}
		return holding{values[v.value], v.isField}
	}
	h.forget(pass.sees)
	for n := range left.cells {
		c := &left.cells[n]
		h.store(c.owner, c.place, back(c.holding))
	}
	return back(left.regs[0])
}

// callOther calls what is not followed into: a helper, a kfunc, a global function. Which
// may call back, and move the packet.
func (w *way) callOther(i int, h *held, ins *instruction) bool {
	w.judgeArguments(i, h, ins)
	if ins.TailCalls() && len(w.chain) > 1 && !w.returns {
		w.leaveByTailCall(i, h)
	}
	callee := w.fn.callee(i)
	if w.fn.sub.moves(i) || callee != nil && w.functions[callee] != nil && w.functions[callee].moves {
		h.move(mover{w.fn.number, int32(w.fn.sub.start + i)})
	}
	callbacks := w.callbacks(i)
	if len(callbacks) == 0 {
		w.afterCall(i, h, holding{})
		return true
	}
	for _, next := range w.callBack(h, callbacks, w.passed(i, ins)) {
		next = next.clone()
		w.afterCall(i, next, holding{})
		w.arrive(i+1, next)
	}
	return false
}

// leaveByTailCall leaves a function that another one called: what is called instead of it
// may move the packet, and returns to that.
func (w *way) leaveByTailCall(i int, h *held) {
	left := h.clone()
	left.move(mover{w.fn.number, int32(w.fn.sub.start + i)})
	left.regs[0] = holding{}
	w.exit(i, left)
}

// callbacks returns the functions that a helper or kfunc is given.
func (w *way) callbacks(i int) []*validFunction {
	if w.fn.callee(i) != nil {
		return nil
	}
	var given []*validFunction
	arguments := w.fn.arguments[i]
	for _, r := range w.fn.sub.insns[i].Arguments().List() {
		for _, p := range w.sets.list(arguments[r-1]) {
			if f := w.functions[p.Subprogram]; p.Region == Code && f != nil {
				given = append(given, f)
			}
		}
	}
	return given
}

// passed returns what the arguments of the callbacks of a helper point at, as far as these
// are arguments of the helper.
func (w *way) passed(i int, ins *instruction) (given [5]pointer) {
	if !ins.IsHelperCall() {
		return given
	}
	for n, c := range callbacks[ins.Imm] {
		if c.passes != 0 {
			given[n] = w.pointerAt(i, c.passes, w.fn.arguments[i][c.passes-1])
		}
	}
	return given
}

// callBack returns what is held after functions were called back, any number of times.
func (w *way) callBack(h *held, callbacks []*validFunction, given [5]pointer) []*held {
	var ends head
	live := insn.Accessible
	for work := []*held{ends.add(h, live)}; len(work) > 0; {
		before := work[len(work)-1]
		work = work[:len(work)-1]
		for _, f := range callbacks {
			entry, pass := w.entry(before, 0, f)
			if entry.entered == 0 && len(entry.cells) == 0 && !f.moves && !f.makes {
				continue
			}
			for _, left := range w.enter(f.pointerFunction, w.chain, entry, given, true) {
				next := before.clone()
				pass.back(next, left)
				if next = ends.add(next, live); next != nil {
					work = append(work, next)
				}
			}
		}
	}
	return ends.ways
}

// judgeArguments judges what is given to a function that is not followed into.
func (w *way) judgeArguments(i int, h *held, ins *instruction) {
	for _, r := range ins.Arguments().List() {
		if h.isDescriptor(h.regs[r]) {
			w.note(w.fn.sub, Misuse{Slot: w.fn.sub.start + i, Kind: Given, Argument: r})
		}
		if w.isPassedOn(ins, r) || w.fn.callee(i) == nil && !ins.TakesAddress(int(r)) {
			continue
		}
		for _, p := range w.sets.list(w.fn.arguments[i][r-1]) {
			if p.Region == Stack {
				w.judgeMemory(i, h, ins, r, &p)
			}
		}
	}
}

// isPassedOn reports whether an argument of a helper is what it gives to a callback.
func (w *way) isPassedOn(ins *instruction, r asm.Register) bool {
	return ins.IsHelperCall() && slices.ContainsFunc(callbacks[ins.Imm], func(c callback) bool { return c.passes == r })
}

// judgeMemory judges what is in memory on the stack that a function is given, which may
// have changed then.
func (w *way) judgeMemory(i int, h *held, ins *instruction, r asm.Register, p *Pointee) {
	owner, slot := int32(w.sets.subs[p.Subprogram]), w.fn.sub.start+i
	given := place{-MaxStack, MaxStack}
	if from, known := p.From(); known && p.Field.Subprogram == nil {
		given = place{int32(from), int32(-from)}
		if bytes, told := w.memory(w.fn.sub, slot, r); told {
			given.size = int32(min(bytes, -from))
		}
	}
	output, fills := ins.Fills()
	h.forget(func(c *heldCell) bool {
		if c.owner != owner || !c.overlaps(given) {
			return false
		}
		if h.isDescriptor(c.holding) && !(fills && output == r) {
			w.note(w.fn.sub, Misuse{Slot: slot, Kind: GivenWithin, Argument: r})
		}
		return true
	})
}

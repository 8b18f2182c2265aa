package flow

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// PointerAssumptions say what a function's pointers are made of, as far as its
// instructions don't tell. Slots are those of its section.
type PointerAssumptions struct {
	// Entry says that the kernel may start with the function, whoever else calls it.
	Entry bool

	// Global says that the kernel verifies the function on its own: what is called there
	// is not followed into it.
	Global bool

	// Movers are the slots of calls after which pointers into the packet are invalid,
	// besides those of helpers.
	Movers map[int]bool

	// Context says where the ctx has its bounds, if the function is a program and
	// that is known: of other programs nothing that comes from the ctx is known.
	Context *Context

	// Parameters are the regions that the function's arguments point into if it is
	// an entry, or nobody calls it.
	Parameters [5]Region

	// Addresses are the regions that LDDW, and Results those that the results of
	// calls point into, by slot, as far as an ELF relocation tells.
	Addresses, Results map[int]Region

	// Loads are the regions that what is loaded points into, by slot, as far as a record
	// tells.
	Loads map[int]Region

	// Offsets, Sizes and OtherSizes are the slots that hold a recorded offset, or a
	// recorded size of the descriptor, or of another type.
	Offsets, Sizes, OtherSizes map[int]bool

	// Nested are those of Offsets that are from the start of what is nested in a
	// descriptor.
	Nested map[int]bool
}

// Pointers says what the pointers in an object's functions point at.
//
// Followed are registers and the stack, the stack of callers included, through
// the object's own functions and the callbacks of helpers. What comes out of
// other memory is unknown.
type Pointers struct {
	sets      *pointeeSets
	functions map[*Subprogram]*pointerFunction
	contexts  map[*Context]*Subprogram // the first function of each, see ctx
	waiting   []*Subprogram
	queued    map[*Subprogram]bool
	runs      map[*Subprogram]map[*Subprogram]bool // see during
}

// pointerFunction is what is known of one function's pointers.
type pointerFunction struct {
	sub       *Subprogram
	constants *Constants
	arguments [5]pointer
	result    pointer
	returned  bool // result is known, as far as it is
	solver    *solver[pointer]
	callers   map[*Subprogram]bool

	// What other functions found in its stack, by the function that it called then, and
	// what they stored there, by distance from r10; what it stored there itself at a
	// distance that is not constant, and what others did; the functions that looked.
	lent                   map[*Subprogram]map[int64]pointer
	left                   map[int64]pointer
	anywhere, leftAnywhere pointer
	readers                map[*Subprogram]bool
	grown                  int // how often there was more than before

	// What recorded offsets and sizes are added to, by slot, and what sizes are passed
	// to called functions as the size of.
	added, passed map[int]pointer

	sums map[int]bool // slots where recorded offsets are added to addresses
}

// FindPointers finds out what the pointers in an object's functions point at,
// given what else is known of those that can be reached.
func FindPointers(subs []*Subprogram, constants map[*Subprogram]*Constants) *Pointers {
	p := &Pointers{
		sets:      newPointeeSets(subs),
		functions: make(map[*Subprogram]*pointerFunction, len(subs)),
		contexts:  make(map[*Context]*Subprogram),
		queued:    make(map[*Subprogram]bool),
		runs:      make(map[*Subprogram]map[*Subprogram]bool),
	}
	called := make(map[*Subprogram]bool)
	for _, sub := range subs {
		for _, callee := range sub.Calls {
			called[callee] = true
		}
		if constants[sub] != nil {
			p.functions[sub] = &pointerFunction{
				sub: sub, constants: constants[sub], callers: make(map[*Subprogram]bool),
				lent: make(map[*Subprogram]map[int64]pointer), left: make(map[int64]pointer), readers: make(map[*Subprogram]bool),
				added: make(map[int]pointer), passed: make(map[int]pointer), sums: make(map[int]bool),
			}
		}
	}
	for _, sub := range subs {
		switch fn := p.functions[sub]; {
		case fn == nil:
		case sub.Entry || !called[sub]:
			p.enter(fn, fn.sub.Parameters)
		case sub.Alone: // others may call it
			p.enter(fn, [5]Region{})
		}
	}
	p.solve()
	for _, sub := range subs { // that are called where that is never come to
		if fn := p.functions[sub]; fn != nil && fn.solver == nil {
			p.enter(fn, fn.sub.Parameters)
			p.solve()
		}
	}
	p.giveUp(subs)
	for _, sub := range subs {
		if fn := p.functions[sub]; fn != nil {
			p.once(fn, &pointerDomain{Pointers: p, fn: fn, notes: true})
		}
	}
	return p
}

// giveUp lets functions return anything that have not been seen to return: they call
// themselves.
func (p *Pointers) giveUp(subs []*Subprogram) {
	for _, sub := range subs {
		if fn := p.functions[sub]; fn != nil && !fn.returned {
			fn.result, fn.returned = p.sets.of(Pointee{Region: Unknown}), true
			p.queueAll(fn.callers)
		}
	}
	p.solve()
}

// solve runs until nothing changes any more.
func (p *Pointers) solve() {
	for len(p.waiting) > 0 {
		sub := p.waiting[0]
		p.waiting = p.waiting[1:]
		p.queued[sub] = false
		p.run(p.functions[sub])
	}
}

// enter lets a function be called by others than the object's, with arguments that
// point into some regions.
func (p *Pointers) enter(fn *pointerFunction, arguments [5]Region) {
	for n, region := range arguments {
		declared := Pointee{Region: region, Subprogram: fn.sub, Slot: fn.sub.start}
		if region == Ctx {
			declared = p.ctx(fn.sub)
		}
		fn.arguments[n] = p.sets.union(fn.arguments[n], p.sets.of(declared))
	}
	p.queue(fn.sub)
}

// ctx returns the ctx that a function is entered with: the same one for all functions
// with the same Context, as nothing else of it matters.
func (p *Pointers) ctx(sub *Subprogram) Pointee {
	if p.contexts[sub.Context] == nil {
		p.contexts[sub.Context] = sub
	}
	return Pointee{Region: Ctx, Subprogram: p.contexts[sub.Context]}
}

func (p *Pointers) queue(sub *Subprogram) {
	if !p.queued[sub] && p.functions[sub] != nil {
		p.queued[sub] = true
		p.waiting = append(p.waiting, sub)
	}
}

func (p *Pointers) queueAll(subs map[*Subprogram]bool) {
	for _, sub := range slices.SortedFunc(maps.Keys(subs), func(a, b *Subprogram) int { return p.sets.subs[a] - p.sets.subs[b] }) {
		p.queue(sub)
	}
}

func (p *Pointers) run(fn *pointerFunction) {
	fn.solver = newSolver(fn.sub.Function, &pointerDomain{Pointers: p, fn: fn})
	fn.solver.run(p.entry(fn))
	p.once(fn, &pointerDomain{Pointers: p, fn: fn, effects: true})
}

// once goes through all instructions of a function that can be reached once, with a
// domain that does more than the solver's.
func (p *Pointers) once(fn *pointerFunction, d *pointerDomain) {
	for b, st := range fn.solver.before {
		if st == nil {
			continue
		}
		st = st.clone()
		from, to := fn.sub.span(b)
		for i := from; i < to; i++ {
			if !fn.sub.insns[i].IsSecondHalf() {
				d.step(st, i)
			}
		}
	}
}

// entry returns what is known where a function is entered.
func (p *Pointers) entry(fn *pointerFunction) *state[pointer] {
	entry := new(state[pointer])
	entry.regs[insn.Frame] = p.sets.of(Pointee{Region: Stack, Subprogram: fn.sub, Slot: fn.sub.start})
	copy(entry.regs[1:], fn.arguments[:])
	return entry
}

// Address returns what the address of the load or store at a slot may point at. It is
// empty for a number, and reached is false where the function can't be. It is quick if
// asked for ascending slots. The result is for reading only.
func (p *Pointers) Address(sub *Subprogram, slot int) (pointees []Pointee, reached bool) {
	fn, i := p.functions[sub], sub.index(slot)
	if fn == nil || fn.solver == nil || i < 0 {
		return nil, false
	}
	st := fn.solver.at(i)
	if st == nil || !sub.insns[i].Reads() && !sub.insns[i].Writes() {
		return nil, st != nil
	}
	address := st.regs[sub.insns[i].Address()]
	return p.sets.list(p.sets.where(address, func(p *Pointee) bool { return !p.isNumber() })), true
}

// Argument returns what an argument of the call at a slot may point at, by its register.
// The result is for reading only.
func (p *Pointers) Argument(sub *Subprogram, slot int, register asm.Register) []Pointee {
	fn, i := p.functions[sub], sub.index(slot)
	if fn == nil || fn.solver == nil || i < 0 {
		return nil
	}
	st := fn.solver.at(i)
	if st == nil || !sub.insns[i].Arguments().Has(register) {
		return nil
	}
	return p.sets.list(st.regs[register])
}

// Arguments returns what the arguments of a function may point at, in all calls.
func (p *Pointers) Arguments(sub *Subprogram) (arguments [5][]Pointee) {
	if fn := p.functions[sub]; fn != nil {
		for n := range arguments {
			arguments[n] = p.sets.list(fn.arguments[n])
		}
	}
	return arguments
}

// Sum is an addition of a recorded offset to an address.
type Sum struct {
	Slot     int
	Pointees []Pointee // of the address
	InDst    bool      // whether the offset is in the destination register

	// Offset is the slot of the recorded offset, and Delta what constants have added
	// to it. Alone says that it is that one on all paths, and nothing else was added.
	Offset int
	Delta  int64
	Alone  bool
}

// Sums returns the additions of recorded offsets to addresses in a function, by slot.
// One to which several offsets come is there once for each.
func (p *Pointers) Sums(sub *Subprogram) []Sum {
	fn := p.functions[sub]
	if fn == nil || fn.solver == nil {
		return nil
	}
	var sums []Sum
	for _, i := range slices.Sorted(maps.Keys(fn.sums)) {
		st, ins := fn.solver.at(i), &sub.insns[i]
		if st == nil || !ins.FromReg() {
			continue
		}
		address, number := st.regs[ins.Dst], st.regs[ins.Src]
		inDst := !slices.ContainsFunc(p.sets.list(address), func(p Pointee) bool { return p.isKnown() })
		if inDst {
			address, number = number, address
		}
		offsets := p.sets.list(number)
		for n := range offsets {
			if offset := &offsets[n]; offset.Region == recordedOffset {
				sums = append(sums, Sum{sub.start + i, p.sets.list(address), inDst, offset.Slot, offset.Offset,
					len(offsets) == 1 && !offset.Indexed && offset.Subprogram == sub && offset.Slot != anySlot})
			}
		}
	}
	return sums
}

// AddedTo returns what the recorded offset or size in an instruction is added to.
func (p *Pointers) AddedTo(sub *Subprogram, slot int) []Pointee {
	fn := p.functions[sub]
	if fn == nil {
		return nil
	}
	return p.sets.list(p.noted(sub, slot, fn.added))
}

// SizeOf returns the memory that the recorded size in an instruction is passed to
// called functions as the size of.
func (p *Pointers) SizeOf(sub *Subprogram, slot int) []Pointee {
	fn := p.functions[sub]
	if fn == nil {
		return nil
	}
	return p.sets.list(p.noted(sub, slot, fn.passed))
}

// noted returns what is known of the recorded number at a slot.
func (p *Pointers) noted(sub *Subprogram, slot int, known map[int]pointer) pointer {
	if p.sets.merged[RecordedAt{sub, slot}] {
		return p.sets.union(known[slot], known[anySlot])
	}
	return known[slot]
}

// FieldsOf returns the slots of the recorded offsets of which one was added to a
// pointer: of Pointee.Field, in its function.
func (p *Pointers) FieldsOf(pointee *Pointee) []int {
	if pointee.Field.Slot != anySlot {
		return []int{pointee.Field.Slot}
	}
	var slots []int
	for at := range p.sets.merged {
		if at.Subprogram == pointee.Field.Subprogram && at.Subprogram.Offsets[at.Slot] {
			slots = append(slots, at.Slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// MemoryUse is a use of an address in memory: that of a load or store, or an argument of
// a function that isn't the object's.
type MemoryUse struct {
	Slot     int
	Argument int // 1 to 5, 0 for a load or store
	Pointees []Pointee
}

// Uses returns the uses of addresses in a function that may be in the metadata
// area, or of what a driver keeps, by slot.
func (p *Pointers) Uses(sub *Subprogram) []MemoryUse {
	fn := p.functions[sub]
	if fn == nil || fn.solver == nil {
		return nil
	}
	var uses []MemoryUse
	for i := range sub.insns {
		ins := &sub.insns[i]
		if ins.IsSecondHalf() || !ins.Reads() && !ins.Writes() && !ins.IsCall() {
			continue
		}
		st := fn.solver.at(i)
		if st == nil {
			continue
		}
		note := func(argument int, register uint8) {
			list := p.sets.list(st.regs[register])
			if slices.ContainsFunc(list, func(p Pointee) bool { return p.Region == Area || p.Region == Driver }) {
				uses = append(uses, MemoryUse{sub.start + i, argument, list})
			}
		}
		switch {
		case !ins.IsCall():
			note(0, ins.Address())
		case fn.callee(i) == nil:
			for _, r := range ins.Arguments().List() {
				if ins.TakesAddress(int(r)) {
					note(int(r), uint8(r))
				}
			}
		}
	}
	return uses
}

// callee returns the function of the object that the call at an index calls.
func (fn *pointerFunction) callee(i int) *Subprogram {
	if ins := &fn.sub.insns[i]; ins.IsCall() && ins.Src == insn.PseudoCall {
		return fn.sub.Calls[fn.sub.start+i]
	}
	return nil
}

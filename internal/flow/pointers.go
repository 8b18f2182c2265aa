package flow

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// PointerAssumptions say what a function's pointers are made of, as far as its
// instructions don't tell. Slots are those of its section.
type PointerAssumptions struct {
	// Entry says that the kernel may start with the function, whoever else calls it.
	Entry bool

	// Context says where the ctx has its bounds, if the function is a program and
	// that is known: of other programs nothing that comes from the ctx is known.
	Context *Context

	// Parameters are the regions that the function's arguments point into if it is
	// an entry, or nobody calls it.
	Parameters [5]Region

	// Addresses are the regions that LDDW, and Results those that the results of
	// calls point into, by slot, as far as an ELF relocation tells.
	Addresses, Results map[int]Region

	// Offsets and Sizes are the slots that hold a recorded offset, or a recorded
	// size of the descriptor.
	Offsets, Sizes map[int]bool
}

// Pointers says what the pointers in an object's functions point at.
//
// Followed are registers and the stack, the stack of callers included, through
// the object's own functions and the callbacks of helpers. What comes out of
// other memory is unknown.
type Pointers struct {
	sets      *pointeeSets
	functions map[*Unit]*pointerFunction
	contexts  map[*Context]*Unit // the first function of each, see ctx
	waiting   []*Unit
	queued    map[*Unit]bool
}

// pointerFunction is what is known of one function's pointers.
type pointerFunction struct {
	unit      *Unit
	constants *Constants
	arguments [5]pointer
	result    pointer
	solver    *solver[pointer]
	callers   map[*Unit]bool

	// What other functions found in its stack, and what they stored there, by
	// distance from r10; what it stored there itself at a distance that is not
	// constant, and what others did; the functions that looked.
	lent, left   map[int64]pointer
	strewn, cast pointer
	readers      map[*Unit]bool

	// What recorded offsets are added to, by slot, and sizes: what they are added
	// to, and what is at them that they are passed as the size of.
	offsets, added, passed map[int]pointer

	sums map[int]bool // slots where recorded offsets are added to addresses
}

// FindPointers finds out what the pointers in an object's functions point at,
// given what else is known of those that can be reached.
func FindPointers(units []*Unit, constants map[*Unit]*Constants) *Pointers {
	p := &Pointers{
		sets:      newPointeeSets(units),
		functions: make(map[*Unit]*pointerFunction, len(units)),
		contexts:  make(map[*Context]*Unit),
		queued:    make(map[*Unit]bool),
	}
	called := make(map[*Unit]bool)
	for _, u := range units {
		for _, callee := range u.Calls {
			called[callee] = true
		}
		if constants[u] != nil {
			p.functions[u] = &pointerFunction{
				unit: u, constants: constants[u], callers: make(map[*Unit]bool),
				lent: make(map[int64]pointer), left: make(map[int64]pointer), readers: make(map[*Unit]bool),
				offsets: make(map[int]pointer), added: make(map[int]pointer), passed: make(map[int]pointer),
				sums: make(map[int]bool),
			}
		}
	}
	for _, u := range units {
		switch fn := p.functions[u]; {
		case fn == nil:
		case u.Entry || !called[u]:
			p.enter(fn, fn.unit.Parameters)
		case u.Alone: // others may call it
			p.enter(fn, [5]Region{})
		}
	}
	p.solve()
	for _, u := range units { // that are called where that is never come to
		if fn := p.functions[u]; fn != nil && fn.solver == nil {
			p.enter(fn, fn.unit.Parameters)
			p.solve()
		}
	}
	return p
}

// solve runs until nothing changes any more.
func (p *Pointers) solve() {
	for len(p.waiting) > 0 {
		u := p.waiting[0]
		p.waiting = p.waiting[1:]
		p.queued[u] = false
		p.run(p.functions[u])
	}
}

// enter lets a function be called by others than the object's, with arguments that
// point into some regions.
func (p *Pointers) enter(fn *pointerFunction, arguments [5]Region) {
	for n, region := range arguments {
		declared := Pointee{Region: region, Unit: fn.unit, Slot: fn.unit.start}
		if region == Ctx {
			declared = p.ctx(fn.unit)
		}
		fn.arguments[n] = p.sets.union(fn.arguments[n], p.sets.of(declared))
	}
	p.queue(fn.unit)
}

// ctx returns the ctx that a function is entered with: the same one for all functions
// with the same Context, as nothing else of it matters.
func (p *Pointers) ctx(u *Unit) Pointee {
	if p.contexts[u.Context] == nil {
		p.contexts[u.Context] = u
	}
	return Pointee{Region: Ctx, Unit: p.contexts[u.Context]}
}

func (p *Pointers) queue(u *Unit) {
	if !p.queued[u] && p.functions[u] != nil {
		p.queued[u] = true
		p.waiting = append(p.waiting, u)
	}
}

func (p *Pointers) queueAll(units map[*Unit]bool) {
	for _, u := range slices.SortedFunc(maps.Keys(units), func(a, b *Unit) int { return p.sets.units[a] - p.sets.units[b] }) {
		p.queue(u)
	}
}

func (p *Pointers) run(fn *pointerFunction) {
	fn.solver = newSolver(fn.unit.Function, &pointerDomain{p, fn})
	fn.solver.run(p.entry(fn))
}

// entry returns what is known where a function is entered.
func (p *Pointers) entry(fn *pointerFunction) *state[pointer] {
	entry := new(state[pointer])
	entry.regs[frame] = p.sets.of(Pointee{Region: Stack, Unit: fn.unit, Slot: fn.unit.start})
	copy(entry.regs[1:], fn.arguments[:])
	return entry
}

// Address returns what the address of the load or store at a slot may point at. It is
// empty for a number, and reached is false where the function can't be. It is quick if
// asked for ascending slots. The result is for reading only.
func (p *Pointers) Address(u *Unit, slot int) (pointees []Pointee, reached bool) {
	fn, i := p.functions[u], u.index(slot)
	if fn == nil || fn.solver == nil || i < 0 {
		return nil, false
	}
	st := fn.solver.at(i)
	if st == nil || !u.insns[i].reads() && !u.insns[i].writes() {
		return nil, st != nil
	}
	address := st.regs[u.insns[i].address()]
	return p.sets.list(p.sets.where(address, func(p *Pointee) bool { return !p.isNumber() })), true
}

// Arguments returns what the arguments of a function may point at, in all calls.
func (p *Pointers) Arguments(u *Unit) (arguments [5][]Pointee) {
	if fn := p.functions[u]; fn != nil {
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
func (p *Pointers) Sums(u *Unit) []Sum {
	fn := p.functions[u]
	if fn == nil || fn.solver == nil {
		return nil
	}
	var sums []Sum
	for _, i := range slices.Sorted(maps.Keys(fn.sums)) {
		st, ins := fn.solver.at(i), &u.insns[i]
		if st == nil || !ins.fromReg() {
			continue
		}
		address, number := st.regs[ins.dst], st.regs[ins.src]
		inDst := !slices.ContainsFunc(p.sets.list(address), func(p Pointee) bool { return p.isKnown() })
		if inDst {
			address, number = number, address
		}
		offsets := p.sets.list(number)
		for n := range offsets {
			if offset := &offsets[n]; offset.Region == recordedOffset {
				sums = append(sums, Sum{u.start + i, p.sets.list(address), inDst, offset.Slot, offset.Offset,
					len(offsets) == 1 && !offset.Indexed && offset.Unit == u && offset.Slot != anySlot})
			}
		}
	}
	return sums
}

// AddedTo returns what the recorded offset or size in an instruction is added to.
func (p *Pointers) AddedTo(u *Unit, slot int) []Pointee {
	fn := p.functions[u]
	if fn == nil {
		return nil
	}
	if u.Offsets[slot] {
		return p.sets.list(p.noted(u, slot, fn.offsets))
	}
	return p.sets.list(p.noted(u, slot, fn.added))
}

// SizeOf returns the memory that the recorded size in an instruction is passed to
// called functions as the size of.
func (p *Pointers) SizeOf(u *Unit, slot int) []Pointee {
	fn := p.functions[u]
	if fn == nil {
		return nil
	}
	return p.sets.list(p.noted(u, slot, fn.passed))
}

// noted returns what is known of the recorded number at a slot.
func (p *Pointers) noted(u *Unit, slot int, known map[int]pointer) pointer {
	if p.sets.merged[RecordedAt{u, slot}] {
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
		if at.Unit == pointee.Field.Unit && at.Unit.Offsets[at.Slot] {
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
// area, by slot.
func (p *Pointers) Uses(u *Unit) []MemoryUse {
	fn := p.functions[u]
	if fn == nil || fn.solver == nil {
		return nil
	}
	var uses []MemoryUse
	for i := range u.insns {
		ins := &u.insns[i]
		if ins.isSecondHalf() || !ins.reads() && !ins.writes() && !ins.isCall() {
			continue
		}
		st := fn.solver.at(i)
		if st == nil {
			continue
		}
		note := func(argument int, register uint8) {
			list := p.sets.list(st.regs[register])
			if slices.ContainsFunc(list, func(p Pointee) bool { return p.Region == Area }) {
				uses = append(uses, MemoryUse{u.start + i, argument, list})
			}
		}
		switch {
		case !ins.isCall():
			note(0, ins.address())
		case fn.callee(i) == nil:
			for _, r := range ins.arguments().List() {
				if ins.takesAddress(int(r)) {
					note(int(r), uint8(r))
				}
			}
		}
	}
	return uses
}

// callee returns the function of the object that the call at an index calls.
func (fn *pointerFunction) callee(i int) *Unit {
	if ins := &fn.unit.insns[i]; ins.isCall() && ins.src == pseudoCall {
		return fn.unit.Calls[fn.unit.start+i]
	}
	return nil
}

// pointerDomain tracks what pointers point at in one function.
type pointerDomain struct {
	*Pointers
	fn *pointerFunction
}

func (d *pointerDomain) coarse(v pointer) pointer             { return d.sets.coarse(v) }
func (d *pointerDomain) enter(*state[pointer], int)           {}
func (d *pointerDomain) leave(_ *state[pointer], b int) edges { return d.fn.constants.leads(b) }

// made returns the set of what an instruction makes an address of. Of most regions it does
// not matter which instruction that was.
func (d *pointerDomain) made(region Region, i int) pointer {
	made := Pointee{Region: region}
	if region == Area || made.isNumber() {
		made.Unit, made.Slot = d.fn.unit, d.fn.unit.start+i
	}
	return d.sets.of(made)
}

// join returns what may be in a place on either of two paths. A recorded number that is
// another number on one of them counts as one with an index.
func (d *pointerDomain) join(a, b pointer) pointer {
	all := d.sets.union(a, b)
	if a != b && (a == 0 || b == 0) && d.numbers(all) != 0 {
		return d.sets.each(all, func(p Pointee) Pointee {
			p.Indexed = p.Indexed || p.isNumber()
			return p
		})
	}
	return all
}

func (d *pointerDomain) step(s *state[pointer], i int) {
	ins := &d.fn.unit.insns[i]
	switch {
	case ins.op == lddw:
		s.regs[ins.dst] = d.address(i, ins)
	case ins.isALU():
		s.regs[ins.dst] = d.alu(s, i, ins)
	case ins.isCall():
		d.call(s, i, ins)
	case ins.reads():
		d.used(s.regs[ins.src])
		s.regs[ins.dst] = d.load(s, i, ins)
	case ins.writes():
		d.used(s.regs[ins.dst])
		d.store(s, i, ins)
	case ins.class() == classLD:
		s.fill(clobbered, 0)
	}
	if ins.exits() {
		d.returns(s.regs[0])
	}
}

// returns notes what the function returns.
func (d *pointerDomain) returns(v pointer) {
	v = d.sets.where(v, func(p *Pointee) bool { return p.Region != Stack || p.Unit != d.fn.unit })
	if all := d.sets.union(d.fn.result, v); all != d.fn.result {
		d.fn.result = all
		d.queueAll(d.fn.callers)
	}
}

// address returns what LDDW loads.
func (d *pointerDomain) address(i int, ins *instruction) pointer {
	slot := d.fn.unit.start + i
	if v := d.recorded(i); v != 0 {
		return v
	}
	if callee := d.fn.unit.Calls[slot]; callee != nil {
		return d.sets.of(Pointee{Region: Code, Unit: callee})
	}
	if region, ok := d.fn.unit.Addresses[slot]; ok {
		return d.made(region, i)
	}
	if ins.src != 0 {
		return d.made(Unknown, i)
	}
	return 0
}

// recorded returns the number that a recorded instruction holds.
func (d *pointerDomain) recorded(i int) pointer {
	slot := d.fn.unit.start + i
	switch {
	case d.fn.unit.Offsets[slot]:
		return d.made(recordedOffset, i)
	case d.fn.unit.Sizes[slot]:
		return d.made(recordedSize, i)
	}
	return 0
}

func (d *pointerDomain) alu(s *state[pointer], i int, ins *instruction) pointer {
	a, b := s.regs[ins.dst], d.recorded(i)
	if ins.fromReg() && ins.code() != opEND && ins.code() != opNEG {
		b = s.regs[ins.src]
	}
	if sum, own := d.fn.constants.assume.OwnSums[d.fn.unit.start+i]; own {
		if sum.InDst {
			a = b
		}
		return d.sets.each(a, func(p Pointee) Pointee { return p.moved(sum.Offset) })
	}
	switch ins.code() {
	case opMOV:
		return d.move(i, ins, b)
	case opADD:
		return d.add(i, ins, a, b)
	case opSUB:
		return d.subtract(i, ins, a, b)
	case opLSH, opRSH, opARSH: // of a number that is extended
		if !ins.fromReg() && ins.imm == 32 && !ins.is32() {
			return d.numbers(a)
		}
	}
	return 0
}

func (d *pointerDomain) move(i int, ins *instruction, v pointer) pointer {
	switch {
	case ins.fromReg() && ins.off == 1: // addr_space_cast
		return d.made(Heap, i)
	case ins.is32() || ins.off != 0:
		return d.numbers(v)
	}
	return v
}

// numbers returns the recorded numbers in a set.
func (d *pointerDomain) numbers(v pointer) pointer {
	return d.sets.where(v, (*Pointee).isNumber)
}

func (d *pointerDomain) add(i int, ins *instruction, a, b pointer) pointer {
	by, constant := d.fn.constants.addends[i]
	if !d.isAddress(a) && (d.isAddress(b) || a == 0) {
		a, b = b, a
		by, constant = d.fn.constants.augends[i]
	}
	switch {
	case a == 0 || d.isAddress(a) && (d.isAddress(b) || ins.is32()):
		return 0
	case constant && b == 0:
		return d.sets.each(a, func(p Pointee) Pointee { return p.moved(by) })
	case d.isAddress(a):
		d.fn.sums[i] = d.fn.sums[i] || d.numbers(b) != 0
		return d.sum(a, b)
	}
	// Either may be an address, or the index of what is to be added to one.
	all := d.sets.each(d.sets.union(a, b), Pointee.indexed)
	return d.sets.union(all, d.sets.union(d.fields(d.unknown(a), b), d.fields(d.unknown(b), a)))
}

// isAddress reports whether a value is known to be an address.
func (d *pointerDomain) isAddress(v pointer) bool {
	return slices.ContainsFunc(d.sets.list(v), func(p Pointee) bool { return p.isKnown() })
}

// unknown returns what may be an address in a set or something else.
func (d *pointerDomain) unknown(v pointer) pointer {
	return d.sets.where(v, func(p *Pointee) bool { return p.Region == Unknown })
}

// sum returns the sum of an address and a number that is not constant, and notes
// what is added to it if that is recorded.
func (d *pointerDomain) sum(address, number pointer) pointer {
	recorded := d.sets.list(d.numbers(number))
	if len(recorded) == 0 {
		return d.sets.each(address, Pointee.indexed)
	}
	bases := d.sets.where(address, (*Pointee).isKnown)
	for n := range recorded {
		if added := &recorded[n]; added.Region == recordedOffset {
			d.note(added.Unit, added.Slot, func(fn *pointerFunction) map[int]pointer { return fn.offsets }, bases)
		} else {
			d.note(added.Unit, added.Slot, func(fn *pointerFunction) map[int]pointer { return fn.added }, bases)
		}
	}
	return d.fields(address, number)
}

// fields returns the sums of addresses and the recorded numbers in a set.
func (d *pointerDomain) fields(address, number pointer) pointer {
	var all []Pointee
	for _, added := range d.sets.list(d.numbers(number)) {
		for _, p := range d.sets.list(address) {
			all = append(all, p.plus(&added))
		}
	}
	return d.sets.of(all...)
}

// plus returns the sum of an address and a recorded number.
func (p Pointee) plus(number *Pointee) Pointee {
	if number.Region == recordedOffset {
		return p.addField(number)
	}
	p.Past, p.Offset, p.Indexed = true, number.Offset, number.Indexed
	return p
}

// note adds to what is known of the recorded number at a slot.
func (d *pointerDomain) note(u *Unit, slot int, in func(*pointerFunction) map[int]pointer, v pointer) {
	if fn := d.functions[u]; fn != nil {
		known := in(fn)
		known[slot] = d.sets.union(known[slot], v)
	}
}

// used notes that recorded offsets were added to what may be an address, as it is used
// as one.
func (d *pointerDomain) used(address pointer) {
	for _, p := range d.sets.list(d.unknown(address)) {
		if p.Field.Unit != nil {
			d.note(p.Field.Unit, p.Field.Slot, func(fn *pointerFunction) map[int]pointer { return fn.offsets }, d.sets.of(Pointee{Region: Unknown}))
		}
	}
}

func (d *pointerDomain) subtract(i int, ins *instruction, a, b pointer) pointer {
	by, constant := d.fn.constants.addends[i]
	switch {
	case a == 0 || d.isAddress(b) || d.isAddress(a) && ins.is32():
		return 0
	case constant && b == 0:
		return d.sets.each(a, func(p Pointee) Pointee { return p.moved(by) })
	}
	return d.sets.each(a, Pointee.indexed)
}

func (d *pointerDomain) load(s *state[pointer], i int, ins *instruction) pointer {
	if at, ok := d.fn.constants.places[i]; ok {
		if at.size < 8 || ins.mode() == modeATOMIC {
			return 0
		}
		if _, stored := s.find(at); stored {
			return s.exactly(at)
		}
		return d.sets.union(d.fn.strewn, d.fn.cast)
	}
	var v pointer
	for _, p := range d.sets.list(s.regs[ins.src]) {
		v = d.sets.union(v, d.loaded(s, i, ins, &p))
	}
	return v
}

// loaded returns what is at an address.
func (d *pointerDomain) loaded(s *state[pointer], i int, ins *instruction, p *Pointee) pointer {
	at, whole := p.Offset+int64(ins.off), ins.width() == 8
	switch {
	case p.Region == Ctx:
		return d.fromCtx(p, at, i)
	case p.Region == Area || p.Region == Packet || p.isNumber() || !whole:
		return 0
	case p.Region == Stack:
		return d.fromStack(s, p, at)
	}
	return d.made(Unknown, i)
}

// fromCtx returns what a field of the ctx is. The loader makes 64-bit addresses of
// some 32-bit fields.
func (d *pointerDomain) fromCtx(ctx *Pointee, at int64, i int) pointer {
	var context *Context
	if ctx.Unit != nil {
		context = ctx.Unit.Context
	}
	switch {
	case context == nil || ctx.Indexed:
		return d.made(Unknown, i)
	case at == int64(context.DataMeta):
		return d.made(Area, i)
	case at == int64(context.Data) || at == int64(context.DataEnd):
		return d.made(Packet, i)
	}
	return 0
}

// fromStack returns what is in a part of the stack that is not plain from the
// function alone.
func (d *pointerDomain) fromStack(s *state[pointer], p *Pointee, at int64) pointer {
	var v pointer
	if p.Unit == d.fn.unit {
		for _, c := range s.stack {
			v = d.sets.union(v, c.value)
		}
	}
	owner := d.functions[p.Unit]
	owner.readers[d.fn.unit] = true
	v = d.sets.union(v, d.sets.union(owner.strewn, owner.cast))
	for _, cells := range []map[int64]pointer{owner.lent, owner.left} {
		if !p.Indexed && p.Field.Unit == nil {
			v = d.sets.union(v, cells[at])
			continue
		}
		for _, place := range slices.Sorted(maps.Keys(cells)) {
			v = d.sets.union(v, cells[place])
		}
	}
	return v
}

func (d *pointerDomain) store(s *state[pointer], i int, ins *instruction) {
	var v pointer
	if ins.class() == classSTX && ins.mode() == modeMEM && ins.width() == 8 {
		v = s.regs[ins.src]
	}
	if register, ok := ins.fetches(); ok {
		s.regs[register] = 0
	}
	if at, ok := d.fn.constants.places[i]; ok {
		s.store(at, v, func(pointer) pointer { return 0 })
		return
	}
	if v == 0 {
		return
	}
	for _, p := range d.sets.list(s.regs[ins.dst]) {
		if p.Region == Stack {
			d.storeBeyond(s, &p, p.Offset+int64(ins.off), v)
		}
	}
}

// storeBeyond stores an address in the stack where that is not plain from the function
// alone.
func (d *pointerDomain) storeBeyond(s *state[pointer], p *Pointee, at int64, v pointer) {
	owner, isNew := d.functions[p.Unit], false
	switch {
	case p.Unit == d.fn.unit:
		d.strew(s, v)
		isNew = d.grow(&owner.strewn, v)
	case p.Indexed || p.Field.Unit != nil:
		// Eight bytes of whatever memory are rarely an address, and would make
		// every address in that stack doubtful.
		isNew = d.grow(&owner.cast, d.sets.where(v, (*Pointee).isKnown))
	default:
		isNew = d.put(owner.left, at, v)
	}
	if isNew {
		d.queue(p.Unit)
		d.queueAll(owner.readers)
	}
}

// grow adds to what may be somewhere, and reports whether that is new.
func (d *pointerDomain) grow(to *pointer, v pointer) bool {
	all := d.sets.union(*to, v)
	isNew := all != *to
	*to = all
	return isNew
}

// strew adds to what may be anywhere in the function's own stack.
func (d *pointerDomain) strew(s *state[pointer], v pointer) {
	if v != 0 {
		s.change(lowest, func(old pointer) pointer { return d.sets.union(old, v) })
	}
}

// put adds to what may be in a cell, and reports whether that is new.
func (d *pointerDomain) put(cells map[int64]pointer, at int64, v pointer) bool {
	all := d.sets.union(cells[at], v)
	if all == cells[at] {
		return false
	}
	cells[at] = all
	return true
}

func (d *pointerDomain) call(s *state[pointer], i int, ins *instruction) {
	var result pointer
	if callee := d.fn.callee(i); callee != nil {
		result = d.enterCallee(s, ins, callee)
	} else {
		d.callOther(s, i, ins)
		result = d.made(d.resultOf(i, ins), i)
	}
	if from, ok := d.fn.constants.exposed[i]; ok {
		d.lend(s, int64(from))
	}
	s.fill(clobbered, 0)
	s.regs[0] = result
}

// enterCallee passes a function of the object its arguments, and returns its
// result as far as it is known.
func (d *pointerDomain) enterCallee(s *state[pointer], ins *instruction, callee *Unit) pointer {
	fn := d.functions[callee]
	if fn == nil {
		return 0
	}
	fn.callers[d.fn.unit] = true
	var arguments [5]pointer
	for _, r := range ins.arguments().List() {
		arguments[r-1] = s.regs[r]
	}
	d.pass(fn, arguments)
	return fn.result
}

// pass lets a function be called with some arguments.
func (d *pointerDomain) pass(fn *pointerFunction, arguments [5]pointer) {
	before, isFirst := fn.arguments, fn.solver == nil
	for n := range arguments {
		fn.arguments[n] = d.sets.union(before[n], arguments[n])
		if fn.solver != nil && fn.arguments[n] != before[n] {
			fn.arguments[n] = d.sets.coarse(fn.arguments[n])
		}
	}
	if fn.arguments != before || isFirst {
		d.queue(fn.unit)
	}
}

// callOther calls what is no function of the object, which may call one that it is
// given.
func (d *pointerDomain) callOther(s *state[pointer], i int, ins *instruction) {
	for _, r := range ins.arguments().List() {
		d.used(s.regs[r])
		for _, p := range d.sets.list(s.regs[r]) {
			switch fn := d.functions[p.Unit]; {
			case p.Region == Code && fn != nil:
				d.pass(fn, d.callbackArguments(s, i, ins))
			case p.Region == recordedSize:
				d.note(p.Unit, p.Slot, func(fn *pointerFunction) map[int]pointer { return fn.passed }, d.sized(s, i, ins, r))
			}
		}
	}
}

// callbackArguments returns what a helper calls a function of the program with.
func (d *pointerDomain) callbackArguments(s *state[pointer], i int, ins *instruction) [5]pointer {
	var arguments [5]pointer
	parameters, ok := callbacks[ins.imm]
	if !ok || ins.src != 0 || ins.fromReg() {
		unknown := d.made(Unknown, i)
		return [5]pointer{unknown, unknown, unknown, unknown, unknown}
	}
	for n, parameter := range parameters {
		switch {
		case parameter.passes != 0:
			arguments[n] = s.regs[parameter.passes]
		case parameter.isAddress:
			arguments[n] = d.made(parameter.region, i)
		}
	}
	return arguments
}

// callback says what an argument of a callback is: one of the helper's own, an
// address, or else a number.
type callback struct {
	passes    asm.Register
	isAddress bool
	region    Region
}

// callbacks are the arguments of the functions that helpers call
// (set_*_callback_state of kernel/bpf/verifier.c).
var callbacks = map[int64][]callback{
	164: {{isAddress: true}, {isAddress: true, region: MapValue}, {isAddress: true, region: MapValue}, {passes: asm.R3}}, // bpf_for_each_map_elem
	170: {{isAddress: true}, {isAddress: true, region: MapValue}, {isAddress: true, region: MapValue}},                   // bpf_timer_set_callback
	180: {{isAddress: true}, {isAddress: true}, {passes: asm.R4}},                                                        // bpf_find_vma
	181: {{}, {passes: asm.R3}},                                                                                          // bpf_loop
	209: {{isAddress: true}, {passes: asm.R3}},                                                                           // bpf_user_ringbuf_drain
}

// sized returns the memory that an argument of a call is the size of.
func (d *pointerDomain) sized(s *state[pointer], i int, ins *instruction, size asm.Register) pointer {
	isHelper := ins.src == 0 && !ins.fromReg()
	switch {
	case size == asm.R1:
		return 0
	case isHelper && slices.Contains(reservations, ins.imm):
		if size == asm.R2 {
			return d.made(RingBuffer, i)
		}
		return 0
	}
	return s.regs[size-1]
}

// reservations are bpf_ringbuf_reserve and bpf_ringbuf_reserve_dynptr, which are told
// how much they are to make.
var reservations = []int64{131, 198}

// resultOf returns the region that a call's result points into.
func (d *pointerDomain) resultOf(i int, ins *instruction) Region {
	if region, ok := d.fn.unit.Results[d.fn.unit.start+i]; ok {
		return region
	}
	if ins.src == 0 && !ins.fromReg() {
		return results[ins.imm]
	}
	return Unknown
}

// results are the regions of what helpers return: bpf_map_lookup_elem,
// bpf_get_local_storage, bpf_sk_storage_get, bpf_ringbuf_reserve,
// bpf_inode_storage_get, bpf_task_storage_get, bpf_map_lookup_percpu_elem,
// bpf_dynptr_data, bpf_cgrp_storage_get. A dynptr's memory is a ring buffer's, or a
// map value.
var results = map[int64]Region{
	1: MapValue, 81: MapValue, 107: MapValue, 131: RingBuffer, 145: MapValue,
	156: MapValue, 195: MapValue, 203: RingBuffer, 210: MapValue,
}

// lend gives what is called the stack from r10+from up.
func (d *pointerDomain) lend(s *state[pointer], from int64) {
	lent := false
	for n := range s.stack {
		c := &s.stack[n]
		if int64(c.end()) > from && c.value != 0 && c.size == 8 {
			lent = d.put(d.fn.lent, int64(c.at), c.value) || lent
		}
	}
	if lent {
		d.queueAll(d.fn.readers)
	}
	d.strew(s, d.fn.cast)
	for _, at := range slices.Sorted(maps.Keys(d.fn.left)) {
		if at < from || at < -MaxStack || at > -8 {
			continue
		}
		cell := place{int32(at), 8}
		s.store(cell, d.sets.union(s.exactly(cell), d.fn.left[at]), func(pointer) pointer { return 0 })
	}
}

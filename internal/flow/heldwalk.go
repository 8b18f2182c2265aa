package flow

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// validFunction is a function, with what validity asks of its pointers on all paths
// together.
type validFunction struct {
	*pointerFunction
	number       int32
	moves, makes bool // the packet, or descriptors: it or one that it refers to
	live         *Liveness

	addresses map[int]pointer    // of loads and stores that are not plainly in its own stack
	arguments map[int][5]pointer // of calls
	offsets   map[int][2]bool    // whether what an addition adds up may be recorded offsets
	looks     bool               // at the stack of a caller: it or one that it calls
	copies    [5]*Copies         // of its arguments, once somebody asks

	entered  int // how often
	isActive bool
}

func (v *validity) newFunction(fn *pointerFunction, moves, makes bool) *validFunction {
	f := &validFunction{
		pointerFunction: fn, number: int32(v.sets.subs[fn.sub]), moves: moves, makes: makes,
		live:      fn.constants.Liveness(-1),
		addresses: make(map[int]pointer), arguments: make(map[int][5]pointer), offsets: make(map[int][2]bool),
	}
	for i := range fn.sub.insns {
		ins := &fn.sub.insns[i]
		if st := fn.solver.at(i); st != nil && !ins.IsSecondHalf() {
			v.survey(f, i, ins, st)
		}
	}
	return f
}

// survey notes what validity asks of the pointers at an instruction.
func (v *validity) survey(f *validFunction, i int, ins *instruction, st *state[pointer]) {
	isOffset := func(p pointer) bool {
		return slices.ContainsFunc(v.sets.list(p), func(p Pointee) bool { return p.Region == recordedOffset })
	}
	switch {
	case ins.Reads() || ins.Writes():
		if _, isOwn := f.constants.places[i]; !isOwn {
			f.addresses[i] = st.regs[ins.Address()]
		}
	case ins.IsCall():
		var arguments [5]pointer
		copy(arguments[:], st.regs[1:])
		f.arguments[i] = arguments
	case ins.IsALU() && ins.Code() == insn.OpADD:
		sum := [2]bool{isOffset(st.regs[ins.Dst]), f.sub.Offsets[f.sub.start+i]}
		if ins.FromReg() {
			sum[1] = isOffset(st.regs[ins.Src])
		}
		f.offsets[i] = sum
	}
}

// looksItself reports whether a function accesses the stack of one that called it.
func (v *validity) looksItself(f *validFunction) bool {
	isForeign := func(p pointer) bool {
		return slices.ContainsFunc(v.sets.list(p), func(p Pointee) bool { return p.Region == Stack && p.Subprogram != f.sub })
	}
	for _, address := range f.addresses {
		if isForeign(address) {
			return true
		}
	}
	for _, arguments := range f.arguments {
		if slices.ContainsFunc(arguments[:], isForeign) {
			return true
		}
	}
	return false
}

// noteHolders notes the parts of a function's stack, and of those of its callers, that it
// may put a descriptor in.
func (v *validity) noteHolders(f *validFunction) {
	for i := range f.sub.insns {
		ins := &f.sub.insns[i]
		if ins.Class() != insn.ClassSTX || ins.Mode() != insn.ModeMEM || ins.Width() != 8 {
			continue
		}
		st := f.solver.at(i)
		if st == nil || !slices.ContainsFunc(v.sets.list(st.regs[ins.Src]), func(p Pointee) bool { return p.Region == Driver }) {
			continue
		}
		if at, isOwn := f.constants.places[i]; isOwn {
			v.holders[heldPlace{f.number, at}] = true
			continue
		}
		for _, at := range v.placesAt(f.addresses[i], ins) {
			v.holders[at] = true
		}
	}
}

// heldPlace is a part of the stack of a function, by its number.
type heldPlace struct {
	owner int32
	place
}

// placesAt returns where in stacks a load or store at an address may go.
func (v *validity) placesAt(address pointer, ins *instruction) []heldPlace {
	var places []heldPlace
	for _, p := range v.sets.list(address) {
		if p.Region == Stack && !p.Indexed && p.Field.Subprogram == nil {
			places = append(places, heldPlace{int32(v.sets.subs[p.Subprogram]), place{int32(p.Offset) + int32(ins.Off), int32(ins.Width())}})
		}
	}
	return places
}

// way follows a function from one way to enter it on.
type way struct {
	*validity
	fn      *validFunction
	chain   []int32    // the functions whose stacks there are: it comes last
	given   [5]pointer // what its arguments point at, where that is less than for all callers; 0 otherwise
	returns bool       // to the kernel

	heads map[int]*head
	work  []point
	exits head
}

// point is what is held in front of an instruction.
type point struct {
	at   int
	held *held
}

// head is where paths meet: what is held on each.
type head struct {
	known map[string]bool
	ways  []*held
}

// How many ways are kept apart where paths meet until those that are alike in descriptors
// are joined, and until all are.
const (
	maxAlike = 8
	maxWays  = 48
)

// add returns what is to be followed from a head on that is come to in one way more; nil
// if that brings nothing new.
func (m *head) add(h *held, live insn.Registers) *held {
	h = h.canonical(live)
	key := h.key()
	if m.known[key] {
		return nil
	}
	if len(m.ways) < maxAlike {
		return m.keep(len(m.ways), key, h)
	}
	shape := h.shape()
	at := slices.IndexFunc(m.ways, func(o *held) bool { return o.shape() == shape })
	if at < 0 && len(m.ways) < maxWays {
		return m.keep(len(m.ways), key, h)
	}
	if at < 0 {
		at = len(m.ways) - 1
	}
	h = m.ways[at].join(h).canonical(live)
	return m.keep(at, h.key(), h)
}

func (m *head) keep(at int, key string, h *held) *held {
	if at == len(m.ways) {
		m.ways = append(m.ways, nil)
	}
	m.ways[at] = h
	if m.known[key] {
		return nil
	}
	if m.known == nil {
		m.known = make(map[string]bool)
	}
	m.known[key] = true
	return h
}

func (w *way) follow(entry *held) []*held {
	w.arrive(0, entry)
	for len(w.work) > 0 {
		p := w.work[len(w.work)-1]
		w.work = w.work[:len(w.work)-1]
		w.walk(p.at, p.held.clone())
	}
	return w.exits.ways
}

func (w *way) arrive(at int, h *held) {
	m := w.heads[at]
	if m == nil {
		m = new(head)
		w.heads[at] = m
	}
	if next := m.add(h, w.fn.live.in[at]); next != nil {
		w.work = append(w.work, point{at, next})
	}
}

// walk goes on to the end of the block, or to a call that has several ways out.
func (w *way) walk(i int, h *held) {
	sub := w.fn.sub
	last := sub.lastIndex(int(sub.blockOf[i]))
	for ; ; i += sub.insns[i].Slots() {
		ins := &sub.insns[i]
		if ins.IsCall() {
			if !w.call(i, h, ins) {
				return
			}
		} else {
			w.step(i, h, ins)
		}
		if i == last {
			w.leave(i, h, ins)
			return
		}
	}
}

// leave goes to where a block leads.
func (w *way) leave(i int, h *held, ins *instruction) {
	if ins.Exits() {
		w.exit(i, h)
		return
	}
	sub, b := w.fn.sub, int(w.fn.sub.blockOf[i])
	test := w.judgeComparison(i, h, ins)
	leads := w.fn.constants.leads(b)
	for n, succ := range sub.blocks[b].Succs {
		if !leads.has(n) {
			continue
		}
		next := h
		if test != nil {
			if next = h.clone(); !test.assume(next, n == 1) {
				continue
			}
		}
		w.arrive(sub.blocks[succ].Start-sub.start, next)
	}
}

func (w *way) exit(i int, h *held) {
	if w.returns && h.isDescriptor(h.regs[0]) {
		w.misuse(i, GivenBack)
		h.regs[0] = holding{}
	}
	h.forget(func(c *heldCell) bool { return c.owner == w.fn.number })
	w.exits.add(h, 1)
}

func (w *way) misuse(i int, kind MisuseKind) {
	w.note(w.fn.sub, Misuse{Slot: w.fn.sub.start + i, Kind: kind})
}

func (w *way) step(i int, h *held, ins *instruction) {
	switch {
	case ins.Op == insn.LDDW:
		h.regs[ins.Dst] = h.number(w.immediate(i, ins))
	case ins.IsALU():
		h.regs[ins.Dst] = w.alu(i, h, ins)
	case ins.Reads():
		w.use(i, h, ins)
		h.regs[ins.Dst] = w.load(i, h, ins)
	case ins.Writes():
		w.use(i, h, ins)
		w.store(i, h, ins)
	case ins.Class() == insn.ClassLD:
		h.fill(insn.Clobbered)
	}
}

func (w *way) constantDomain() *constantDomain { return w.fn.constants.solver.domain.(*constantDomain) }

// immediate returns the number that an instruction has.
func (w *way) immediate(i int, ins *instruction) number {
	if v := w.constantDomain().immediate(i, ins); v.kind == other {
		return v.number()
	}
	return anything
}

func (w *way) alu(i int, h *held, ins *instruction) holding {
	a, b := h.regs[ins.Dst], holding{}
	number := w.immediate(i, ins)
	if ins.FromReg() && ins.Code() != insn.OpEND && ins.Code() != insn.OpNEG {
		b = h.regs[ins.Src]
		number = h.numberOf(b)
	}
	if ins.Code() == insn.OpMOV {
		a = holding{}
		if ins.FromReg() && !ins.Is32() && ins.Off == 0 {
			return h.share(ins.Src)
		}
	}
	if h.isDescriptor(a) || h.isDescriptor(b) {
		return w.sum(i, h, ins, a, b)
	}
	return h.number(ins.alu(scalar(h.numberOf(a), false), scalar(number, false), w.constantDomain().bigEndian()).number())
}

// share returns what a register holds, for another place to hold too.
func (h *held) share(register uint8) holding {
	if h.regs[register].value == 0 {
		h.regs[register] = h.add(nothingKnown)
	}
	return h.regs[register]
}

// sum returns the address of a field of a descriptor; of anything else that is computed
// with one, that it should have been.
func (w *way) sum(i int, h *held, ins *instruction, a, b holding) holding {
	isSum, offsets := ins.Code() == insn.OpADD && !ins.Is32(), w.fn.offsets[i]
	_, isConstant := w.fn.constants.addends[i]
	if !h.isDescriptor(a) {
		a, b = b, a
		offsets[1] = offsets[0]
		_, isConstant = w.fn.constants.augends[i]
	}
	if !isSum || h.isDescriptor(b) || !offsets[1] && !(a.isField && isConstant) {
		w.misuse(i, Calculated)
	}
	if !isSum || h.isDescriptor(b) {
		return holding{}
	}
	a.isField = true
	return a
}

// use judges the address of a load or store.
func (w *way) use(i int, h *held, ins *instruction) {
	v := h.regs[ins.Address()]
	f := h.of(v)
	switch {
	case f.isDescriptor && f.moved.sub != 0:
		w.note(w.fn.sub, Misuse{Slot: w.fn.sub.start + i, Kind: Moved, Mover: w.subs[f.moved.sub-1], MoverSlot: int(f.moved.slot)})
		f.moved = mover{}
	case f.isDescriptor && !f.nonzero():
		w.misuse(i, Untested)
		f.isNonzero = true
	case f.isDescriptor || !w.isDrivers(w.fn.addresses[i]):
	case h.isZero(v):
		w.misuse(i, Untested)
	default:
		w.misuse(i, Lost)
	}
}

// isDrivers reports whether an address may be that of what a driver keeps, and of nothing
// else that is known.
func (w *way) isDrivers(address pointer) bool {
	list, found := w.sets.list(address), false
	for n := range list {
		found = found || list[n].Region == Driver
		if list[n].isKnown() && list[n].Region != Driver {
			return false
		}
	}
	return found
}

// addressAt returns what the address of a load or store may be that is not plainly in the
// function's own stack.
func (w *way) addressAt(i int, ins *instruction) pointer {
	return w.pointerAt(i, asm.Register(ins.Address()), w.fn.addresses[i])
}

// pointerAt returns what a register points at in front of an instruction, given that for all
// ways to enter the function.
func (w *way) pointerAt(i int, register asm.Register, all pointer) pointer {
	for n, given := range w.given {
		if given != 0 && w.fn.copiesOf(n).At(w.fn.sub.start+i).Has(register) {
			return given
		}
	}
	return all
}

func (w *way) load(i int, h *held, ins *instruction) holding {
	if w.fn.sub.Loads[w.fn.sub.start+i] == Driver {
		return h.add(fact{isDescriptor: true, number: anything})
	}
	if at, isOwn := w.fn.constants.places[i]; isOwn {
		return w.reload(i, h, ins, heldPlace{w.fn.number, at})
	}
	places := slices.DeleteFunc(w.placesAt(w.addressAt(i, ins), ins), func(at heldPlace) bool { return !slices.Contains(w.chain, at.owner) })
	if len(places) == 0 {
		return holding{}
	}
	v := w.reload(i, h, ins, places[0])
	for _, at := range places[1:] {
		o := w.reload(i, h, ins, at)
		if o.value != v.value {
			v = holding{h.add(h.of(v).join(h.of(o))).value, v.isField || o.isField}
		}
	}
	return v
}

func (w *way) reload(i int, h *held, ins *instruction, at heldPlace) holding {
	v, cut := h.load(at.owner, at.place)
	switch {
	case cut:
		w.misuse(i, Calculated)
	case h.isDescriptor(v) && ins.Mode() == insn.ModeMEM:
		return v
	case ins.Mode() == insn.ModeMEM && v.value != 0 && at.size == 8:
		return v
	case ins.Mode() == insn.ModeMEM:
		return h.number(h.numberOf(v))
	}
	return holding{}
}

func (w *way) store(i int, h *held, ins *instruction) {
	v := w.stored(i, h, ins)
	if from, ok := w.fn.constants.exposed[i]; ok {
		w.forgetNumbers(h, from)
	}
	if at, isOwn := w.fn.constants.places[i]; isOwn {
		h.store(w.fn.number, at, v)
		return
	}
	list := w.sets.list(w.addressAt(i, ins))
	if h.isDescriptor(v) && (len(list) == 0 || slices.ContainsFunc(list, func(p Pointee) bool { return p.Region != Stack || p.Indexed })) {
		w.misuse(i, Kept)
	}
	w.storeBeyond(i, h, ins, list, v)
}

// storeBeyond stores to the stack where that is not plain from the function alone.
func (w *way) storeBeyond(i int, h *held, ins *instruction, list []Pointee, v holding) {
	places := w.placesAt(w.addressAt(i, ins), ins)
	if len(list) == 1 && len(places) == 1 {
		h.store(places[0].owner, places[0].place, v)
		return
	}
	for n := range list {
		if owner := int32(w.sets.subs[list[n].Subprogram]); list[n].Region == Stack && list[n].Indexed {
			h.forget(func(c *heldCell) bool { return c.owner == owner && w.reaches(i, c) })
		}
	}
	for _, at := range places {
		if old, _ := h.load(at.owner, at.place); old.value != v.value {
			h.store(at.owner, at.place, holding{h.add(h.of(old).join(h.of(v))).value, old.isField || v.isField})
		}
	}
}

// reaches reports whether a store to where an index leads may change a cell.
func (w *way) reaches(i int, c *heldCell) bool {
	if c.owner != w.fn.number {
		return true
	}
	if among, known := w.fn.constants.among[i]; known {
		return c.overlaps(among)
	}
	return c.end() > w.fn.constants.indexed()
}

// stored returns what a store stores.
func (w *way) stored(i int, h *held, ins *instruction) holding {
	if ins.Class() != insn.ClassSTX {
		return h.number(w.immediate(i, ins).low(ins.Width()))
	}
	isAtomic := ins.Mode() == insn.ModeATOMIC
	v := h.regs[ins.Src]
	register, fetches := ins.Fetches()
	if isAtomic && (h.isDescriptor(v) || fetches && register == 0 && h.isDescriptor(h.regs[0])) {
		w.misuse(i, Exchanged)
	}
	if fetches {
		h.regs[register] = holding{}
	}
	switch {
	case isAtomic:
		return holding{}
	case h.isDescriptor(v) && ins.Width() < 8:
		w.misuse(i, Calculated)
		return holding{}
	case ins.Width() < 8:
		return h.number(h.numberOf(v).low(ins.Width()))
	}
	return h.share(ins.Src)
}

// forgetNumbers forgets the numbers in the function's stack from r10+at up.
func (w *way) forgetNumbers(h *held, at int32) {
	h.forget(func(c *heldCell) bool {
		return c.owner == w.fn.number && c.end() > at && !h.isDescriptor(c.holding) && !w.holders[heldPlace{c.owner, c.place}]
	})
}

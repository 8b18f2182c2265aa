package flow

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Assumptions say what the rewriting will make of a function's immediates, and
// what is around the function.
type Assumptions struct {
	// Known maps slots of recorded instructions with an immediate to what it
	// will be: existence values, sizes, offsets, ...
	Known map[int]int64

	// Undecided are slots of recorded instructions with an immediate that is not
	// known, as they are left to the loader or poisoned.
	Undecided insn.Slots

	// Linked are slots whose immediate the loader fills in with an address,
	// which says nothing of the layout: those of ELF relocations.
	Linked insn.Slots

	// OwnSums are slots of additions whose recorded offset is to be one of the
	// program's own instead.
	OwnSums map[int]OwnSum

	// Extents are slots of loads and stores of bit-fields, whose recorded offset need not be
	// that of the bytes that they are for: which of the stack they will be for instead.
	Extents map[int]Extent

	// Relocated are slots of loads that are left to the loader: it may make them wider than
	// what the compiler made of the rest of the code.
	Relocated insn.Slots

	// Program says that the kernel starts with the function, or verifies it by itself
	// as it does global functions: what r1 is taken for, the ctx, is an address of
	// which nothing is known. What the arguments of other functions are only Analyze
	// finds out.
	Program bool

	// Alone says that nothing is known of the program's other functions: what
	// depends on the layout may be in memory. Analyze finds out whether it is.
	Alone bool

	arguments [5]value       // of r1 to r5
	remember  memory         // where guided values may be from the start
	guided    func(int) bool // whether the call at an index runs guided functions
	doubtful  bool           // whether the function is called at all
}

// OwnSum is the addition of an offset in memory of the program's own to its address.
type OwnSum struct {
	Of     int   // the slot of the recorded offset
	Offset int64 // constants that were added to it before included
	InDst  bool  // whether it is in the destination register, and the address in the other
}

// operands returns what is added up, given what is in the registers.
func (o OwnSum) operands(dst, src value) (a, b value) {
	if o.InDst {
		dst = src
	}
	return dst, scalar(constant(uint64(o.Offset)), false)
}

// memory is a set of kinds of memory that the layout may show in: a guided
// value was stored there.
type memory uint8

const (
	packetMemory memory = 1 << iota
	otherMemory
)

// Constants is what is known of a function's values under some assumptions. It
// is not safe for concurrent use.
type Constants struct {
	function *Function
	assume   Assumptions
	solver   *solver[value]
	branches []branch // by block
	doubtful []bool   // by block
	leaks    memory   // where guided values are left

	// What other analyses need, by index of the instruction: where loads and
	// stores go in the stack, or among which bytes of it, or in the ctx; from where
	// up other code may change the stack; and the constants that don't depend on the
	// layout in sums.
	places  map[int]place
	among   map[int]place
	fields  map[int]int32
	exposed map[int]int32
	addends map[int]int64
	augends map[int]int64

	lowest   int32
	floor    int32 // the lowest address that is made
	under    int32 // and what loads and stores add to one that is not constant, if that is negative
	exact    bool
	computed bool // not exact for an address that the function itself computes
}

// programArguments are those that the kernel calls a program with.
var programArguments = [5]value{{kind: context, known: ^uint64(0)}}

// Constants finds out which values are the same whichever way the function
// runs, and with that, which instructions can't be reached.
//
// Tracked are registers, and the stack as far as the function's own stores to
// it say what is there. Numbers are tracked bit by bit.
func (f *Function) Constants(assume Assumptions) *Constants {
	if assume.Program {
		assume.arguments = programArguments
	}
	if assume.Alone {
		assume.remember = packetMemory | otherMemory
	}
	for {
		c := f.constants(assume)
		if c.leaks&^assume.remember == 0 {
			return c
		}
		assume.remember |= c.leaks
	}
}

// constants is one run, with a fixed set of memory that may hold guided values:
// what is stored at the end of one packet is there at the start of the next.
func (f *Function) constants(assume Assumptions) *Constants {
	c := &Constants{function: f, assume: assume, exact: true}
	d := &constantDomain{f: f, assume: &c.assume, branches: make([]branch, len(f.blocks)), mixed: make(map[int]insn.Registers)}
	c.solver = newSolver(f, d)
	d.again = c.solver.again

	entry := new(state[value])
	entry.regs[insn.Frame] = value{known: ^uint64(0), kind: stack}
	copy(entry.regs[1:], assume.arguments[:])
	c.solver.run(entry)
	c.leaks, c.branches = d.leaks, d.branches
	c.survey()
	c.doubtful = c.doubt(d)
	return c
}

// Value returns the constant that a register holds before the instruction at a
// slot, and whether it does. Nothing is constant where the function can't be.
func (c *Constants) Value(slot int, register asm.Register) (int64, bool) {
	v, ok := c.register(slot, register)
	n, constant := v.constant()
	return int64(n), ok && constant
}

// ZeroExtended reports whether a register provably holds an unsigned number of
// that many bits before the instruction at a slot: all above are zero.
func (c *Constants) ZeroExtended(slot int, register asm.Register, bits int) bool {
	v, ok := c.register(slot, register)
	return ok && v.kind == other && v.number().max() <= lowBits(bits)
}

// SignExtended reports whether a register provably holds a signed number of
// that many bits before the instruction at a slot: all above are the same
// as its sign.
func (c *Constants) SignExtended(slot int, register asm.Register, bits int) bool {
	v, ok := c.register(slot, register)
	return ok && v.kind == other && int(v.spare) >= 64-bits
}

func (c *Constants) register(slot int, register asm.Register) (value, bool) {
	i := c.function.index(slot)
	if i < 0 || register >= insn.NumRegisters {
		return value{}, false
	}
	st := c.solver.at(i)
	if st == nil {
		return value{}, false
	}
	return st.regs[register], true
}

// StackDepth returns how far the function uses the stack below r10, in bytes:
// what is further below is free. False if that can't be said, because an
// address in the stack is computed from values that are not constant, or handed
// to a function that could go further down from there.
//
// Helpers and kfuncs are taken to use what lies above the address that they
// are given. The loader's own use (may_goto, inlined helpers) is not counted.
func (c *Constants) StackDepth() (int, bool) { return int(-c.lowest), c.exact }

// indexed returns from where up an index may lead into the stack: what is below all
// addresses that the function makes are registers that the compiler keeps.
func (c *Constants) indexed() int32 { return c.floor + c.under }

// survey looks at each reached instruction once.
func (c *Constants) survey() {
	c.places, c.among, c.fields, c.exposed = make(map[int]place), make(map[int]place), make(map[int]int32), make(map[int]int32)
	c.addends, c.augends = make(map[int]int64), make(map[int]int64)
	for _, b := range c.function.sequence {
		if c.solver.before[b] == nil {
			continue
		}
		from, to := c.function.span(b)
		for i := from; i < to; i++ {
			if ins := &c.function.insns[i]; !ins.IsSecondHalf() {
				st := c.solver.at(i)
				c.noteAddresses(st)
				c.note(i, ins, st)
			}
		}
	}
}

// noteAddresses notes the lowest address in the stack that the function makes, besides those
// of single loads and stores.
func (c *Constants) noteAddresses(st *state[value]) {
	for r := range insn.Frame {
		if at, ok := st.regs[r].stackOffset(); ok {
			c.floor = min(c.floor, at)
		}
	}
}

func (c *Constants) note(i int, ins *instruction, st *state[value]) {
	switch {
	case ins.Reads() || ins.Writes():
		c.noteAccess(i, ins, st)
	case ins.IsCall():
		c.noteCall(i, ins, st)
	case ins.IsALU():
		c.noteSum(i, ins, st)
	}
}

func (c *Constants) noteAccess(i int, ins *instruction, st *state[value]) {
	base := st.regs[ins.Address()]
	if at, ok := base.offsetIn(context); ok {
		c.fields[i] = at + int32(ins.Off)
	}
	at, ok := c.assume.placeIn(c.function.start+i, ins, base)
	switch {
	case ok:
		c.places[i] = at
		c.lowest = min(c.lowest, at.at)
	case base.onStack():
		if among, ok := c.assume.rangeIn(c.function.start+i, ins, base); ok {
			c.among[i], c.exposed[i] = among, among.at
			c.lowest = min(c.lowest, among.at)
			break
		}
		c.exact, c.computed = false, true
		c.exposed[i] = lowest
		c.under = min(c.under, int32(ins.Off))
	case base.kind == other && st.escaped && ins.Writes():
		c.exposed[i] = lowest
	}
}

func (c *Constants) noteCall(i int, ins *instruction, st *state[value]) {
	expose := func(from int32) {
		if known, ok := c.exposed[i]; !ok || from < known {
			c.exposed[i] = from
		}
	}
	if st.escaped {
		expose(lowest)
		c.exact = c.exact && ins.onlyGoesUp()
	}
	for _, r := range ins.Arguments().List() {
		v := st.regs[r]
		at, ok := v.stackOffset()
		switch {
		case ok && ins.onlyGoesUp():
			expose(at)
		case v.onStack():
			expose(lowest)
			c.exact = false
		}
	}
}

func (c *Constants) noteSum(i int, ins *instruction, st *state[value]) {
	d := c.solver.domain.(*constantDomain)
	a, b := d.operands(i, ins, st)
	if n, ok := b.constant(); ok && !b.guided && ins.Code() == insn.OpADD {
		c.addends[i] = int64(n)
	} else if ok && !b.guided && ins.Code() == insn.OpSUB {
		c.addends[i] = -int64(n)
	}
	if n, ok := a.constant(); ok && !a.guided && ins.Code() == insn.OpADD {
		c.augends[i] = int64(n)
	}
	result := ins.alu(a, b, d.bigEndian())
	if at, ok := result.stackOffset(); ok {
		c.lowest = min(c.lowest, at)
	} else if result.onStack() {
		c.exact, c.computed = false, true
	}
}

// leads returns where a block can lead.
func (c *Constants) leads(b int) edges {
	if leads := c.branches[b].leads; leads != 0 {
		return leads
	}
	return bothEdges
}

// constantDomain tracks constants.
type constantDomain struct {
	f      *Function
	assume *Assumptions
	leaks  memory

	branches []branch               // by block; zero unless values decide there
	mixed    map[int]insn.Registers // by block; see mix
	postdoms []int
	live     *Liveness
	looked   int // blocks, by mix
	again    func(block int)
}

var _ domain[value] = (*constantDomain)(nil)

func (d *constantDomain) join(a, b value) value { return a.or(b) }
func (d *constantDomain) coarse(v value) value  { return v.coarse() }

func (d *constantDomain) step(s *state[value], i int) {
	ins := &d.f.insns[i]
	switch {
	case ins.Op == insn.LDDW:
		s.regs[ins.Dst] = d.immediate(i, ins)
	case ins.IsALU():
		a, b := d.operands(i, ins, s)
		s.regs[ins.Dst] = ins.alu(a, b, d.bigEndian())
	case ins.IsCall():
		d.call(s, i, ins)
	case ins.Reads():
		s.regs[ins.Dst] = d.load(s, i, ins)
	case ins.Writes():
		d.store(s, i, ins)
	case ins.Class() == insn.ClassLD:
		d.loadPacket(s, ins)
	}
}

// loadPacket loads from the packet as LD_ABS and LD_IND do, which are calls.
func (d *constantDomain) loadPacket(s *state[value], ins *instruction) {
	guided := d.assume.remember&packetMemory != 0 || ins.Mode() == insn.ModeIND && s.regs[ins.Src].guided
	s.fill(insn.Clobbered, value{})
	s.regs[0] = scalar(below(ins.Width()), guided)
}

// immediate returns what an instruction's own constant will be.
func (d *constantDomain) immediate(i int, ins *instruction) value {
	slot := d.f.start + i
	if known, ok := d.assume.Known[slot]; ok {
		if ins.Op != insn.LDDW {
			known = int64(int32(known))
		}
		return scalar(constant(uint64(known)), true)
	}
	if d.assume.Undecided.Has(slot) {
		return unknown(true)
	}
	if d.assume.Linked.Has(slot) || ins.Op == insn.LDDW && ins.Src != 0 {
		return unknown(false)
	}
	return scalar(constant(uint64(ins.Imm)), false)
}

// operand returns what an ALU instruction or a comparison works on besides dst.
func (d *constantDomain) operand(i int, ins *instruction, s *state[value]) value {
	if ins.FromReg() && !(ins.IsALU() && ins.Code() == insn.OpEND) {
		return s.regs[ins.Src]
	}
	return d.immediate(i, ins)
}

// operands returns what an ALU instruction works on.
func (d *constantDomain) operands(i int, ins *instruction, s *state[value]) (a, b value) {
	if sum, ok := d.assume.OwnSums[d.f.start+i]; ok {
		return sum.operands(s.regs[ins.Dst], s.regs[ins.Src])
	}
	return s.regs[ins.Dst], d.operand(i, ins, s)
}

func (d *constantDomain) bigEndian() bool { return d.f.order == binary.BigEndian }

// load returns what a load puts into its register.
func (d *constantDomain) load(s *state[value], i int, ins *instruction) value {
	v := d.loaded(s, i, ins)
	if d.assume.Relocated.Has(d.f.start+i) && v.kind == other {
		return unknown(v.guided)
	}
	if ins.Class() != insn.ClassLDX || ins.Mode() != insn.ModeMEMSX || ins.Width() == 8 {
		return v
	}
	width := ins.Width() * 8
	return scalar(hidden(v).number().signExtend(width), v.guided).fitting(64 - width)
}

func (d *constantDomain) loaded(s *state[value], i int, ins *instruction) value {
	base := s.regs[ins.Src]
	switch base.kind {
	case context:
		// The loader makes 64-bit addresses of some 32-bit fields.
		return value{kind: packet}
	case packet:
		return scalar(below(ins.Width()), d.assume.remember&packetMemory != 0)
	}
	if at, ok := d.assume.placeIn(d.f.start+i, ins, base); ok {
		return d.reload(s, at)
	}
	if base.onStack() || s.escaped {
		return unknown(base.guided || d.remembers() || anyGuided(s))
	}
	return scalar(below(ins.Width()), base.guided || d.remembers())
}

// remembers reports whether memory that isn't tracked may hold guided values.
func (d *constantDomain) remembers() bool { return d.assume.remember&otherMemory != 0 }

func anyGuided(s *state[value]) bool {
	return slices.ContainsFunc(s.stack, func(c cell[value]) bool { return c.value.guided })
}

func (d *constantDomain) reload(s *state[value], at place) value {
	found := s.overlapping(at)
	if len(found) == 1 && found[0].covers(at) {
		whole := found[0]
		if whole.place == at && at.size == 8 {
			return whole.value
		}
		from := at.at - whole.at
		if d.bigEndian() {
			from = whole.end() - at.end()
		}
		return whole.value.part(int(from), int(at.size))
	}
	guided := d.remembers()
	for _, c := range found {
		guided = guided || c.value.guided
	}
	if at.size == 8 {
		return unknown(guided)
	}
	return scalar(below(int(at.size)), guided)
}

func (d *constantDomain) store(s *state[value], i int, ins *instruction) {
	base, v := s.regs[ins.Dst], d.immediate(i, ins)
	if ins.Class() == insn.ClassSTX {
		v = s.regs[ins.Src]
	}
	if ins.Mode() == insn.ModeATOMIC && ins.Imm != insn.AtomicStoreRelease {
		v = d.exchange(s, ins, base, v)
	}
	switch base.kind {
	case packet, context:
		d.leak(packetMemory, v)
	case other:
		d.leak(otherMemory, v)
		if s.escaped {
			d.forgetFrom(s, lowest, v.guided)
		}
	default:
		d.storeOnStack(s, i, ins, base, v)
	}
	if v.onStack() && base.kind != stack {
		s.escaped = true
	}
}

// exchange returns what an atomic operation stores, and fetches what was there.
func (d *constantDomain) exchange(s *state[value], ins *instruction, base, v value) value {
	if v.onStack() {
		s.escaped = true
	}
	guided := v.guided || base.guided || d.assume.remember != 0 || s.regs[0].guided || anyGuided(s)
	if register, ok := ins.Fetches(); ok {
		s.regs[register] = scalar(below(ins.Width()), guided)
	}
	return unknown(guided)
}

func (d *constantDomain) storeOnStack(s *state[value], i int, ins *instruction, base, v value) {
	at, ok := d.assume.placeIn(d.f.start+i, ins, base)
	if !ok {
		from := int32(lowest)
		if among, ok := d.assume.rangeIn(d.f.start+i, ins, base); ok {
			from = among.at
		}
		d.leak(otherMemory, v)
		d.forget(s, v)
		d.forgetFrom(s, from, v.guided)
		return
	}
	if at.size < 8 {
		d.forget(s, v)
		v = v.part(0, int(at.size))
	}
	s.store(at, v, func(c value) value { return d.forget(s, c) })
}

// MaxStack is how many bytes of stack a function has below r10, and how many all
// functions have together that are active at a time: MAX_BPF_STACK of
// include/linux/filter.h.
const MaxStack = 512

// lowest is below everything in the stack.
const lowest = math.MinInt32

// forget returns what is left of a value that may have changed. An address in
// the stack that is forgotten may still be there, and come back unrecognised.
func (d *constantDomain) forget(s *state[value], v value) value {
	if v.onStack() {
		s.escaped = true
	}
	return unknown(v.guided || d.remembers())
}

// forgetFrom forgets what is in the stack from r10+at up.
func (d *constantDomain) forgetFrom(s *state[value], at int32, guided bool) {
	s.change(at, func(v value) value {
		v = d.forget(s, v)
		v.guided = v.guided || guided
		return v
	})
}

// leak notes that a value is where other code can read it.
func (d *constantDomain) leak(to memory, v value) {
	if v.guided {
		d.leaks |= to
	}
}

// call lets a called function read its arguments, change the parts of the stack
// that it has an address in, and return anything.
func (d *constantDomain) call(s *state[value], i int, ins *instruction) {
	guided := d.remembers() || d.callsGuided(i, ins)
	for _, r := range ins.Arguments().List() {
		v := s.regs[r]
		d.leak(otherMemory, v)
		guided = guided || v.guided && v.isScalar()
	}
	if s.escaped {
		d.lend(s, lowest, &guided)
	}
	for _, r := range ins.Arguments().List() {
		if v := s.regs[r]; v.onStack() {
			at, ok := v.stackOffset()
			if !ok || !ins.onlyGoesUp() {
				at, s.escaped = lowest, true
			}
			d.lend(s, at, &guided)
		}
	}
	if guided && ins.WritesPacket() {
		d.leaks |= packetMemory
	}
	s.fill(insn.Clobbered, value{})
	s.regs[0] = unknown(guided)
}

// callsGuided reports whether a call may run functions of the program that
// depend on the layout.
func (d *constantDomain) callsGuided(i int, ins *instruction) bool {
	switch {
	case ins.onlyGoesUp():
		return false
	case d.assume.guided != nil:
		return d.assume.guided(i)
	}
	d.leaks |= packetMemory | otherMemory
	return true
}

// lend gives a called function the stack from r10+at up: it may read it, and
// write to it.
func (d *constantDomain) lend(s *state[value], at int32, guided *bool) {
	for _, c := range s.stack {
		if c.end() > at {
			d.leak(otherMemory, c.value)
			*guided = *guided || c.value.guided
		}
	}
	d.forgetFrom(s, at, *guided)
}

// onlyGoesUp tells the kernel's own functions, which use what is above the
// addresses that they are given, from calls of the program's functions.
func (ins *instruction) onlyGoesUp() bool {
	switch {
	case ins.FromReg() || ins.Src == insn.PseudoCall:
		return false
	case ins.Src == 0:
		_, callsBack := callbacks[ins.Imm]
		return !callsBack
	}
	return true
}

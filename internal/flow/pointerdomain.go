package flow

import (
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// pointerDomain tracks what pointers point at in one function.
//
// What a function does to others, and what is noted of it, comes when its own states
// don't change any more: what holds of a part of the paths need not hold of all, as
// NULL plus an offset is a number.
type pointerDomain struct {
	*Pointers
	fn      *pointerFunction
	effects bool // let other functions know
	notes   bool // note what recorded numbers are used for
}

var _ domain[pointer] = (*pointerDomain)(nil)

func (d *pointerDomain) coarse(v pointer) pointer             { return d.sets.coarse(v) }
func (d *pointerDomain) enter(*state[pointer], int)           {}
func (d *pointerDomain) leave(_ *state[pointer], b int) edges { return d.fn.constants.leads(b) }

// made returns the set of what an instruction makes an address of. Of most regions it does
// not matter which instruction that was.
func (d *pointerDomain) made(region Region, i int) pointer {
	made := Pointee{Region: region}
	if region == Area || region == Driver || region == Map || made.isNumber() {
		made.Subprogram, made.Slot = d.fn.sub, d.fn.sub.start+i
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
	ins := &d.fn.sub.insns[i]
	switch {
	case ins.Op == insn.LDDW:
		s.regs[ins.Dst] = d.address(i, ins)
	case ins.IsALU():
		s.regs[ins.Dst] = d.alu(s, i, ins)
	case ins.IsCall():
		d.call(s, i, ins)
	case ins.Reads():
		d.used(s.regs[ins.Src])
		s.regs[ins.Dst] = d.load(s, i, ins)
		if region, ok := d.fn.sub.Loads[d.fn.sub.start+i]; ok {
			s.regs[ins.Dst] = d.made(region, i)
		}
	case ins.Writes():
		d.used(s.regs[ins.Dst])
		d.store(s, i, ins)
	case ins.Class() == insn.ClassLD:
		s.fill(insn.Clobbered, 0)
	}
	if ins.Exits() {
		d.returns(s.regs[0])
	}
}

// returns tells the callers what the function returns.
func (d *pointerDomain) returns(v pointer) {
	if !d.effects || d.isPending(v) {
		return
	}
	v = d.sets.where(v, func(p *Pointee) bool { return p.Region != Stack || p.Subprogram != d.fn.sub })
	if all := d.sets.union(d.fn.result, v); all != d.fn.result || !d.fn.returned {
		d.fn.result, d.fn.returned = all, true
		d.queueAll(d.fn.callers)
	}
}

// isPending reports whether a value depends on what nobody knows yet.
func (d *pointerDomain) isPending(v pointer) bool {
	return slices.ContainsFunc(d.sets.list(v), func(p Pointee) bool { return p.Region == pending })
}

// address returns what LDDW loads.
func (d *pointerDomain) address(i int, ins *instruction) pointer {
	slot := d.fn.sub.start + i
	if v := d.recorded(i); v != 0 {
		return v
	}
	if callee := d.fn.sub.Calls[slot]; callee != nil {
		return d.sets.of(Pointee{Region: Code, Subprogram: callee})
	}
	if region, ok := d.fn.sub.Addresses[slot]; ok {
		return d.made(region, i)
	}
	if ins.Src != 0 {
		return d.made(Unknown, i)
	}
	return 0
}

// recorded returns the number that a recorded instruction holds.
func (d *pointerDomain) recorded(i int) pointer {
	slot := d.fn.sub.start + i
	switch {
	case d.fn.sub.Offsets[slot]:
		nested := d.fn.sub.Nested[slot]
		return d.sets.of(Pointee{Region: recordedOffset, Subprogram: d.fn.sub, Slot: slot, OfRoot: !nested, OfNested: nested})
	case d.fn.sub.Sizes[slot]:
		return d.made(recordedSize, i)
	case d.fn.sub.OtherSizes[slot]:
		return d.made(otherSize, i)
	}
	return 0
}

func (d *pointerDomain) alu(s *state[pointer], i int, ins *instruction) pointer {
	a, b := s.regs[ins.Dst], d.recorded(i)
	if ins.FromReg() && ins.Code() != insn.OpEND && ins.Code() != insn.OpNEG {
		b = s.regs[ins.Src]
	}
	if sum, own := d.fn.constants.assume.OwnSums[d.fn.sub.start+i]; own {
		if sum.InDst {
			a = b
		}
		return d.sets.each(a, func(p Pointee) Pointee { return p.moved(sum.Offset) })
	}
	switch code := ins.Code(); {
	case code == insn.OpMOV:
		return d.move(i, ins, b)
	case d.isPending(a) || d.isPending(b):
		return d.sets.of(Pointee{Region: pending})
	case code == insn.OpADD:
		return d.add(i, ins, d.settled(a), d.settled(b))
	case code == insn.OpSUB:
		return d.subtract(i, ins, d.settled(a), d.settled(b))
	case (code == insn.OpLSH || code == insn.OpRSH || code == insn.OpARSH) && !ins.FromReg() && ins.Imm == 32 && !ins.Is32():
		return d.shifted(a, code == insn.OpLSH)
	}
	return d.sets.union(d.parts(a), d.parts(b))
}

// shifted returns the recorded numbers in a set after a shift by half a register, which
// is one of two that extend a number, or takes a part of it.
func (d *pointerDomain) shifted(v pointer, up bool) pointer {
	extends := func(p *Pointee) bool { return p.isNumber() && p.High != up }
	extended := d.sets.each(d.sets.where(v, extends), func(p Pointee) Pointee { p.High = up; return p })
	return d.sets.union(extended, d.parts(d.sets.where(v, func(p *Pointee) bool { return !extends(p) })))
}

// settled returns a set to which something is added: what is in the upper half of the
// register only then becomes something else.
func (d *pointerDomain) settled(v pointer) pointer {
	isHigh := func(p *Pointee) bool { return p.High }
	return d.sets.union(d.sets.where(v, func(p *Pointee) bool { return !isHigh(p) }), d.parts(d.sets.where(v, isHigh)))
}

// parts returns what is computed from the recorded offsets in a set.
func (d *pointerDomain) parts(v pointer) pointer {
	offsets := d.sets.where(v, func(p *Pointee) bool { return p.Region == recordedOffset })
	return d.sets.each(offsets, func(p Pointee) Pointee {
		p.Offset, p.Indexed, p.High, p.Part = 0, true, false, true
		return p
	})
}

func (d *pointerDomain) move(i int, ins *instruction, v pointer) pointer {
	switch {
	case ins.FromReg() && ins.Off == 1: // addr_space_cast
		return d.made(Heap, i)
	case ins.Off != 0 && ins.Off != 32:
		return d.parts(v)
	case ins.Is32() || ins.Off != 0: // an offset is small and not negative: that does not change it
		return d.numbers(d.settled(v))
	}
	return v
}

// numbers returns the recorded numbers in a set, and what is computed from them.
func (d *pointerDomain) numbers(v pointer) pointer {
	return d.sets.where(v, func(p *Pointee) bool { return p.isNumber() && !p.High })
}

func (d *pointerDomain) add(i int, ins *instruction, a, b pointer) pointer {
	by, constant := d.fn.constants.addends[i]
	if !d.isAddress(a) && (d.isAddress(b) || a == 0) {
		a, b = b, a
		by, constant = d.fn.constants.augends[i]
	}
	switch {
	case a == 0 || d.isAddress(a) && (d.isAddress(b) || ins.Is32()):
		return 0
	case constant && b == 0:
		return d.sets.each(a, func(p Pointee) Pointee { return p.moved(by) })
	case d.isAddress(a):
		if d.notes && d.numbers(b) != 0 {
			d.fn.sums[i] = true
		}
		return d.sum(a, b)
	}
	// Either may be an address, or the index of what is to be added to one.
	all := d.sets.each(d.sets.union(d.with(a, b), d.with(b, a)), Pointee.indexed)
	return d.sets.union(all, d.sets.union(d.fields(d.unknown(a), b), d.fields(d.unknown(b), a)))
}

// with returns the recorded offsets in a set, as parts of sums with those in another,
// and what else is in the set.
func (d *pointerDomain) with(v, others pointer) pointer {
	var also Pointee
	for _, other := range d.sets.list(d.numbers(others)) {
		also.OfRoot, also.OfNested = also.OfRoot || other.OfRoot, also.OfNested || other.OfNested
	}
	return d.sets.each(v, func(p Pointee) Pointee {
		if p.Region == recordedOffset {
			p.OfRoot, p.OfNested = p.OfRoot || also.OfRoot, p.OfNested || also.OfNested
		}
		return p
	})
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
		d.noteAdded(recorded[n].Subprogram, recorded[n].Slot, d.sets.each(bases, func(p Pointee) Pointee {
			p.Part = p.Part || recorded[n].Part
			return p
		}))
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

// plus returns the sum of an address and a recorded number. In memory of the program's
// own the offset is the one that the instruction holds.
func (p Pointee) plus(number *Pointee) Pointee {
	local, known := number.held()
	switch {
	case number.Region == recordedSize:
	case p.Region.IsOwn() && known && !number.Indexed:
		return p.moved(local + number.Offset)
	case p.Region.IsOwn() || number.Region == otherSize:
		return p.indexed()
	default:
		return p.addField(number)
	}
	p.Past, p.Offset, p.Indexed = true, number.Offset, number.Indexed
	return p
}

// held returns the number that the recorded instruction holds, if it is one alone.
func (p *Pointee) held() (int64, bool) {
	if p.Slot == anySlot {
		return 0, false
	}
	ins := &p.Subprogram.insns[p.Subprogram.index(p.Slot)]
	return ins.Imm, ins.Op != insn.LDDW
}

// noteAdded notes what the recorded number at a slot is added to.
func (d *pointerDomain) noteAdded(sub *Subprogram, slot int, v pointer) {
	if fn := d.functions[sub]; fn != nil && d.notes {
		fn.added[slot] = d.sets.union(fn.added[slot], v)
	}
}

// used notes the recorded offsets in what is used as an address that were added to
// nothing of which it is known that it is one.
func (d *pointerDomain) used(address pointer) {
	if !d.notes {
		return
	}
	for _, p := range d.sets.list(address) {
		switch {
		case p.Region == recordedOffset:
			d.noteAdded(p.Subprogram, p.Slot, d.sets.of(Pointee{Region: Unknown}))
		case p.Region == Unknown && p.Field.Subprogram != nil:
			d.noteAdded(p.Field.Subprogram, p.Field.Slot, d.sets.of(Pointee{Region: Unknown}))
		}
	}
}

func (d *pointerDomain) subtract(i int, ins *instruction, a, b pointer) pointer {
	by, constant := d.fn.constants.addends[i]
	switch {
	case a == 0 || d.isAddress(b) || d.isAddress(a) && ins.Is32():
		return 0
	case constant && b == 0:
		return d.sets.each(a, func(p Pointee) Pointee { return p.moved(by) })
	}
	return d.sets.each(a, Pointee.indexed)
}

func (d *pointerDomain) load(s *state[pointer], i int, ins *instruction) pointer {
	if at, ok := d.fn.constants.places[i]; ok {
		if at.size < 8 || ins.Mode() == insn.ModeATOMIC {
			return 0
		}
		if _, stored := s.find(at); stored {
			return s.exactly(at)
		}
		return d.sets.union(d.within(s, at), d.sets.union(d.anywhere(at), d.fn.leftAnywhere))
	}
	if d.isPending(s.regs[ins.Src]) {
		return d.sets.of(Pointee{Region: pending})
	}
	var v pointer
	for _, p := range d.sets.list(s.regs[ins.Src]) {
		v = d.sets.union(v, d.loaded(s, i, ins, &p))
	}
	return v
}

// anywhere returns what the function may have stored at a place of its own stack at a
// distance that is not constant.
func (d *pointerDomain) anywhere(at place) pointer {
	if at.end() > d.fn.constants.indexed() {
		return d.fn.anywhere
	}
	return d.sets.where(d.fn.anywhere, (*Pointee).isKnown)
}

// loaded returns what is at an address.
func (d *pointerDomain) loaded(s *state[pointer], i int, ins *instruction, p *Pointee) pointer {
	at, whole := p.Offset+int64(ins.Off), ins.Width() == 8
	switch {
	case p.Region == Ctx:
		return d.fromCtx(p, at, i)
	case p.Region == Area || p.Region == Driver || p.Region == Packet || p.isNumber() || !whole:
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
	if ctx.Subprogram != nil {
		context = ctx.Subprogram.Context
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
	if p.Subprogram == d.fn.sub {
		for _, c := range s.stack {
			v = d.sets.union(v, c.value)
		}
	}
	owner := d.functions[p.Subprogram]
	owner.readers[d.fn.sub] = true
	v = d.sets.union(v, d.sets.union(owner.anywhere, owner.leftAnywhere))
	seen := []map[int64]pointer{owner.left}
	for _, called := range slices.SortedFunc(maps.Keys(owner.lent), func(a, b *Subprogram) int { return d.sets.subs[a] - d.sets.subs[b] }) {
		if p.Subprogram == d.fn.sub || d.during(called, d.fn.sub) {
			seen = append(seen, owner.lent[called])
		}
	}
	for _, cells := range seen {
		if !p.Indexed && p.Field.Subprogram == nil {
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
	if ins.Class() == insn.ClassSTX && ins.Mode() == insn.ModeMEM && ins.Width() == 8 {
		v = s.regs[ins.Src]
	}
	if register, ok := ins.Fetches(); ok {
		s.regs[register] = 0
	}
	if at, ok := d.fn.constants.places[i]; ok {
		s.store(at, v, func(pointer) pointer { return 0 })
		return
	}
	if v == 0 {
		return
	}
	if among, ok := d.fn.constants.among[i]; ok {
		last := int64(among.end()) - 8
		for at := int64(among.at); at < last+8; at += 8 {
			d.addAt(s, min(at, last), v)
		}
		return
	}
	for _, p := range d.sets.list(s.regs[ins.Dst]) {
		if p.Region == Stack {
			d.storeBeyond(s, &p, p.Offset+int64(ins.Off), v)
		}
	}
}

// storeBeyond stores an address in the stack where that is not plain from the function
// alone.
func (d *pointerDomain) storeBeyond(s *state[pointer], p *Pointee, at int64, v pointer) {
	isOwn, isThere := p.Subprogram == d.fn.sub, !p.Indexed && p.Field.Subprogram == nil
	switch {
	case isOwn && isThere:
		d.addAt(s, at, v)
		return
	case isOwn:
		d.storeAnywhere(s, d.sets.where(v, (*Pointee).isKnown))
		s.change(d.fn.constants.indexed(), func(old pointer) pointer { return d.sets.union(old, v) })
	}
	if !d.effects || d.isPending(v) {
		return
	}
	owner, isNew := d.functions[p.Subprogram], false
	switch {
	case isOwn:
		isNew = d.grow(owner, &owner.anywhere, v)
	case !isThere:
		// Eight bytes of whatever memory are rarely an address, and would make
		// every address in that stack doubtful.
		isNew = d.grow(owner, &owner.leftAnywhere, d.sets.where(v, (*Pointee).isKnown))
	default:
		isNew = d.put(owner, owner.left, at, v)
	}
	if isNew {
		d.queue(p.Subprogram)
		d.queueAll(owner.readers)
	}
}

// addAt adds to what may be at a place in the function's own stack.
func (d *pointerDomain) addAt(s *state[pointer], at int64, v pointer) {
	if at < -MaxStack || at >= 0 {
		return // which the kernel refuses
	}
	cell := place{int32(at), 8}
	s.store(cell, d.sets.union(v, d.within(s, cell)), func(old pointer) pointer { return old })
}

// within returns what may be in the cells of the stack that a place has a part of.
func (d *pointerDomain) within(s *state[pointer], at place) (v pointer) {
	for _, c := range s.overlapping(at) {
		v = d.sets.union(v, c.value)
	}
	return v
}

// grow adds to what may be somewhere in a function's stack, or an argument of it, and reports
// whether that is new.
func (d *pointerDomain) grow(owner *pointerFunction, to *pointer, v pointer) bool {
	all := d.sets.union(*to, v)
	if *to != 0 && all != *to {
		owner.grown++
	}
	if owner.grown > grownOften { // what is loaded or given there may come there again, moved on
		all = d.sets.coarse(all)
	}
	isNew := all != *to
	*to = all
	return isNew
}

// grownOften is how often more is found in a function until values in it are made coarse.
const grownOften = 32

// storeAnywhere adds to what may be anywhere in the function's own stack.
func (d *pointerDomain) storeAnywhere(s *state[pointer], v pointer) {
	if v != 0 {
		s.change(lowest, func(old pointer) pointer { return d.sets.union(old, v) })
	}
}

// put adds to what may be in a cell of a function's stack, and reports whether that is new.
func (d *pointerDomain) put(owner *pointerFunction, cells map[int64]pointer, at int64, v pointer) bool {
	all := cells[at]
	if !d.grow(owner, &all, v) {
		return false
	}
	cells[at] = all
	return true
}

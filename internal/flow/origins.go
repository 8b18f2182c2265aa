package flow

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Origin is a recorded offset that is part of an address.
type Origin struct {
	// Slot is the instruction that puts the offset into a register.
	Slot int

	// Delta is what constants add to it on the way, those in the load or store
	// itself included.
	Delta int64
}

// Dereference is a load or store whose address comes from recorded offsets.
type Dereference struct {
	Slot int

	// Origins are those that the address has, each on some path, by slot.
	Origins []Origin

	// Mixed says that on some path the address has no recorded origin.
	Mixed bool

	// Indexed says that something that is not constant is added as well, apart
	// from the one pointer that the offset is added to, as in md->words[i]. In a
	// loop that may be a constant each time around, which Delta then lacks.
	Indexed bool
}

// Escape is a use of a recorded offset, or of an address made with it, that is
// not the address of a load or store.
type Escape struct {
	Slot   int // of the use
	Origin int // the slot of the recorded offset
	Use    Use

	// Address says that it is an address, or may have become one: that the
	// offset was added to something. Otherwise it is the number alone.
	Address bool
}

// Use says what is done with an address.
type Use uint8

const (
	Passed   Use = iota // to a called function
	Stored              // to memory other than a slot in the stack
	Compared            // by a conditional jump
	Returned
	Computed // in a way that is not followed
)

func (u Use) String() string {
	return [...]string{"passed to a function", "stored", "compared", "returned", "computed with"}[u]
}

// Origins says where recorded offsets end up.
type Origins struct {
	Dereferences []Dereference // by slot
	Escapes      []Escape      // by slot, then origin

	domain *originDomain
	solver *solver[offset]
}

// Origins follows recorded offsets through registers and the stack to the loads
// and stores whose address they are part of. Recorded are the slots of the
// instructions that put an offset in a register or add it to one: MOV, LDDW and
// ADD of an immediate.
func (c *Constants) Origins(recorded []int) *Origins {
	d := newOriginDomain(c, recorded)
	o := &Origins{domain: d, solver: newSolver(c.function, d)}
	o.solver.run(new(state[offset]))
	d.found = o
	for b, before := range o.solver.before {
		if before != nil {
			o.solver.through(b)
		}
	}
	d.found = nil
	slices.SortFunc(o.Dereferences, func(a, b Dereference) int { return a.Slot - b.Slot })
	slices.SortStableFunc(o.Escapes, func(a, b Escape) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Origin, b.Origin))
	})
	o.Escapes = slices.Compact(o.Escapes)
	return o
}

// offset is what is known of a register that may hold a recorded offset, or an
// address made with one. The zero value is another one.
type offset struct {
	set   int32 // of origins; see originDomain
	more  uint8 // how many values were added that aren't constant; see terms
	mixed bool  // on some path there is no recorded offset in it
	high  bool  // shifted into the upper half, on its way to being zero-extended
}

func (v offset) recorded() bool { return v.set != 0 }

// terms returns how many values that aren't constant were added up: 0 in an
// offset alone, 1 in its sum with a pointer.
func (v offset) terms() uint8 {
	if v.recorded() {
		return v.more
	}
	return v.more + 1
}

// originDomain tracks recorded offsets. Sets of origins are numbered, so that
// each is kept once; set 0 is empty.
type originDomain struct {
	constants *Constants
	recorded  map[int]bool
	sets      [][]Origin
	numbers   map[string]int32
	unions    map[[2]int32]int32
	all       int32 // the set of all origins, once one was too large
	shifts    map[shift]int32

	found *Origins // where to note accesses and escapes, once all is known
}

var _ domain[offset] = (*originDomain)(nil)

type shift struct {
	set   int32
	delta int64
}

func newOriginDomain(c *Constants, recorded []int) *originDomain {
	d := &originDomain{
		constants: c,
		recorded:  make(map[int]bool, len(recorded)),
		sets:      [][]Origin{nil},
		numbers:   map[string]int32{"": 0},
		unions:    make(map[[2]int32]int32),
		shifts:    make(map[shift]int32),
	}
	for _, slot := range recorded {
		d.recorded[slot] = true
	}
	return d
}

func (d *originDomain) join(a, b offset) offset {
	joined := offset{set: d.union(a.set, b.set), mixed: a.mixed || b.mixed, more: max(a.more, b.more)}
	if !joined.recorded() {
		return joined
	}
	joined.more = max(a.terms(), b.terms())
	if joined.set == d.all {
		joined.more = 2
	}
	joined.high = a.high && b.high
	if a.recorded() != b.recorded() || a.high != b.high || a.terms() != b.terms() {
		joined.mixed = true
	}
	return joined
}

// coarse gives up the distance where there are several from one origin: what is
// added each time around a loop counts as an index.
func (d *originDomain) coarse(v offset) offset {
	var origins []Origin
	for _, origin := range d.sets[v.set] {
		if len(origins) == 0 || origins[len(origins)-1].Slot != origin.Slot {
			origins = append(origins, Origin{Slot: origin.Slot})
		}
	}
	if len(origins) < len(d.sets[v.set]) {
		v.set, v.more = d.number(origins), 2
	}
	return v
}

func (d *originDomain) enter(*state[offset], int)           {}
func (d *originDomain) leave(s *state[offset], b int) edges { return d.constants.leads(b) }

func (d *originDomain) step(s *state[offset], i int) {
	ins := &d.constants.function.insns[i]
	switch {
	case ins.Op == insn.LDDW:
		s.regs[ins.Dst] = d.immediate(i)
	case ins.IsALU():
		s.regs[ins.Dst] = d.alu(s, i, ins)
	case ins.IsCall():
		d.call(s, i, ins)
	case ins.Reads():
		d.access(i, ins, s.regs[ins.Src])
		s.regs[ins.Dst] = d.load(s, i)
	case ins.Writes():
		d.access(i, ins, s.regs[ins.Dst])
		d.store(s, i, ins)
	case ins.Compares():
		d.escape(i, Compared, s.regs[ins.Dst])
		if ins.FromReg() {
			d.escape(i, Compared, s.regs[ins.Src])
		}
	case ins.IsGotox():
		d.escape(i, Computed, s.regs[ins.Dst])
	case ins.Exits():
		d.escape(i, Returned, s.regs[0])
	case ins.Class() == insn.ClassLD:
		if ins.Mode() == insn.ModeIND {
			d.escape(i, Computed, s.regs[ins.Src])
		}
		s.fill(insn.Clobbered, offset{})
	}
}

// immediate returns what a constant in an instruction is.
func (d *originDomain) immediate(i int) offset {
	slot := d.constants.function.start + i
	if d.recorded[slot] {
		return offset{set: d.number([]Origin{{Slot: slot}})}
	}
	return offset{}
}

func (d *originDomain) alu(s *state[offset], i int, ins *instruction) offset {
	a, b := s.regs[ins.Dst], d.immediate(i)
	if ins.FromReg() {
		b = s.regs[ins.Src]
	}
	if _, own := d.constants.assume.OwnSums[d.constants.function.start+i]; own {
		return offset{}
	}
	if ins.Code() == insn.OpMOV {
		a = offset{}
	}
	if ins.Code() == insn.OpEND || ins.Code() == insn.OpNEG {
		b = offset{}
	}
	if !a.recorded() && !b.recorded() {
		return d.sum(i, ins, a, b)
	}
	if result, ok := d.follow(i, ins, a, b); ok {
		return result
	}
	d.escape(i, Computed, a)
	d.escape(i, Computed, b)
	return offset{}
}

// sum counts the terms of an unrecorded sum.
func (d *originDomain) sum(i int, ins *instruction, a, b offset) offset {
	_, constant := d.constants.addends[i]
	_, alone := d.constants.augends[i]
	switch {
	case ins.Code() == insn.OpMOV && ins.FromReg() && ins.Off == 0:
		return b
	case ins.Code() != insn.OpADD && ins.Code() != insn.OpSUB || alone:
		return offset{}
	case constant:
		return a
	}
	return offset{more: 1}
}

// follow computes what becomes of recorded offsets, as far as it is understood.
func (d *originDomain) follow(i int, ins *instruction, a, b offset) (offset, bool) {
	alone := a.recorded() && a.more == 0 && d.small(a)
	switch ins.Code() {
	case insn.OpMOV:
		// An offset is small and not negative: no extension changes it.
		extends := ins.Is32() || ins.Off == 32
		return b, !b.high && (ins.Off == 0 || ins.Off == 32) && (!extends || b.more == 0 && d.small(b))
	case insn.OpLSH, insn.OpRSH, insn.OpARSH:
		up := ins.Code() == insn.OpLSH
		whole := alone && a.high != up && !ins.Is32() && !ins.FromReg() && ins.Imm == 32
		a.high = up
		return a, whole
	case insn.OpADD, insn.OpSUB:
		return d.add(i, ins, a, b)
	}
	return offset{}, false
}

// small reports whether an offset is still a small number that isn't negative,
// with what was added to it.
func (d *originDomain) small(v offset) bool {
	return !slices.ContainsFunc(d.sets[v.set], func(o Origin) bool { return o.Delta < 0 || o.Delta >= 1<<30 })
}

// add adds a recorded offset, or an address made with one, to something else.
func (d *originDomain) add(i int, ins *instruction, a, b offset) (offset, bool) {
	by, constant := d.constants.addends[i]
	if !a.recorded() && ins.Code() == insn.OpADD {
		a, b = b, a
		by, constant = d.constants.augends[i]
	}
	switch {
	case a.high || !a.recorded() || b.recorded() || ins.Is32() && a.more > 0:
		return offset{}, false
	case constant:
		a.set = d.moved(a.set, by)
		return a, !ins.Is32() || d.small(a)
	case ins.Is32() || ins.Code() == insn.OpSUB:
		return offset{}, false
	}
	a.more = min(2, a.more+b.terms())
	return a, true
}

func (d *originDomain) load(s *state[offset], i int) offset {
	if _, ok := d.constants.exposed[i]; ok { // somewhere in the stack
		for _, c := range s.stack {
			d.escape(i, Computed, c.value)
		}
	}
	at, ok := d.constants.places[i]
	if !ok {
		return offset{}
	}
	v := s.exactly(at)
	if v.recorded() {
		return v
	}
	for _, c := range s.overlapping(at) {
		d.escape(i, Computed, c.value)
	}
	return v
}

func (d *originDomain) store(s *state[offset], i int, ins *instruction) {
	var v offset
	if ins.Class() == insn.ClassSTX {
		v = s.regs[ins.Src]
	}
	if register, ok := ins.Fetches(); ok {
		s.regs[register] = offset{}
	}
	if from, ok := d.constants.exposed[i]; ok {
		d.expose(s, i, from)
	}
	at, ok := d.constants.places[i]
	plain := ok && ins.Mode() == insn.ModeMEM
	if !plain || at.size < 8 && v.more > 0 || v.high {
		d.escape(i, Stored, v)
		v = offset{}
	}
	if !ok {
		return
	}
	lose := func(v offset) offset {
		d.escape(i, Computed, v)
		return offset{}
	}
	if ins.Mode() == insn.ModeATOMIC {
		for _, c := range s.overlapping(at) {
			lose(c.value)
		}
	}
	s.store(at, v, lose)
}

func (d *originDomain) call(s *state[offset], i int, ins *instruction) {
	for _, r := range ins.Arguments().List() {
		d.escape(i, Passed, s.regs[r])
	}
	if from, ok := d.constants.exposed[i]; ok {
		d.expose(s, i, from)
	}
	s.fill(insn.Clobbered, offset{})
}

// expose lets other code have what is in the stack. An offset alone is there for the
// compiler, most likely: it is still there afterwards, for all that is known.
func (d *originDomain) expose(s *state[offset], i int, from int32) {
	s.change(from, func(v offset) offset {
		d.escape(i, Passed, v)
		if !v.recorded() || v.more > 0 {
			return offset{}
		}
		v.mixed = true
		return v
	})
}

// access returns what the address of a load or store is made of, and notes it.
func (d *originDomain) access(i int, ins *instruction, address offset) Dereference {
	access := Dereference{
		Slot:    d.constants.function.start + i,
		Mixed:   address.mixed || address.more == 0,
		Indexed: address.more > 1,
	}
	for _, origin := range d.sets[address.set] {
		origin.Delta += int64(ins.Off)
		access.Origins = append(access.Origins, origin)
	}
	if d.found != nil && address.recorded() {
		if address.high {
			d.escape(i, Computed, address)
		}
		d.found.Dereferences = append(d.found.Dereferences, access)
	}
	return access
}

func (d *originDomain) escape(i int, use Use, v offset) {
	if d.found == nil {
		return
	}
	last := -1
	for _, origin := range d.sets[v.set] {
		if origin.Slot != last {
			d.found.Escapes = append(d.found.Escapes, Escape{d.constants.function.start + i, origin.Slot, use, v.more > 0 || use == Computed})
		}
		last = origin.Slot
	}
}

// number returns the number of a sorted set.
func (d *originDomain) number(set []Origin) int32 {
	key := make([]byte, 0, 16*len(set))
	for _, origin := range set {
		key = binary.LittleEndian.AppendUint64(key, uint64(origin.Slot))
		key = binary.LittleEndian.AppendUint64(key, uint64(origin.Delta))
	}
	number, ok := d.numbers[string(key)]
	if !ok {
		number = int32(len(d.sets))
		d.numbers[string(key)] = number
		d.sets = append(d.sets, set)
	}
	return number
}

func (d *originDomain) union(a, b int32) int32 {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	}
	key := [2]int32{min(a, b), max(a, b)}
	number, ok := d.unions[key]
	if !ok {
		both := slices.Concat(d.sets[a], d.sets[b])
		slices.SortFunc(both, compareOrigins)
		if both = slices.Compact(both); len(both) > maxOrigins || a == d.all && d.all > 0 || b == d.all && d.all > 0 {
			number = d.anyOrigin()
		} else {
			number = d.number(both)
		}
		d.unions[key] = number
	}
	return number
}

// maxOrigins is how many origins a value can have. What may have more may have
// all: each set is kept, with all that were on the way to it.
const maxOrigins = 64

// anyOrigin returns the set of all origins, at a distance that is not known. It
// has a number of its own: an ordinary set may have the same origins, and what is
// added to their distances counts.
func (d *originDomain) anyOrigin() int32 {
	if d.all == 0 {
		var all []Origin
		for _, slot := range slices.Sorted(maps.Keys(d.recorded)) {
			all = append(all, Origin{Slot: slot})
		}
		d.all = int32(len(d.sets))
		d.sets = append(d.sets, all)
	}
	return d.all
}

func compareOrigins(a, b Origin) int {
	return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Delta, b.Delta))
}

func (d *originDomain) moved(set int32, by int64) int32 {
	if set == 0 || by == 0 || set == d.all {
		return set
	}
	key := shift{set, by}
	number, ok := d.shifts[key]
	if !ok {
		moved := slices.Clone(d.sets[set])
		for n := range moved {
			moved[n].Delta += by
		}
		number = d.number(moved)
		d.shifts[key] = number
	}
	return number
}

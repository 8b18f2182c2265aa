package flow

import "github.com/xdp-load/xdp-load/internal/insn"

// Context says where a program's ctx has the bounds of the metadata area and of
// the packet, in bytes.
type Context struct{ Data, DataEnd, DataMeta int32 }

// The types of program that have a metadata area.
var (
	XDP = Context{Data: 0, DataEnd: 4, DataMeta: 8}     // struct xdp_md
	TC  = Context{Data: 76, DataEnd: 80, DataMeta: 140} // struct __sk_buff
)

// Guard is a conditional jump that compares data_meta plus some bytes with
// data. On one side of it the metadata area is known to have these bytes.
type Guard struct {
	Slot int

	// Bytes is the constant that is baked in. If Recorded is not -1 what the
	// instruction at that slot holds, a recorded size, comes on top.
	Bytes    int64
	Recorded int

	// Passes is the index of the block that is entered if the bytes are there.
	Passes int
}

// Guards are a function's guards.
type Guards struct {
	List []Guard // by slot

	function *Function
	nearest  []int   // by block, the closest one at or above it that guards pass to
	passing  [][]int // by block, the guards that must be passed to enter it
	doms     []int
}

// Guards finds the comparisons of data_meta with data.
func (c *Constants) Guards(context Context) *Guards {
	d := &guardDomain{constants: c, context: context}
	s := newSolver(c.function, d)
	s.run(new(state[bound]))
	g := &Guards{function: c.function}
	for b := range c.function.blocks {
		if s.before[b] == nil {
			continue
		}
		st, _ := s.through(b)
		if guard, ok := d.guard(st, b); ok {
			g.List = append(g.List, guard)
		}
	}
	g.arrange()
	return g
}

// Before returns the guards that every path to the instruction at a slot has
// passed, the closest first.
func (g *Guards) Before(slot int) []Guard {
	var before []Guard
	b := g.function.BlockAt(slot)
	if b < 0 || g.doms[b] < 0 {
		return nil
	}
	for b = g.nearest[b]; b >= 0; b = g.nearest[g.doms[b]] {
		for _, n := range g.passing[b] {
			before = append(before, g.List[n])
		}
		if b == 0 {
			break
		}
	}
	return before
}

func (g *Guards) arrange() {
	f := g.function
	g.doms = dominators(len(f.blocks), 0,
		func(b int) []int { return f.blocks[b].Succs },
		func(b int) []int { return f.blocks[b].Preds })
	g.passing = make([][]int, len(f.blocks))
	for n, guard := range g.List {
		block := &f.blocks[guard.Passes]
		from := &f.blocks[f.BlockAt(guard.Slot)]
		if len(block.Preds) == 1 && from.Succs[0] != from.Succs[1] && guard.Passes != 0 {
			g.passing[guard.Passes] = append(g.passing[guard.Passes], n)
		}
	}
	g.nearest = make([]int, len(f.blocks))
	for _, b := range f.sequence {
		switch {
		case len(g.passing[b]) > 0:
			g.nearest[b] = b
		case b == 0:
			g.nearest[b] = -1
		default:
			g.nearest[b] = g.nearest[g.doms[b]]
		}
	}
}

// bound is what is known of a register that may hold a bound of the metadata
// area. The zero value is another one.
type bound struct {
	what     what
	recorded int32 // one more than the slot of a recorded size in it, or 0
	bytes    int64
}

type what uint8

const (
	nothing what = iota
	size         // a recorded number
	meta         // data_meta plus recorded and bytes
	data         // data plus bytes
)

// guardDomain tracks the bounds of the metadata area.
type guardDomain struct {
	constants *Constants
	context   Context
}

var _ domain[bound] = (*guardDomain)(nil)

func (d *guardDomain) join(a, b bound) bound {
	if a == b {
		return a
	}
	return bound{}
}

func (d *guardDomain) coarse(v bound) bound               { return v }
func (d *guardDomain) enter(*state[bound], int)           {}
func (d *guardDomain) leave(_ *state[bound], b int) edges { return d.constants.leads(b) }

func (d *guardDomain) step(s *state[bound], i int) {
	ins := &d.constants.function.insns[i]
	switch {
	case ins.Op == insn.LDDW:
		s.regs[ins.Dst] = d.immediate(i)
	case ins.IsALU():
		s.regs[ins.Dst] = d.alu(s, i, ins)
	case ins.IsCall():
		if from, ok := d.constants.exposed[i]; ok {
			s.change(from, func(bound) bound { return bound{} })
		}
		s.fill(insn.Clobbered, bound{})
	case ins.Reads():
		s.regs[ins.Dst] = d.load(s, i)
	case ins.Writes():
		d.store(s, i, ins)
	case ins.Class() == insn.ClassLD:
		s.fill(insn.Clobbered, bound{})
	}
}

func (d *guardDomain) immediate(i int) bound {
	slot := d.constants.function.start + i
	_, known := d.constants.assume.Known[slot]
	if known || d.constants.assume.Undecided.Has(slot) {
		return bound{what: size, recorded: int32(slot) + 1}
	}
	return bound{}
}

func (d *guardDomain) alu(s *state[bound], i int, ins *instruction) bound {
	a, b := s.regs[ins.Dst], d.immediate(i)
	if ins.FromReg() {
		b = s.regs[ins.Src]
	}
	switch ins.Code() {
	case insn.OpMOV:
		if ins.Off != 0 || ins.Is32() && b.what != size {
			return bound{}
		}
		return b
	case insn.OpADD, insn.OpSUB:
		return d.add(i, ins, a, b)
	}
	return bound{}
}

func (d *guardDomain) add(i int, ins *instruction, a, b bound) bound {
	by, constant := d.constants.addends[i]
	if a.what < b.what && ins.Code() == insn.OpADD {
		a, b = b, a
		if b.what == nothing {
			by, constant = d.constants.augends[i]
		}
	}
	switch {
	case a.what == nothing || ins.Is32() && a.what != size:
		return bound{}
	case constant && b.what == nothing:
		a.bytes += by
		return a
	case ins.Code() == insn.OpADD && b.what == size && a.what == meta && a.recorded == 0:
		a.recorded, a.bytes = b.recorded, a.bytes+b.bytes
		return a
	}
	return bound{}
}

func (d *guardDomain) load(s *state[bound], i int) bound {
	if at, ok := d.constants.places[i]; ok {
		return s.exactly(at)
	}
	at, ok := d.constants.fields[i]
	switch {
	case ok && at == d.context.DataMeta:
		return bound{what: meta}
	case ok && at == d.context.Data:
		return bound{what: data}
	}
	return bound{}
}

func (d *guardDomain) store(s *state[bound], i int, ins *instruction) {
	var v bound
	if ins.Class() == insn.ClassSTX && ins.Mode() == insn.ModeMEM {
		v = s.regs[ins.Src]
	}
	if register, ok := ins.Fetches(); ok {
		s.regs[register] = bound{}
	}
	if from, ok := d.constants.exposed[i]; ok {
		s.change(from, func(bound) bound { return bound{} })
	}
	if at, ok := d.constants.places[i]; ok {
		if at.size < 8 && v.what != size {
			v = bound{}
		}
		s.store(at, v, func(bound) bound { return bound{} })
	}
}

// guard returns the guard that a block ends in.
func (d *guardDomain) guard(s *state[bound], b int) (Guard, bool) {
	f := d.constants.function
	ins := f.last(b)
	if !ins.Compares() || ins.Is32() || !ins.FromReg() {
		return Guard{}, false
	}
	left, right, code := s.regs[ins.Dst], s.regs[ins.Src], ins.Code()
	if left.what == data {
		left, right, code = right, left, mirrored[code]
	}
	edge, ok := passes[code]
	if !ok || left.what != meta || right.what != data {
		return Guard{}, false
	}
	return Guard{
		Slot:     f.start + f.lastIndex(b),
		Bytes:    left.bytes - right.bytes,
		Recorded: int(left.recorded) - 1,
		Passes:   f.blocks[b].Succs[edge],
	}, true
}

// mirrored exchanges the sides of a comparison.
var mirrored = map[uint8]uint8{insn.OpJGT: insn.OpJLT, insn.OpJGE: insn.OpJLE, insn.OpJLT: insn.OpJGT, insn.OpJLE: insn.OpJGE}

// passes says for each comparison of data_meta plus some bytes with data where
// the bytes are there: 0 is the way it falls through, 1 that of the jump.
var passes = map[uint8]int{insn.OpJGT: 0, insn.OpJGE: 0, insn.OpJLT: 1, insn.OpJLE: 1}

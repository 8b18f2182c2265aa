package flow

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Fold is what becomes of a function once constants are known that were open when it was
// compiled.
type Fold struct {
	// Removed are the slots of the instructions that go, in their order: what can't be
	// reached any more, what computes something for that only, and jumps that lead to
	// what comes next then; and two shifts that would cut a bound of the packet.
	Removed []int

	// Jumps are the conditional jumps that are always taken now, with where they lead.
	Jumps map[int]int

	// Widened are the moves of 32 bits from one register to another that move 64 now, as
	// what they move is a bound of the packet.
	Widened []int
}

// Fold finds out what becomes of the function, given its constants with an instruction
// open, and with it known. Nothing else is made better: what was decided before, what
// could not be reached before, and what was computed for nothing stays.
//
// arguments is that of Liveness, and ctx where the packet's bounds are in the function's
// ctx, if it has one. Fold returns nil where nothing is decided, and for a function with
// gotox, whose tables refer to the code.
func (f *Function) Fold(open, known *Constants, arguments int, ctx *Context) *Fold {
	if len(f.table) > 0 {
		return nil
	}
	d := &folding{f: f, before: f.Liveness(arguments), decided: make(map[int]edges), gone: make([]bool, len(f.insns))}
	for b := range f.blocks {
		now, was := known.branches[b].leads, open.branches[b].leads
		if was == bothEdges && (now == jumpEdge || now == fallthroughEdge) && f.isConditional(b) {
			d.decided[b] = now
		}
	}
	if len(d.decided) == 0 {
		return nil
	}
	d.removeBlocks()
	d.removeRepeated(open, known)
	for d.removeUnread(arguments) || d.removeJumps() {
	}
	if ctx != nil {
		d.keepBounds(known, ctx)
	}
	return d.result()
}

// isConditional reports whether a block ends with a jump that a comparison decides. Of
// may_goto only the kernel knows when it is taken.
func (f *Function) isConditional(b int) bool {
	last := f.last(b)
	return last.Compares() && last.Code() != insn.OpJCOND && len(f.blocks[b].Succs) == 2 && f.blocks[b].Succs[0] != f.blocks[b].Succs[1]
}

// folding is a function on its way.
type folding struct {
	f       *Function
	before  *Liveness
	decided map[int]edges // by block, where only one way is left
	gone    []bool        // by slot
	widened []int         // slots
}

func (d *folding) leads(b int) edges {
	if leads, ok := d.decided[b]; ok {
		return leads
	}
	return bothEdges
}

// removeBlocks takes out what only the ways led to that are not taken.
func (d *folding) removeBlocks() {
	reached := make([]bool, len(d.f.blocks))
	reached[0] = true
	for work := []int{0}; len(work) > 0; {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		for n, succ := range d.f.blocks[b].Succs {
			if d.leads(b).has(n) && !reached[succ] {
				reached[succ] = true
				work = append(work, succ)
			}
		}
	}
	for b, entered := range d.f.entered {
		if !entered || reached[b] {
			continue
		}
		from, to := d.f.span(b)
		for i := from; i < to; i++ {
			d.gone[i] = true
		}
	}
}

// removeRepeated takes out what puts a constant into a register that holds it now, as
// the ways are gone on which it held something else.
func (d *folding) removeRepeated(open, known *Constants) {
	for i := range d.f.insns {
		ins := &d.f.insns[i]
		if d.gone[i] || !ins.isConstant() {
			continue
		}
		slot, dst := d.f.start+i, asm.Register(ins.Dst)
		put, ok := known.put(i)
		holds, isConstant := known.Value(slot, dst)
		_, held := open.Value(slot, dst)
		if ok && isConstant && !held && holds == put {
			d.remove(i)
		}
	}
}

// isConstant reports whether an instruction puts a constant into a register.
func (ins *instruction) isConstant() bool {
	return ins.Op == insn.LDDW && ins.Src == 0 || ins.IsALU() && ins.Code() == insn.OpMOV && !ins.FromReg()
}

// put returns the constant that an instruction puts into its register, if it is no
// recorded or linked one.
func (c *Constants) put(i int) (int64, bool) {
	slot, ins := c.function.start+i, &c.function.insns[i]
	_, known := c.assume.Known[slot]
	if known || c.assume.Undecided.Has(slot) || c.assume.Linked.Has(slot) {
		return 0, false
	}
	if ins.Is32() {
		return int64(uint32(ins.Imm)), true
	}
	return ins.Imm, true
}

// removeUnread takes out what computes values that were read before, and are read no
// more. It reports whether there are any.
func (d *folding) removeUnread(arguments int) bool {
	after := d.f.livenessOf(arguments, d.leads, d.isIdle)
	found := false
	for i := range d.f.insns {
		if d.computes(i) && after.out[i]&d.f.insns[i].Defs == 0 {
			d.remove(i)
			found = true
		}
	}
	return found
}

// remove takes out an instruction, with both its slots.
func (d *folding) remove(i int) {
	for n := range d.f.insns[i].Slots() {
		d.gone[i+n] = true
	}
}

// computes reports whether an instruction does nothing but put something into a register
// that was read.
func (d *folding) computes(i int) bool {
	ins := &d.f.insns[i]
	isPure := ins.IsALU() || ins.Op == insn.LDDW || ins.Class() == insn.ClassLDX
	return isPure && !ins.IsSecondHalf() && !d.gone[i] && d.before.out[i]&ins.Defs != 0
}

// isIdle reports whether what an instruction reads does not count: it goes, or nobody
// reads what it computes.
func (d *folding) isIdle(i int, live insn.Registers) bool {
	if d.gone[i] || d.computes(i) && live&d.f.insns[i].Defs == 0 {
		return true
	}
	_, decided := d.decided[d.f.BlockAt(d.f.start+i)]
	return decided && d.f.insns[i].Compares()
}

// removeJumps takes out jumps to what comes next, with nothing left in between. It
// reports whether there are any.
func (d *folding) removeJumps() bool {
	found := false
	for b := range d.f.blocks {
		i := d.f.lastIndex(b)
		if d.gone[i] || !d.f.last(b).Jumps() || d.f.last(b).Code() == insn.OpJCOND {
			continue
		}
		succs := d.f.blocks[b].Succs
		target := succs[len(succs)-1]
		if d.decided[b] == fallthroughEdge || target > b+1 && d.isGone(i+1, d.f.blocks[target].Start-d.f.start) {
			d.gone[i], found = true, true
		}
	}
	return found
}

// isGone reports whether all instructions of a stretch go.
func (d *folding) isGone(from, to int) bool { return !slices.Contains(d.gone[from:to], false) }

func (d *folding) result() *Fold {
	fold := &Fold{Jumps: make(map[int]int), Widened: d.widened}
	for i, gone := range d.gone {
		if gone && !d.f.insns[i].IsSecondHalf() {
			fold.Removed = append(fold.Removed, d.f.start+i)
		}
	}
	for b, leads := range d.decided {
		if i := d.f.lastIndex(b); leads == jumpEdge && !d.gone[i] {
			fold.Jumps[d.f.start+i] = d.f.blocks[d.f.blocks[b].Succs[1]].Start
		}
	}
	return fold
}

package flow

import "github.com/xdp-load/xdp-load/internal/insn"

// Narrowings are instructions that cut a bound of the packet, as a function has loaded it
// from ctx, to 32 bits. Nothing is above these, but to the verifier the bound is an address
// before and a number after that.
type Narrowings struct {
	Moves  []int // slots of moves of 32 bits from one register to another
	Shifts []int // of the first of two shifts by 32, there and back
}

// Narrowings returns those of a function with a ctx.
func (c *Constants) Narrowings(ctx Context) Narrowings {
	b := &bounds{constants: c, ctx: ctx, before: make([]insn.Registers, len(c.function.blocks))}
	b.find()
	var found Narrowings
	b.noted = &found
	for _, block := range c.function.sequence {
		b.through(block)
	}
	return found
}

// bounds is which registers hold bounds of the packet, whichever way they are come to.
type bounds struct {
	constants *Constants
	ctx       Context
	before    []insn.Registers // by block
	noted     *Narrowings      // nil until the others are known
}

func (b *bounds) find() {
	f := b.constants.function
	seen := make([]bool, len(f.blocks))
	work := newWorklist(f.sequence, len(f.blocks))
	seen[0] = true
	work.push(0)
	for block, ok := work.pop(); ok; block, ok = work.pop() {
		held := b.through(block)
		for _, succ := range f.blocks[block].Succs {
			joined := held
			if seen[succ] {
				joined &= b.before[succ]
			}
			if !seen[succ] || joined != b.before[succ] {
				b.before[succ], seen[succ] = joined, true
				work.push(succ)
			}
		}
	}
}

// through returns what holds at the end of a block.
func (b *bounds) through(block int) insn.Registers {
	f, held := b.constants.function, b.before[block]
	from, to := f.span(block)
	for i := from; i < to; i++ {
		ins := &f.insns[i]
		isHeld := held&(1<<ins.Src) != 0
		switch {
		case ins.IsALU() && ins.Code() == insn.OpMOV && ins.FromReg() && ins.Off == 0 && isHeld:
			if b.noted != nil && ins.Is32() {
				b.noted.Moves = append(b.noted.Moves, f.start+i)
			}
			held |= 1 << ins.Dst
		case i+1 < to && isShift(ins, insn.OpLSH) && isShift(&f.insns[i+1], insn.OpRSH) && ins.Dst == f.insns[i+1].Dst && held&(1<<ins.Dst) != 0:
			if b.noted != nil {
				b.noted.Shifts = append(b.noted.Shifts, f.start+i)
			}
			i++
		case b.isBound(i):
			held |= 1 << ins.Dst
		default:
			held &^= ins.Defs
		}
	}
	return held
}

// isBound reports whether an instruction loads a bound.
func (b *bounds) isBound(i int) bool {
	ins := &b.constants.function.insns[i]
	at, fromCtx := b.constants.fields[i]
	return fromCtx && ins.Reads() && ins.Width() == 4 && (at == b.ctx.Data || at == b.ctx.DataEnd || at == b.ctx.DataMeta)
}

// isShift reports whether an instruction shifts by half a register.
func isShift(ins *instruction, code uint8) bool {
	return ins.Class() == insn.ClassALU64 && ins.Code() == code && !ins.FromReg() && ins.Imm == 32
}

package flow

import (
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Copies says which registers hold what one of a function's arguments was.
type Copies struct {
	function *Function
	before   []insn.Registers // by block
}

// CopiesOf finds the copies of the argument that a register brings. Those on the stack
// are not followed.
func (f *Function) CopiesOf(register uint8) *Copies {
	c := &Copies{f, slices.Repeat([]insn.Registers{insn.Accessible}, len(f.blocks))}
	c.before[0] = 1 << register
	f.forward(c.before, anyWay, func(b int, held insn.Registers) insn.Registers { return c.upTo(f.blocks[b].End-f.start, b, held) }, both)
	return c
}

// At returns the registers that hold the argument before the instruction at a slot,
// whichever way it is reached: none where it is not.
func (c *Copies) At(slot int) insn.Registers {
	b := c.function.BlockAt(slot)
	if b < 0 || !c.function.entered[b] {
		return 0
	}
	return c.upTo(slot-c.function.start, b, c.before[b])
}

// upTo returns the copies in front of an instruction of a block, given those at its start.
func (c *Copies) upTo(end, b int, held insn.Registers) insn.Registers {
	from, _ := c.function.span(b)
	for i := from; i < end; i++ {
		held = c.function.insns[i].copies(held)
	}
	return held
}

// copies returns the registers that hold a value after an instruction, given those that do
// before.
func (ins *instruction) copies(held insn.Registers) insn.Registers {
	isCopy := ins.Class() == insn.ClassALU64 && ins.isMove() && held&(1<<ins.Src) != 0
	held &^= ins.Defs
	if isCopy {
		held |= 1 << ins.Dst
	}
	return held
}

// isMove reports whether an instruction copies a register, or the lower half of it.
func (ins *instruction) isMove() bool {
	return ins.IsALU() && ins.Code() == insn.OpMOV && ins.FromReg() && ins.Off == 0
}

package flow

import "github.com/xdp-load/xdp-load/internal/insn"

// Copies says which registers hold what one of a function's arguments was.
type Copies struct {
	function *Function
	before   []insn.Registers // by block
}

// CopiesOf finds the copies of the argument that a register brings. Those on the stack
// are not followed.
func (f *Function) CopiesOf(register uint8) *Copies {
	c := &Copies{function: f, before: make([]insn.Registers, len(f.blocks))}
	seen := make([]bool, len(f.blocks))
	work := newWorklist(f.sequence, len(f.blocks))
	c.before[0], seen[0] = 1<<register, true
	work.push(0)
	for b, ok := work.pop(); ok; b, ok = work.pop() {
		_, end := f.span(b)
		after := c.upTo(b, end)
		for _, succ := range f.blocks[b].Succs {
			joined := after
			if seen[succ] {
				joined &= c.before[succ]
			}
			if !seen[succ] || joined != c.before[succ] {
				c.before[succ], seen[succ] = joined, true
				work.push(succ)
			}
		}
	}
	return c
}

// At returns the registers that hold the argument before the instruction at a slot,
// whichever way it is reached.
func (c *Copies) At(slot int) insn.Registers {
	i := c.function.index(slot)
	if i < 0 {
		return 0
	}
	return c.upTo(int(c.function.blockOf[i]), i)
}

// upTo returns the copies in front of an instruction of a block, or at its end.
func (c *Copies) upTo(b, end int) insn.Registers {
	copies := c.before[b]
	from, _ := c.function.span(b)
	for i := from; i < end; i++ {
		ins := &c.function.insns[i]
		isCopy := ins.Class() == insn.ClassALU64 && ins.Code() == insn.OpMOV && ins.FromReg() && ins.Off == 0 && copies&(1<<ins.Src) != 0
		copies &^= ins.Defs
		if isCopy {
			copies |= 1 << ins.Dst
		}
	}
	return copies
}

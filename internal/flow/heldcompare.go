package flow

import "github.com/xdp-load/xdp-load/internal/insn"

// comparison is what a conditional jump compares.
type comparison struct {
	ins         *instruction
	left, right holding // right only of a register
	number      number  // right, as far as it is known

	isOfDescriptor bool // and then all else is unset but these:
	descriptor     holding
	jumpsIfNull    bool
}

// judgeComparison returns what is compared at the end of a block; nil where that tells
// nothing.
func (w *way) judgeComparison(i int, h *held, ins *instruction) *comparison {
	if !ins.Compares() {
		return nil
	}
	c := &comparison{ins: ins, left: h.regs[ins.Dst], number: w.immediate(i, ins)}
	if ins.FromReg() {
		c.right = h.regs[ins.Src]
		c.number = h.numberOf(c.right)
	}
	if !h.isDescriptor(c.left) && !h.isDescriptor(c.right) {
		if c.left.value == 0 && !c.left.isField {
			h.share(ins.Dst)
			c.left = h.regs[ins.Dst]
		}
		return c
	}
	if !c.testsDescriptor(h) {
		w.misuse(i, Unlike)
		return nil
	}
	return c
}

// testsDescriptor reports whether a descriptor is compared with NULL.
func (c *comparison) testsDescriptor(h *held) bool {
	code := c.ins.Code()
	c.descriptor = c.left
	if !h.isDescriptor(c.left) {
		c.descriptor, c.number = c.right, h.numberOf(c.left)
		if code != insn.OpJEQ && code != insn.OpJNE {
			return false
		}
	} else if h.isDescriptor(c.right) {
		return false
	}
	isZero, isOne := c.number == constant(0), c.number == constant(1)
	switch {
	case c.ins.Is32(), c.descriptor.isField && !h.of(c.descriptor).nonzero():
		return false
	case isZero && (code == insn.OpJEQ || code == insn.OpJLE), isOne && code == insn.OpJLT:
		c.jumpsIfNull = true
	case isZero && (code == insn.OpJNE || code == insn.OpJGT), isOne && code == insn.OpJGE:
	default:
		return false
	}
	c.isOfDescriptor = true
	return true
}

// assume notes what is known on one way from the jump, and reports whether it is ever taken.
func (c *comparison) assume(h *held, jumps bool) bool {
	if !c.isOfDescriptor {
		return c.assumeNumber(h, jumps)
	}
	f := h.of(c.descriptor)
	if jumps != c.jumpsIfNull {
		f.isNonzero = true
		return true
	}
	if f.nonzero() {
		return false
	}
	*f = fact{number: constant(0)}
	return true
}

func (c *comparison) assumeNumber(h *held, jumps bool) bool {
	leads, edge := c.ins.decide(scalar(h.numberOf(c.left), false), scalar(c.number, false)), fallthroughEdge
	if jumps {
		edge = jumpEdge
	}
	code, equal := c.ins.Code(), jumps
	if code == insn.OpJNE {
		equal = !jumps
	}
	switch f := h.of(c.left); {
	case leads&edge == 0:
		return false
	case code != insn.OpJEQ && code != insn.OpJNE, c.left.isField, !c.number.isConstant():
	default:
		return f.assumeEqual(c.number.value, equal, c.ins.Is32())
	}
	return true
}

// assumeEqual notes that a number, or its lower half, is or is not a constant, and reports
// whether that can be.
func (f *fact) assumeEqual(to uint64, equal, is32 bool) bool {
	if is32 {
		to = uint64(uint32(to))
	}
	switch {
	case !equal && to == 0 && is32:
		f.isLowNonzero = true
	case !equal && to == 0:
		f.isNonzero = true
	case !equal:
	case to == 0 && (f.isLowNonzero || f.isNonzero && !is32):
		return false
	case is32:
		f.number = number{f.number.value&^lowBits(32) | to, f.number.mask &^ lowBits(32)}
	default:
		f.number = constant(to)
	}
	return true
}

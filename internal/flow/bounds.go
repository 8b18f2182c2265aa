package flow

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// keepBounds leaves the packet's bounds whole in what is left of a function with a ctx.
// Where both sides of a question read a bound, clang makes one number of what they have,
// of 32 bits. Nothing is above these, but to the verifier the bound is an address before
// and a number after that.
func (d *folding) keepBounds(known *Constants, ctx *Context) {
	b := &bounds{folding: d, constants: known, ctx: ctx}
	before := slices.Repeat([]insn.Registers{insn.Accessible}, len(d.f.blocks))
	before[0] = 0
	d.f.forward(before, d.leads, b.through, both)
	b.isKnown = true
	for _, block := range d.f.sequence {
		b.through(block, before[block])
	}
}

// bounds is which registers hold bounds of the packet.
type bounds struct {
	*folding
	constants *Constants
	ctx       *Context
	isKnown   bool // at the start of each block
}

// through returns what holds a bound at the end of a block. Once it is known what does at
// the start of each, nothing is cut in between.
func (b *bounds) through(block int, held insn.Registers) insn.Registers {
	from, to := b.f.span(block)
	for i := from; i < to; i++ {
		ins := &b.f.insns[i]
		switch cut := b.cuts(i, to, held); {
		case b.gone[i]:
		case cut > 0:
			if b.isKnown {
				b.widen(i, cut)
			}
			i += cut - 1
			held |= 1 << ins.Dst
		case b.loads(i):
			held |= 1 << ins.Dst
		default:
			held = ins.copies(held)
		}
	}
	return held
}

// cuts returns how many instructions from one on cut a bound to 32 bits: a move, or two
// shifts, there and back.
func (b *bounds) cuts(i, to int, held insn.Registers) int {
	ins := &b.f.insns[i]
	switch {
	case ins.isMove() && ins.Is32() && held.Has(asm.Register(ins.Src)):
		return 1
	case i+1 < to && ins.shiftsHalf(insn.OpLSH) && b.f.insns[i+1].shiftsHalf(insn.OpRSH) && ins.Dst == b.f.insns[i+1].Dst && held.Has(asm.Register(ins.Dst)):
		return 2
	}
	return 0
}

// widen makes a 64-bit move of one that cuts a bound, and nothing of two shifts.
func (b *bounds) widen(i, cut int) {
	if cut == 1 {
		b.widened = append(b.widened, b.f.start+i)
		return
	}
	b.remove(i)
	b.remove(i + 1)
}

// loads reports whether an instruction loads a bound from ctx.
func (b *bounds) loads(i int) bool {
	ins := &b.f.insns[i]
	at, fromCtx := b.constants.fields[i]
	return fromCtx && ins.Reads() && ins.Width() == 4 && (at == b.ctx.Data || at == b.ctx.DataEnd || at == b.ctx.DataMeta)
}

// shiftsHalf reports whether an instruction shifts a register by half of it.
func (ins *instruction) shiftsHalf(code uint8) bool {
	return ins.Class() == insn.ClassALU64 && ins.Code() == code && !ins.FromReg() && ins.Imm == 32
}

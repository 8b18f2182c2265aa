package rewrite

import (
	"cmp"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// What the passes that make edits shorter ask of the code around an access.

// nextAfter returns the next instruction after one, in the same block, that reads
// or writes a register.
func (p *planner) nextAfter(access *reloc.Access, slot int, reg asm.Register) (at int, next asm.Instruction, ok bool) {
	return p.nearest(access, slot, reg, 1)
}

// lastBefore returns the last instruction before one, in the same block, that
// reads or writes a register.
func (p *planner) lastBefore(access *reloc.Access, slot int, reg asm.Register) (at int, last asm.Instruction, ok bool) {
	return p.nearest(access, slot, reg, -1)
}

// nearest returns the nearest instruction in a direction, 1 or -1, in the same
// block, that reads or writes a register.
func (p *planner) nearest(access *reloc.Access, slot int, reg asm.Register, direction int) (at int, nearest asm.Instruction, ok bool) {
	fn := p.function(access)
	if fn.Err != nil {
		return 0, nearest, false
	}
	block := fn.Flow.Blocks()[fn.Flow.BlockAt(slot)]
	for at := slot + direction; block.Start <= at && at < block.End; at += direction {
		if ins := fn.section.Read(at); ins.IsSecondHalf() {
			continue
		}
		if fn.mentions(at, reg) {
			nearest, err := fn.section.Instruction(at)
			return at, nearest, err == nil
		}
	}
	return 0, nearest, false
}

// putFor returns the constant that an instruction finds in a register, and the
// patch that takes out what has put it there, if nothing else needs it.
func (p *planner) putFor(access *reloc.Access, slot int, reg asm.Register) (value int64, removed Patch, ok bool) {
	at, put, ok := p.lastBefore(access, slot, reg)
	isPut := put.OpCode.IsDWordLoad() || put.OpCode.Class().IsALU() && put.OpCode.ALUOp() == asm.Mov
	if !ok || !isPut || !isImmediate(put) || !p.untouched(access, at) {
		return 0, removed, false
	}
	live, err := p.function(access).liveness()
	if err != nil || !live.Dies(slot).Has(reg) {
		return 0, removed, false
	}
	value, known := p.registersAt(access, slot).Constant(reg)
	return value, removal(at, put), known
}

// withOperand adds to what is removed the instruction that puts the operand of
// the last one into a register, if nothing else needs it.
func (p *planner) withOperand(removed []Patch, access *reloc.Access, slot int, ins asm.Instruction) []Patch {
	if ins.OpCode.Source() != asm.RegSource || ins.Src == ins.Dst {
		return removed
	}
	_, put, ok := p.putFor(access, slot, ins.Src)
	if !ok {
		return removed
	}
	return slices.SortedFunc(slices.Values(append(slices.Clone(removed), put)), func(a, b Patch) int { return cmp.Compare(a.Insn, b.Insn) })
}

// untouched reports whether an instruction is nobody's: neither a loader changes
// it, nor an edit.
func (p *planner) untouched(access *reloc.Access, slot int) bool {
	s := p.section(access.Section)
	return s.patched[slot] == 0 && !s.recorded.Has(slot) && !s.Linked().Has(slot)
}

// operand returns what an ALU instruction works on, if that is constant.
func (p *planner) operand(access *reloc.Access, slot int, ins asm.Instruction) (int64, bool) {
	if ins.OpCode.Source() == asm.ImmSource {
		return ins.Constant, true
	}
	return p.registersAt(access, slot).Constant(ins.Src)
}

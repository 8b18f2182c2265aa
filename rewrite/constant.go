package rewrite

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// storeConstantAlone makes an edit store a constant without the register that the
// program puts it into, if that takes fewer instructions. Where the program can
// store the register, it does, as clang would make it.
func (p *planner) storeConstantAlone(edit *Edit, ins asm.Instruction) {
	value, removed, ok := p.putFor(&edit.Access, edit.Access.Insn, ins.Src)
	asShort := len(edit.After) == 1 && edit.After[0].OpCode.Class() == asm.StXClass && removed.Before.Slots() == 1
	if !ok || asShort || ins.Dst == ins.Src {
		return
	}
	local, target, err := p.images(question{&edit.Access, &edit.Resolution}, ins, int64(ins.Offset), edit.Access.Insn)
	if err != nil || local.IsPart() {
		return
	}
	s := p.sequence(&edit.Access, &edit.Resolution)
	constant := asm.Instruction{OpCode: asm.StoreImmOp(ins.OpCode.Size()), Dst: ins.Dst, Offset: ins.Offset, Constant: value}
	note, err := s.StoreConstant(constant, local, target, p.registersAt(&edit.Access, edit.Access.Insn))
	if err == nil && Instructions(s.Items).Slots() < edit.After.Slots()+removed.Before.Slots() {
		edit.After, edit.Note, edit.Others = s.Items, note, append(edit.Others, removed)
	}
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
	return value, Patch{Insn: at, Before: instructions(put), After: nil}, known
}

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
		if fn.section.Mentions(at, reg) {
			nearest, err := fn.section.Instruction(at)
			return at, nearest, err == nil
		}
	}
	return 0, nearest, false
}

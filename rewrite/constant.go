package rewrite

import (
	"github.com/cilium/ebpf/asm"
)

// storeConstantAlone makes an edit store a constant without the register that the
// program puts it into, if that takes fewer instructions. Where the program can
// store the register, it does, as clang would make it.
func (p *planner) storeConstantAlone(edit *Edit, ins asm.Instruction) {
	value, removed, ok := p.putFor(edit.Access, edit.Access.Insn, ins.Src)
	asShort := len(edit.After) == 1 && edit.After[0].OpCode.Class() == asm.StXClass && removed.Before.Slots() == 1
	if !ok || asShort || ins.Dst == ins.Src {
		return
	}
	local, target, err := p.images(resolvedAccess{edit.Access, edit.Resolution}, ins, int64(ins.Offset), edit.Access.Insn)
	if err != nil || local.IsPart() {
		return
	}
	s := p.sequence(edit.Access, edit.Resolution)
	constant := asm.Instruction{OpCode: asm.StoreImmOp(ins.OpCode.Size()), Dst: ins.Dst, Offset: ins.Offset, Constant: value}
	note, err := s.StoreConstant(constant, local, target, p.registersAt(edit.Access, edit.Access.Insn))
	if err == nil && Instructions(s.Items).Slots() < edit.After.Slots()+removed.Before.Slots() {
		edit.After, edit.Note, edit.Others = s.Items, note, append(edit.Others, removed)
	}
}

package rewrite

import (
	"cmp"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// foldOffset puts the offset of a bit-field into the loads and stores that it is
// for, and takes out the two instructions that add it to the pointer: a MOV and
// an ADD. Clang makes these for bit-fields that fill bytes, as if there were an
// array, and would not for most of what a layout can have instead.
//
// It leaves alone what is not converted: there the MOV is all that changes, as
// with any loader.
func (p *planner) foldOffset(edit *Edit) {
	u, err := p.usesOf(edit.Access)
	if err != nil || !edit.Access.Local.Field.IsBitField() || len(edit.Others) == 0 || !u.isOnly(edit) {
		return
	}
	add, ok := p.addOf(edit, edit.Before[0].Instruction)
	if !ok {
		return
	}
	offset := edit.After[0].Constant
	folded := make([]Patch, 0, len(edit.Others)+1)
	folded = append(folded, add)
	for _, use := range u.dereferences[edit.Access.Insn] {
		patch := u.patches[use.Slot]
		after := rebased(slices.Clone(patch.after), offset)
		if !inReach(after, patch.after, offset) {
			return
		}
		folded = append(folded, Patch{Insn: use.Slot, Before: patch.before, After: after})
		if put, ok := p.constantOf(edit, use.Slot, patch); ok {
			folded = append(folded, put)
		}
	}
	slices.SortFunc(folded, func(a, b Patch) int { return cmp.Compare(a.Insn, b.Insn) })
	edit.After, edit.Others = Instructions{}, folded
}

// constantOf returns the patch that takes out what puts a constant into a
// register for a store that has become one of the constant itself.
func (p *planner) constantOf(edit *Edit, slot int, patch *agreed) (Patch, bool) {
	store := patch.before[0]
	reads := func(item insn.Item) bool { return insn.Mentions(item.Instruction, store.Src) }
	if store.OpCode.Class() != asm.StXClass || slices.ContainsFunc(patch.after, reads) {
		return Patch{}, false
	}
	_, put, ok := p.putFor(edit.Access, slot, store.Src)
	return put, ok
}

// addOf returns the patch that takes out what adds an offset to a pointer, if
// that is all that becomes of the offset's register.
func (p *planner) addOf(edit *Edit, mov asm.Instruction) (Patch, bool) {
	access := edit.Access
	if mov.OpCode.IsDWordLoad() || mov.OpCode.ALUOp() != asm.Mov {
		return Patch{}, false
	}
	at, add, ok := p.nextAfter(access, access.Insn, mov.Dst)
	isAdd := ok && add.OpCode.Class() == asm.ALU64Class && add.OpCode.ALUOp() == asm.Add && add.OpCode.Source() == asm.RegSource
	if !isAdd || add.Src != mov.Dst || add.Dst == mov.Dst || !p.untouched(access, at) {
		return Patch{}, false
	}
	live, err := p.function(access).liveness()
	return removal(at, add), err == nil && live.Dies(at).Has(mov.Dst)
}

// isOnly reports whether an offset is used for loads and stores only, which no
// other offset reaches, nor anything else.
func (u *uses) isOnly(edit *Edit) bool {
	if len(u.escapes[edit.Access.Insn]) > 0 {
		return false
	}
	for _, use := range u.dereferences[edit.Access.Insn] {
		if use.Mixed || len(use.Origins) != 1 {
			return false
		}
	}
	return true
}

// inReach reports whether the loads and stores of a sequence have offsets of 16
// bits after they were moved.
func inReach(moved, before Instructions, by int64) bool {
	for i := range moved {
		if moved[i].Kind == insn.Field && int64(moved[i].Offset) != int64(before[i].Offset)+by {
			return false
		}
	}
	return true
}

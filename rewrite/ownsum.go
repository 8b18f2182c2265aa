package rewrite

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// Of a field of the descriptor and the same one of a copy of the program's own clang
// keeps one offset, in a register that it adds to both addresses. The offset becomes the
// layout's. Where it is added to the copy's address, a constant takes its place.

// keepSums lets an offset that clang keeps in one register, for the descriptor and for
// a copy of the program's own, be added to the copy's address as the program has it. It
// reports whether that is so of a sum that was not known before.
func (p *planner) keepSums(access *reloc.Access, sub *flow.Subprogram) bool {
	if p.section(access.Section).IsMemoryAt(access.Insn) || p.isShared(access) {
		return false
	}
	present, err := p.section(access.Section).Instruction(access.Insn)
	if err != nil || p.checkPresent(access, present) != nil {
		return false
	}
	kept := false
	for _, sum := range p.sums(sub)[access.Insn] {
		if !sum.Alone || !regionsOf(sum.Pointees).allOwn() {
			continue
		}
		at := functionPlace(access)
		if p.ownSums[at] == nil {
			p.ownSums[at] = make(map[int]flow.OwnSum)
		}
		p.ownSums[at][sum.Slot] = flow.OwnSum{Of: access.Insn, Offset: present.Constant + sum.Delta, InDst: sum.InDst}
		kept = true
	}
	return kept
}

// isShared reports whether an offset in a register, if it is for both, can't be told
// apart: of a bit-field it need not be that of the bytes, and with a macro sizes and
// shifts go that nothing ties to it.
func (p *planner) isShared(access *reloc.Access) bool {
	return !p.section(access.Section).IsMemoryAt(access.Insn) && (access.Local.Field.IsBitField() || p.macros[keyOf(access)])
}

// sums returns the additions of recorded offsets to addresses in a function, by the slot
// of the offset.
func (p *planner) sums(sub *flow.Subprogram) map[int][]flow.Sum {
	if p.sumsOf == nil {
		p.sumsOf = make(map[*flow.Subprogram]map[int][]flow.Sum)
	}
	if p.sumsOf[sub] == nil {
		p.sumsOf[sub] = make(map[int][]flow.Sum)
		for _, sum := range p.program.pointers.Sums(sub) {
			p.sumsOf[sub][sum.Offset] = append(p.sumsOf[sub][sum.Offset], sum)
		}
	}
	return p.sumsOf[sub]
}

// patchSums adds to an edit what becomes of the sums of its offset with addresses of the
// program's own.
func (p *planner) patchSums(edit *Edit) error {
	at := functionPlace(edit.Access)
	for _, slot := range slices.Sorted(maps.Keys(p.ownSums[at])) {
		sum := p.ownSums[at][slot]
		if sum.Of != edit.Access.Insn {
			continue
		}
		before, err := p.section(at.Section).Instruction(slot)
		if err != nil {
			return refuse.Because(refuse.Recompile, "instruction %d: %v", slot, err)
		}
		add := asm.Add.Imm(before.Dst, int32(sum.Offset))
		after := instructions(add)
		if sum.InDst {
			after = instructions(asm.Mov.Reg(before.Dst, before.Src), add)
		}
		edit.Others = append(edit.Others, Patch{Insn: slot, Before: instructions(before), After: after})
	}
	return nil
}

// hasOwnSum reports whether an offset is for a copy of the program's own, too.
func (p *planner) hasOwnSum(access *reloc.Access) bool {
	for _, sum := range p.ownSums[functionPlace(access)] {
		if sum.Of == access.Insn {
			return true
		}
	}
	return false
}

// isHoisted reports whether an offset that is not there is put into a register where the
// program comes to, and all that it is used for is where it does not: clang has moved it
// in front of the guard.
func (p *planner) isHoisted(edit *Edit) bool {
	access := edit.Access
	constants, ok := p.constantsAt(access)
	isOffset := access.Kind == reloc.ByteOffset && !p.section(access.Section).IsMemoryAt(access.Insn) && !p.isMacro(access)
	if !isOffset || !ok || constants == nil || constants.Reachable(access.Insn) == flow.Unreachable {
		return false
	}
	uses, err := p.usesOf(access)
	return err == nil && uses.reached != nil && !p.comesTo(edit, uses.reached)
}

// leaveMissing leaves the offset of a field that the layout lacks as it is, since the
// program comes there all the same: if all that it is used for, but for its own copies,
// can't be reached.
func (p *planner) leaveMissing(edit *Edit) error {
	uses, err := p.usesOf(edit.Access)
	if err != nil {
		return err
	}
	if uses.reached != nil && p.comesTo(edit, uses.reached) {
		reason, remedy := edit.Missing()
		return refuse.Because(remedy, "%s, and the program can reach it", reason)
	}
	edit.After, edit.Guarded, edit.Note = edit.Before, true, edit.Resolution.Missing
	return p.patchSums(edit)
}

// comesTo reports whether the program may come to a use of an offset.
func (p *planner) comesTo(edit *Edit, reached *reached) bool {
	constants, ok := p.constantsAt(edit.Access)
	comes := func(slot int) bool { return !ok || constants.Reachable(slot) != flow.Unreachable }
	return slices.ContainsFunc(reached.dereferences[edit.Access.Insn], func(use flow.Dereference) bool { return comes(use.Slot) }) ||
		slices.ContainsFunc(reached.escapes[edit.Access.Insn], func(escape flow.Escape) bool { return comes(escape.Slot) })
}

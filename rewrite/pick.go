package rewrite

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/reloc"
)

// pick are the instructions after a load that leave nothing but a number in the
// register.
type pick struct {
	removed []Patch // that take them out
	width   uint32  // of the register that the number is extended in, in bytes
}

// pickedOut returns the instructions after a load that pick the number out of
// the bytes and extend it; nil if there are none, or others use the register
// before they are done.
func (p *planner) pickedOut(access *reloc.Access, ins asm.Instruction, local convert.Image) *pick {
	fn := p.function(access)
	constants, err := p.constantsOf(fn)
	if err != nil || ins.OpCode.Mode() != asm.MemMode || local.Swapped || local.Boolean {
		return nil
	}
	block := fn.Flow.BlockAt(access.Insn)
	bits := bitsOf(int(local.Width) * 8)
	var found *pick
	var passed []Patch
	for slot := access.Insn + 1; slot < fn.Flow.End() && fn.Flow.BlockAt(slot) == block; {
		next, err := fn.section.Instruction(slot)
		if err != nil {
			return nil
		}
		if fn.mentions(slot, ins.Dst) {
			operand, known := next.Constant, true
			if next.OpCode.Source() == asm.RegSource && next.Src != next.Dst {
				operand, known = constants.Value(slot, next.Src)
			}
			if !known || !p.untouched(access, slot) || !bits.step(next, operand) {
				break
			}
			passed = append(passed, removal(slot, next))
			passed = p.withOperand(passed, access, slot, next)
			if width := bits.holdAlone(local); width > 0 {
				found = &pick{slices.Clone(passed), width}
			}
		}
		slot += int(next.Width())
	}
	return found
}

// loadWhole makes an edit convert a load together with what comes after it, if
// that takes fewer instructions.
func (p *planner) loadWhole(edit *Edit, ins asm.Instruction) {
	whole, removed := p.convertedWhole(resolvedAccess{edit.Access, edit.Resolution}, ins)
	if len(removed) > 0 && whole.Slots() < edit.After.Slots()+slotsOf(removed) {
		edit.After, edit.Others = whole, append(edit.Others, removed...)
	}
}

// convertedWhole converts a load together with the instructions after it that
// pick the number out of the bytes and extend it, and takes these out: to do it
// for the layout's bytes is often less work than to make them look like the
// program's. It returns nothing if there are no such instructions.
func (p *planner) convertedWhole(q resolvedAccess, ins asm.Instruction) (Instructions, []Patch) {
	local, target, err := p.images(q, ins, int64(ins.Offset), q.access.Insn)
	if err != nil || local.IsPart() {
		return nil, nil
	}
	if local.IsWhole() && !local.Signed {
		return nil, nil // a load is all there is
	}
	picked := p.pickedOut(q.access, ins, local)
	if picked == nil {
		return nil, nil
	}
	s := p.sequence(q.access, q.resolution)
	number := convert.Image{Width: picked.width, Bits: local.Bits, Signed: local.Signed, Alone: true}
	if err := s.Load(ins, number, target); err != nil {
		return nil, nil
	}
	return s.Items, picked.removed
}

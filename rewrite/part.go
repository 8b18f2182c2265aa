package rewrite

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// convertedPart returns what a load or store of a part of a number becomes.
func (p *planner) convertedPart(q resolvedAccess, ins asm.Instruction, local, target convert.Image, slot int) (Instructions, string, error) {
	s := p.sequence(q.access, q.resolution)
	moved := convert.Piece{Part: convert.PartOf(local), At: max(0, local.Shift), Local: local, Target: target, Path: q.access.Path}
	if ins.OpCode.Class() == asm.LdXClass {
		if err := p.checkSign(q, ins, moved.Part, target, slot); err != nil {
			return nil, "", err
		}
		err := s.LoadAmong(ins, &moved, p.registersAt(q.access, slot))
		return s.Items, "", err
	}
	if moved.Bits <= 0 {
		return s.Items, "", nil
	}
	if target.Boolean {
		return nil, "", refuse.Because("store the field as a whole", "the instruction %q stores a part of %s, and the layout's %s holds whether it is 0 as a whole",
			insn.Spell(ins), q.access.Local.Field, q.resolution.Field)
	}
	err := s.StoreAmong(ins, &moved, p.registersAt(q.access, slot))
	return s.Items, convert.TruncationNote(local, target), err
}

// checkSign refuses to load a part that is nothing but copies of the layout's
// sign, which is in another part, where the function may have stored the field
// before: to clang the parts have nothing to do with each other, and it may store
// the one before it loads the rest of what was there.
func (p *planner) checkSign(q resolvedAccess, ins asm.Instruction, part convert.Part, target convert.Image, slot int) error {
	if part.Low < target.Bits || !target.Signed || !p.storedBefore(q, slot) {
		return nil
	}
	return refuse.Because("declare the field in the program as wide as the layout's, or aligned", "the instruction %q loads a part of %s, of which the layout's %s has the sign only, and the function may store it before",
		insn.Spell(ins), q.access.Local.Field, q.resolution.Field)
}

// storedBefore reports whether a store to any of the layout's bytes of an access,
// by this name or another one, can come before a slot of its function.
func (p *planner) storedBefore(to resolvedAccess, slot int) bool {
	fn := p.function(to.access)
	if fn.Err != nil {
		return true
	}
	overlaps := func(q resolvedAccess) bool {
		if q.resolution.Poison {
			return false
		}
		first, end := layoutBytes(to.resolution.Field)
		otherFirst, otherEnd := layoutBytes(q.resolution.Field)
		return first < otherEnd && otherFirst < end
	}
	for at, store := range fn.stores {
		if overlaps(store) && fn.Flow.Leads(at, slot) {
			return true
		}
	}
	reached, err := p.reachedAnyway(to.access)
	for offset, q := range fn.offsets {
		if !overlaps(q) {
			continue
		}
		if err != nil || slices.ContainsFunc(reached.dereferences[offset], func(use flow.Dereference) bool {
			return fn.section.IsStoreAt(use.Slot) && fn.Flow.Leads(use.Slot, slot)
		}) {
			return true
		}
	}
	return false
}

// layoutBytes returns the bytes that have a bit of a field, the end exclusive.
func layoutBytes(field *reloc.Field) (first, end uint32) {
	if field.IsBitField() {
		return field.BitOffset / 8, (field.BitOffset + field.BitSize + 7) / 8
	}
	return field.Offset, field.Offset + field.Size
}

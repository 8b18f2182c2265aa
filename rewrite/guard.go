package rewrite

import (
	"path"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// checkGuard refuses a load or store, in a slot, that ends beyond the bytes which
// the program has checked, where it has the size of its own struct baked in:
// clang records nothing of "md + 1 > data". The verifier would refuse it, too,
// but knows nothing of the layout.
func (p *planner) checkGuard(access *reloc.Access, slot int, end int64) error {
	if err := p.checkPrototype(access, slot, end); err != nil {
		return err
	}
	if end <= int64(access.Local.TypeSize) {
		return nil // within the size that is baked in, if one is
	}
	guard, ok := p.bakedGuard(access, slot)
	if !ok || end <= guard.Bytes {
		return nil
	}
	return refuse.Because("check for bpf_core_type_size of the struct instead, as md_desc(ctx) does",
		"in the layout it ends at byte %d, and %s checks for %d bytes, the size of %s in the program",
		end, p.lineAt(access.Section, guard.Slot), guard.Bytes, access.Root)
}

// accessEnd returns where the last byte ends that instructions access through a
// pointer to the root type.
func accessEnd(insns Instructions) int64 {
	var end int64
	for _, item := range insns {
		if item.Kind == insn.Field {
			end = max(end, int64(item.Offset)+int64(insn.Bytes(item.Instruction)))
		}
	}
	return end
}

// bakedGuard returns the check of the metadata area that a load or store depends
// on, if all there are have their size baked in and one has that of the root
// type.
func (p *planner) bakedGuard(access *reloc.Access, slot int) (widest flow.Guard, baked bool) {
	guards := p.guardsIn(p.function(access))
	if guards == nil {
		return widest, false
	}
	for _, guard := range guards.Before(slot) {
		if guard.Recorded >= 0 {
			return widest, false
		}
		baked = baked || guard.Bytes == int64(access.Local.TypeSize)
		if guard.Bytes > widest.Bytes {
			widest = guard
		}
	}
	return widest, baked
}

// guardsIn returns the guards of a function, nil if there can't be any.
func (p *planner) guardsIn(fn *function) *flow.Guards {
	if fn.guardsKnown {
		return fn.guards
	}
	fn.guardsKnown = true
	program := p.analyze()
	constants := program.constants[program.subs[fn.Place()]]
	if context := fn.Context(); constants != nil && context != nil {
		fn.guards = constants.Guards(*context)
	}
	return fn.guards
}

// lineAt returns the source line of an instruction.
func (p *planner) lineAt(section string, slot int) reloc.Source {
	line, ok := p.object.Ext.LineAt(section, uint32(slot*reloc.InstructionSize))
	if !ok {
		return reloc.Source{}
	}
	return reloc.Source{File: path.Clean(line.File), Line: line.Line, Column: line.Column, Text: line.Text}
}

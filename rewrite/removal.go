package rewrite

import (
	"sort"

	"github.com/xdp-load/xdp-load/reloc"
)

// removable reports whether instructions can be taken out: a line record goes to
// what comes next then, and no instruction can have two.
func (p *planner) removable(section string, patches []Patch) bool {
	gone := make(map[int]bool)
	for _, patch := range patches {
		gone[patch.Insn] = true
	}
	for _, patch := range patches {
		if !p.keepsLine(section, patch.Insn, gone) {
			return false
		}
	}
	return true
}

// keepsLine reports whether the line record of an instruction keeps any without
// those that are gone, or are planned to be.
func (p *planner) keepsLine(section string, slot int, gone map[int]bool) bool {
	lines := p.ext.Lines[section]
	next := sort.Search(len(lines), func(i int) bool { return int(lines[i].InsnOffset)/reloc.InstructionSize > slot })
	if next == 0 || next == len(lines) {
		return true
	}
	code := p.object.Section(section).Data
	end := int(lines[next].InsnOffset) / reloc.InstructionSize
	for at := int(lines[next-1].InsnOffset) / reloc.InstructionSize; at < end; {
		planned, isPlanned := p.planned[place{section, at}]
		if !gone[at] && !(isPlanned && len(planned) == 0) {
			return true
		}
		ins, err := decode(code[at*reloc.InstructionSize:], p.order)
		if err != nil {
			return true
		}
		at += int(ins.Width())
	}
	return false
}

// slotsOf returns how many slots the instructions take that patches change.
func slotsOf(patches []Patch) int {
	slots := 0
	for _, patch := range patches {
		slots += patch.Before.Slots()
	}
	return slots
}

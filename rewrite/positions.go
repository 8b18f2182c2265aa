package rewrite

import (
	"cmp"
	"slices"
	"sort"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/reloc"
)

// setPositions says of each edit where it will be once the replacements, which
// it sorts, are in place.
func setPositions(edits []Edit, replacements map[string][]code.Replacement) {
	growth := make(map[string][]int, len(replacements)) // up to and with each replacement
	old := oldWidths(edits)
	for section, list := range replacements {
		slices.SortFunc(list, func(a, b code.Replacement) int { return cmp.Compare(a.Slot, b.Slot) })
		total := 0
		for _, r := range list {
			total += len(r.Code)/reloc.InstructionSize - old[place{section, r.Slot}]
			growth[section] = append(growth[section], total)
		}
	}
	for i := range edits {
		access := &edits[i].Access
		moved := func(slot int) int {
			list := replacements[access.Section]
			before := sort.Search(len(list), func(i int) bool { return list[i].Slot >= slot })
			if before == 0 {
				return slot
			}
			return slot + growth[access.Section][before-1]
		}
		edits[i].Position = moved(access.Insn) - moved(access.FunctionStart)
	}
}

// oldWidths returns how many slots each instruction takes that edits replace.
func oldWidths(edits []Edit) map[place]int {
	widths := make(map[place]int)
	for i := range edits {
		for _, patch := range edits[i].patches() {
			widths[place{edits[i].Access.Section, patch.Insn}] = patch.Before.Slots()
		}
	}
	return widths
}

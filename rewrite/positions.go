package rewrite

import (
	"sort"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/reloc"
)

// setPositions says of each edit where it will be once the replacements, which
// are sorted, are in place, with what is added in front of them.
func setPositions(obj *elfobj.Object, edits []Edit, replacements map[string][]code.Replacement, added additions) {
	growth := make(map[string][]int, len(replacements)) // up to and with each replacement
	for name, list := range replacements {
		old := obj.Section(name).Data
		growth[name] = make([]int, 0, len(list))
		total := 0
		for _, r := range list {
			width := 1
			if asm.OpCode(old[r.Slot*reloc.InstructionSize]).IsDWordLoad() {
				width = 2
			}
			total += len(r.Code)/reloc.InstructionSize - width
			growth[name] = append(growth[name], total)
		}
	}
	for i := range edits {
		access := edits[i].Access
		list, grown := replacements[access.Section], growth[access.Section]
		moved := func(slot int) int {
			before := sort.Search(len(list), func(i int) bool { return list[i].Slot >= slot })
			if before == 0 {
				return slot
			}
			return slot + grown[before-1]
		}
		start, inFront := moved(access.FunctionStart), added[access.Section]
		edits[i].Position = moved(access.Insn) + inFront[access.Insn].Slots() - start
		for n := range edits[i].Others {
			patch := &edits[i].Others[n]
			patch.Position = moved(patch.Insn) + inFront[patch.Insn].Slots() - start
		}
	}
}

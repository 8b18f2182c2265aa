package rewrite

import (
	"slices"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// additions are instructions to put in front of others, by section and slot. What leads to
// these leads to what is in front of them then.
type additions map[string]map[int]Instructions

func (a additions) add(at bpf.Place, item insn.Item) {
	if a[at.Section] == nil {
		a[at.Section] = make(map[int]Instructions)
	}
	a[at.Section][at.Slot] = append(a[at.Section][at.Slot], item)
}

// put makes the additions part of the replacements of the instructions that they are in
// front of, which are sorted by slot.
func (a additions) put(object *bpf.Object, replacements map[string][]code.Replacement) error {
	for name, bySlot := range a {
		section := object.Section(name)
		for slot, insns := range bySlot {
			encoded, err := insns.encode(object.Order())
			if err != nil {
				return err
			}
			list := replacements[name]
			at, found := slices.BinarySearchFunc(list, slot, func(r code.Replacement, slot int) int { return r.Slot - slot })
			if !found {
				same, err := code.Unchanged(section.Section, slot, section.Linked()[slot], object.Order())
				if err != nil {
					return err
				}
				list = slices.Insert(list, at, same)
			}
			list[at].PutInFront(encoded)
			replacements[name] = list
		}
	}
	return nil
}

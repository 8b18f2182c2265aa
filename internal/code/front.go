package code

import (
	"encoding/binary"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Unchanged returns a replacement that leaves the instruction at a slot of a section as it
// is. isLinked says whether a relocation says what it refers to.
func Unchanged(section *elfobj.Section, slot int, isLinked bool, order binary.ByteOrder) (Replacement, error) {
	ins := insn.Read(section.Data[slot*insn.SlotSize:], order)
	r := Replacement{Slot: slot, Code: section.Data[slot*insn.SlotSize:][:ins.Slots()*insn.SlotSize]}
	distance, field, err := ins.Distance()
	if field != insn.NoDistance && !isLinked {
		r.Jumps = []Jump{{At: 0, Target: slot + 1 + distance}}
	}
	return r, err
}

// PutInFront puts instructions, which don't jump, in front of those of the replacement.
func (r *Replacement) PutInFront(code []byte) {
	slots := len(code) / insn.SlotSize
	if len(r.Code) == 0 {
		r.Kept = -1
	} else if r.Kept >= 0 {
		r.Kept += slots
	}
	r.Code = append(code[:len(code):len(code)], r.Code...)
	for i := range r.Jumps {
		r.Jumps[i].At += slots
	}
	for i := range r.Copies {
		r.Copies[i].At += slots
	}
	attached := r.attached()
	for i := range attached.Relocations {
		attached.Relocations[i].At += slots
	}
	for i := range attached.CORERelos {
		attached.CORERelos[i].InsnOffset += uint32(len(code))
	}
	for i := range attached.Lines {
		attached.Lines[i].InsnOffset += uint32(len(code))
	}
}

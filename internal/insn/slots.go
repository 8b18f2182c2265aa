package insn

import "slices"

// Slots is a set of slots of a section, a bit for each. The zero value is empty.
type Slots []uint64

const slotsPerWord = 64

// SlotsOf returns a set of some slots.
func SlotsOf(slots ...int) Slots {
	var s Slots
	for _, slot := range slots {
		s.Add(slot)
	}
	return s
}

// Has reports whether a slot is in the set.
func (s Slots) Has(slot int) bool {
	word := slot / slotsPerWord
	return slot >= 0 && word < len(s) && s[word]>>(slot%slotsPerWord)&1 != 0
}

// IsEmpty reports whether no slot is in the set.
func (s Slots) IsEmpty() bool {
	return !slices.ContainsFunc(s, func(word uint64) bool { return word != 0 })
}

// Add puts a slot into the set.
func (s *Slots) Add(slot int) {
	word := slot / slotsPerWord
	if word >= len(*s) {
		*s = append(*s, make([]uint64, word+1-len(*s))...)
	}
	(*s)[word] |= 1 << (slot % slotsPerWord)
}

// Remove takes a slot out of the set.
func (s Slots) Remove(slot int) {
	if s.Has(slot) {
		s[slot/slotsPerWord] &^= 1 << (slot % slotsPerWord)
	}
}

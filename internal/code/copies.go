package code

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// placeCopies finds the new slots of copies.
func (s *section) placeCopies() {
	s.copies = make(map[int][]int)
	for i := range s.replacements {
		r := &s.replacements[i]
		for _, c := range r.Copies {
			s.copies[c.From] = append(s.copies[c.From], int(s.starts[r.Slot])+c.At)
		}
	}
}

// checkCopies returns which slots of a replacement are copies whose target, or
// relocation, is that of the original.
func (s *section) checkCopies(r *Replacement, second []bool, outside map[int]bool) (map[int]bool, error) {
	if len(r.Copies) == 0 {
		return nil, nil
	}
	copies := make(map[int]bool, len(r.Copies))
	last := -1
	for _, c := range r.Copies {
		switch {
		case c.At <= last || c.At >= len(second) || second[c.At]:
			return nil, fmt.Errorf("slot %d is no instruction that could be a copy", c.At)
		case s.check(c.From) != nil || r.Code[c.At*insn.SlotSize] != s.read(c.From).Op:
			return nil, fmt.Errorf("slot %d is no copy of instruction %d", c.At, c.From)
		case outside[c.At] && s.relocated[c.From]:
			return nil, fmt.Errorf("slot %d has a target, and a relocation that says another", c.At)
		}
		last = c.At
		copies[c.At] = !outside[c.At]
	}
	return copies, nil
}

// setCopiedJumps makes the copies of jumps, and of calls in the section, go
// where the originals go.
func (s *section) setCopiedJumps() error {
	for i := range s.replacements {
		r := &s.replacements[i]
		elsewhere := make(map[int]bool, len(r.Jumps))
		for _, jump := range r.Jumps {
			elsewhere[jump.At] = true
		}
		for _, c := range r.Copies {
			ins := s.read(c.From)
			distance, field, err := ins.Distance()
			if err != nil {
				return s.errorAt(c.From, err)
			}
			if field == insn.NoDistance || s.relocated[c.From] || elsewhere[c.At] {
				continue
			}
			target := c.From + 1 + distance
			if err := s.setJump(c.From, int(s.starts[r.Slot])+c.At, target, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// copies returns where instructions are that have a copy, and where these are.
func (m *mover) copies() map[string][]btfraw.Copy {
	copies := make(map[string][]btfraw.Copy)
	for _, s := range m.sections {
		for from, slots := range s.copies {
			for _, at := range slots {
				copies[s.elf.Name] = append(copies[s.elf.Name], btfraw.Copy{
					From: uint32(int(s.starts[from])+max(s.kept(from), 0)) * insn.SlotSize,
					To:   uint32(at) * insn.SlotSize,
				})
			}
		}
		slices.SortFunc(copies[s.elf.Name], func(a, b btfraw.Copy) int { return cmp.Compare(a.To, b.To) })
	}
	maps.DeleteFunc(copies, func(_ string, of []btfraw.Copy) bool { return len(of) == 0 })
	return copies
}

// copyRecords gives copies the records of the originals, and these records the
// relocations that they have.
func (m *mover) copyRecords(section *elfobj.Section, types *btfraw.BTF, copies map[string][]btfraw.Copy) error {
	grown, moved, err := m.ext.WithCopies(types, copies)
	if err != nil {
		return fmt.Errorf(".BTF.ext: %w", err)
	}
	m.ext = grown
	section.Data = grown.Bytes()
	return m.obj.MoveRelocations(section, moved)
}

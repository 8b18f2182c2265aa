package code

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// section is a section of code in which instructions are replaced.
type section struct {
	elf   *elfobj.Section // Data is the new code once rebuild is done
	order binary.ByteOrder

	old       []byte
	second    []bool // by old slot: the second half of LDDW
	relocated []bool // by old slot: a relocation patches it

	replacements []Replacement
	replaced     []int32       // by old slot: 1 + index of its replacement, or 0
	copies       map[int][]int // by old slot: the new slots of its copies
	starts       []int32       // new slot by old slot, and that of the end
	moves        bool          // whether anything but replaced bytes changes
}

// maxSlots keeps every distance in a section within 32 bits. The kernel takes
// a million instructions at most (BPF_COMPLEXITY_LIMIT_INSNS).
const maxSlots = 1 << 27

var (
	errNoInstruction = errors.New("no instruction starts there")
	errOutside       = errors.New("outside of the section")
	errHalfLDDW      = errors.New("half an LDDW")
)

func newSection(from *elfobj.Section, order binary.ByteOrder, replacements []Replacement) (*section, error) {
	if len(from.Data)%insn.SlotSize != 0 {
		return nil, fmt.Errorf("section %s has %d bytes, which are no instructions", from, len(from.Data))
	}
	s := &section{elf: from, order: order, old: from.Data, replacements: replacements}
	slots := len(s.old) / insn.SlotSize
	s.relocated = make([]bool, slots)

	var bad int
	if s.second, bad = insn.SecondHalves(s.old); bad >= 0 {
		return nil, s.errorAt(bad, errHalfLDDW)
	}
	if err := s.placeReplacements(); err != nil {
		return nil, err
	}
	return s, s.layOut()
}

// slots returns how many slots the section had.
func (s *section) slots() int { return len(s.second) }

// read returns what is in a slot of the old code.
func (s *section) read(slot int) insn.Instruction {
	return insn.Read(s.old[slot*insn.SlotSize:], s.order)
}

// size returns how many slots the instruction takes.
func (s *section) size(slot int) int {
	ins := s.read(slot)
	return ins.Slots()
}

// check wants an instruction to start at a slot.
func (s *section) check(slot int) error {
	switch {
	case slot < 0 || slot >= s.slots():
		return errOutside
	case s.second[slot]:
		return errNoInstruction
	}
	return nil
}

func (s *section) placeReplacements() error {
	s.replaced = make([]int32, s.slots())
	for i := range s.replacements {
		r := &s.replacements[i]
		if err := s.check(r.Slot); err != nil {
			return s.errorAt(r.Slot, fmt.Errorf("replace instruction: %w", err))
		}
		if s.replaced[r.Slot] != 0 {
			return s.errorAt(r.Slot, errors.New("is replaced twice"))
		}
		if len(r.Code)%insn.SlotSize != 0 || r.Kept > 0 && r.Kept >= len(r.Code)/insn.SlotSize {
			return s.errorAt(r.Slot, errors.New("replacement is no code"))
		}
		s.replaced[r.Slot] = int32(i) + 1
		s.moves = s.moves || len(r.Code) != s.size(r.Slot)*insn.SlotSize || r.Kept != 0 || !r.attached().isEmpty()
	}
	return nil
}

func (s *section) replacement(slot int) *Replacement {
	if s.replaced[slot] == 0 {
		return nil
	}
	return &s.replacements[s.replaced[slot]-1]
}

// layOut finds the new place of every slot. That of the second half of LDDW
// means nothing.
func (s *section) layOut() error {
	s.starts = make([]int32, s.slots()+1)
	next := 0
	for slot := 0; slot < s.slots(); {
		s.starts[slot] = int32(next)
		size := s.size(slot)
		if r := s.replacement(slot); r != nil {
			next += len(r.Code) / insn.SlotSize
		} else {
			next += size
		}
		if next > maxSlots {
			return fmt.Errorf("section %s becomes longer than any program", s.elf)
		}
		slot += size
	}
	s.starts[s.slots()] = int32(next)
	s.placeCopies()
	return nil
}

// Whether a position may be the end of the section.
const (
	orEnd = true
	noEnd = false
)

// moved returns where an instruction is now, in bytes.
func (s *section) moved(offset uint64, end bool) (uint64, error) {
	if offset%insn.SlotSize != 0 {
		return 0, errNoInstruction
	}
	if offset > uint64(len(s.old)) {
		return 0, errOutside
	}
	slot := int(offset / insn.SlotSize)
	if slot < s.slots() || !end {
		if err := s.check(slot); err != nil {
			return 0, err
		}
	}
	return uint64(s.starts[slot]) * insn.SlotSize, nil
}

// kept returns the slot, from the instruction's new start, which its relocation
// is for; negative if it is gone.
func (s *section) kept(slot int) int {
	switch r := s.replacement(slot); {
	case r == nil:
		return 0
	case len(r.Code) == 0:
		return -1
	default:
		return r.Kept
	}
}

// rebuild puts the new code together, jumps included.
func (s *section) rebuild() error {
	out := make([]byte, 0, int(s.starts[s.slots()])*insn.SlotSize)
	for slot := 0; slot < s.slots(); slot += s.size(slot) {
		if r := s.replacement(slot); r != nil {
			out = append(out, r.Code...)
		} else {
			out = append(out, s.old[slot*insn.SlotSize:][:s.size(slot)*insn.SlotSize]...)
		}
	}
	s.elf.Data = out

	for slot := 0; slot < s.slots(); slot += s.size(slot) {
		if s.replaced[slot] == 0 {
			if err := s.moveJump(slot); err != nil {
				return err
			}
		}
	}
	for i := range s.replacements {
		if err := s.setJumps(&s.replacements[i]); err != nil {
			return err
		}
	}
	return s.setCopiedJumps()
}

// moveJump corrects the distance of an instruction that was not replaced.
func (s *section) moveJump(slot int) error {
	ins := s.read(slot)
	distance, field, err := ins.Distance()
	if err != nil {
		return s.errorAt(slot, err)
	}
	if field == insn.NoDistance || s.relocated[slot] {
		return nil
	}
	return s.setJump(slot, int(s.starts[slot]), slot+1+distance, 0)
}

// setJumps sets the distances of a replacement's jumps to the outside.
func (s *section) setJumps(r *Replacement) error {
	for _, jump := range r.Jumps {
		if err := s.setJump(r.Slot, int(s.starts[r.Slot])+jump.At, jump.Target, jump.Into); err != nil {
			return err
		}
	}
	return nil
}

// setJump makes the jump at a new slot go to an old one, or into what replaces
// it. slot is the old one that it comes from.
func (s *section) setJump(slot, at, target, into int) error {
	if err := s.checkTarget(target, into); err != nil {
		return s.errorAt(slot, fmt.Errorf("jump to instruction %d: %w", target, err))
	}
	raw := s.elf.Data[at*insn.SlotSize:]
	ins := insn.Read(raw, s.order)
	_, field, err := ins.Distance()
	if err != nil {
		return s.errorAt(slot, err)
	}
	distance := int(s.starts[target]) + into - (at + 1)
	if !field.Put(raw, s.order, distance) {
		return s.errorAt(slot, &ReachError{Target: target, Distance: distance, Bits: int(field)})
	}
	return nil
}

func (s *section) checkTarget(target, into int) error {
	if err := s.check(target); err != nil || into == 0 {
		return err
	}
	r := s.replacement(target)
	if r == nil || into < 0 || into >= len(r.Code)/insn.SlotSize {
		return errNoInstruction
	}
	if second, _ := insn.SecondHalves(r.Code); second[into] {
		return errNoInstruction
	}
	return nil
}

// checkReplacements wants the code of each replacement to be complete: its own
// jumps stay inside, the others are in Jumps.
func (s *section) checkReplacements() error {
	for i := range s.replacements {
		if err := s.checkReplacement(&s.replacements[i]); err != nil {
			return s.errorAt(s.replacements[i].Slot, fmt.Errorf("replacement: %w", err))
		}
	}
	return nil
}

func (s *section) checkReplacement(r *Replacement) error {
	second, bad := insn.SecondHalves(r.Code)
	if bad >= 0 {
		return fmt.Errorf("slot %d: %w", bad, errHalfLDDW)
	}
	outside := make(map[int]bool, len(r.Jumps))
	for _, jump := range r.Jumps {
		if jump.At < 0 || jump.At >= len(second) || second[jump.At] || outside[jump.At] {
			return fmt.Errorf("slot %d is no jump, or one with two targets", jump.At)
		}
		outside[jump.At] = true
	}
	isCopy, err := s.checkCopies(r, second, outside)
	if err != nil {
		return err
	}
	brought, err := s.checkAttached(r, second, outside, isCopy)
	if err != nil {
		return err
	}
	if kept := s.kept(r.Slot); s.relocated[r.Slot] && kept >= 0 && !takesRelocation(r.Code, second, kept, s.order) {
		return fmt.Errorf("slot %d is kept for a relocation, but is no call and no LDDW", kept)
	}
	for slot := range second {
		if second[slot] {
			continue
		}
		relocated := s.relocated[r.Slot] && slot == s.kept(r.Slot) || isCopy[slot] || brought[slot]
		if err := checkJump(r.Code, second, slot, outside[slot], relocated, s.order); err != nil {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
	}
	return nil
}

// checkAttached returns which slots of a replacement have a relocation that it brings.
func (s *section) checkAttached(r *Replacement, second []bool, outside, isCopy map[int]bool) (map[int]bool, error) {
	attached := r.attached()
	if err := attached.check(r.Code, second, s.order); err != nil {
		return nil, err
	}
	brought := make(map[int]bool, len(attached.Relocations))
	for _, rel := range attached.Relocations {
		isKept := s.relocated[r.Slot] && rel.At == s.kept(r.Slot)
		if isKept || outside[rel.At] || isCopy[rel.At] {
			return nil, fmt.Errorf("slot %d has a relocation, and something else that says what it refers to", rel.At)
		}
		brought[rel.At] = true
	}
	return brought, nil
}

// takesRelocation reports whether a loader accepts a relocation of the
// instruction (bpf_program__record_reloc of libbpf).
func takesRelocation(code []byte, second []bool, slot int, order binary.ByteOrder) bool {
	ins := insn.Read(code[slot*insn.SlotSize:], order)
	return !second[slot] && (ins.Op == insn.LDDW || ins.IsCall() && !ins.FromReg())
}

func checkJump(code []byte, second []bool, slot int, outside, relocated bool, order binary.ByteOrder) error {
	ins := insn.Read(code[slot*insn.SlotSize:], order)
	distance, field, err := ins.Distance()
	switch {
	case err != nil:
		return err
	case outside && field == insn.NoDistance:
		return errors.New("is no jump")
	case outside && relocated:
		return errors.New("has a target, and a relocation that says another")
	case field == insn.NoDistance, outside, relocated:
		return nil
	}
	if !ins.Jumps() {
		return errors.New("call of a function without its target")
	}
	target := slot + 1 + distance
	if target < 0 || target > len(second) || target < len(second) && second[target] {
		return fmt.Errorf("jump to slot %d of %d", target, len(second))
	}
	return nil
}

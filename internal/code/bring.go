package code

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// bringsRecords reports whether .BTF.ext has to grow.
func (m *mover) bringsRecords() bool {
	return slices.ContainsFunc(m.sections, func(s *section) bool {
		return slices.ContainsFunc(s.replacements, func(r Replacement) bool {
			return r.Attached != nil && len(r.Attached.CORERelos)+len(r.Attached.Lines) > 0
		})
	})
}

// bringRelocations adds the relocations that replacements bring, once those that were
// there are moved, and symbols are not yet.
func (m *mover) bringRelocations() error {
	for _, s := range m.sections {
		var rels []elfobj.Rel
		for i := range s.replacements {
			r := &s.replacements[i]
			start := uint64(s.starts[r.Slot]) * insn.SlotSize
			for _, rel := range r.attached().Relocations {
				entry, err := m.bring(s, rel, start)
				if err != nil {
					return s.errorAt(r.Slot, fmt.Errorf("replacement: slot %d: %w", rel.At, err))
				}
				rels = append(rels, entry)
			}
		}
		if err := m.obj.AddRelocations(s.elf, rels); err != nil {
			return fmt.Errorf("section %s: %w", s.elf, err)
		}
	}
	return nil
}

// bring makes an instruction of code that starts at a byte of a section refer to
// something, which may move itself.
func (m *mover) bring(s *section, rel Relocation, start uint64) (elfobj.Rel, error) {
	if rel.Symbol < 0 || rel.Symbol >= len(m.symbols) || m.symbols[rel.Symbol] == elfobj.NoSymbol {
		return elfobj.Rel{}, fmt.Errorf("it refers to symbol %d, which is not there", rel.Symbol)
	}
	rel.Symbol = m.symbols[rel.Symbol]
	entry := rel.entry(s.elf.Data[start:], start)
	p, err := instructionPointer(s.elf.Data, entry.Offset, m.obj.Order)
	if err != nil {
		return elfobj.Rel{}, err
	}
	if !p.setAddend(rel.Addend) {
		return elfobj.Rel{}, errors.New("it refers to something more than 32 bits away")
	}
	moved := relocation{offset: entry.Offset, kind: entry.Type, symbol: &m.obj.Symbols[rel.Symbol]}
	return entry, m.movePointer(moved, s.elf)
}

// bringRecords adds the records that replacements bring. What follows code with lines of
// its own is on the line that it was on.
func (m *mover) bringRecords(section *elfobj.Section, types *elfobj.Section) error {
	if !m.bringsRecords() {
		return nil
	}
	var records btfraw.Records
	for _, s := range m.sections {
		for _, r := range slices.SortedFunc(slices.Values(s.replacements), func(a, b Replacement) int { return cmp.Compare(a.Slot, b.Slot) }) {
			merge(&records, r.attached().records(s.elf.Name, uint32(s.starts[r.Slot])*insn.SlotSize))
			if line, ok := m.lineBehind(s, &r); ok {
				merge(&records, btfraw.Records{Lines: map[string][]btfraw.Line{s.elf.Name: {line}}})
			}
		}
	}
	edit, err := btfraw.NewEdit(types.Data)
	if err != nil {
		return err
	}
	if m.ext, err = m.ext.With(records, edit); err != nil {
		return fmt.Errorf(".BTF.ext: %w", err)
	}
	types.Data = edit.Bytes()
	parsed, err := btfraw.Parse(types.Data, nil)
	if err != nil {
		return err
	}
	data, _ := m.ext.WithoutDoubleLines(m.endOf)
	if m.ext, err = btfraw.ParseExt(data, parsed); err != nil {
		return fmt.Errorf(".BTF.ext: %w", err)
	}
	section.Data = data
	return nil
}

// lineBehind returns the line of what comes behind a replacement, if that has to be said
// anew.
func (m *mover) lineBehind(s *section, r *Replacement) (btfraw.Line, bool) {
	next := r.Slot + s.size(r.Slot)
	if len(r.attached().Lines) == 0 || next >= s.slots() {
		return btfraw.Line{}, false
	}
	at := uint32(s.starts[next]) * insn.SlotSize
	if line, ok := m.ext.LineAt(s.elf.Name, at); ok && line.InsnOffset == at {
		return btfraw.Line{}, false
	}
	line, ok := m.oldExt.LineAt(s.elf.Name, uint32(r.Slot)*insn.SlotSize)
	line.InsnOffset = at
	return line, ok
}

// isRelocationOfExt reports whether a section has relocations of .BTF.ext. Only a linker
// would read them, and libbpf's does not.
func (m *mover) isRelocationOfExt(section *elfobj.Section) bool {
	ext := m.obj.Section(".BTF.ext")
	return ext != nil && section == m.obj.Relocations(ext)
}

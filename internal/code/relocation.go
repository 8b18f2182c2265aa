package code

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Relocation types, from llvm/docs/CompilerWriterInfo and
// Documentation/bpf/llvm_reloc.rst of the kernel.
const (
	rel64         = 1  // R_BPF_64_64: LDDW; before LLVM 13, 8 bytes of data too
	relAbs64      = 2  // R_BPF_64_ABS64: 8 bytes of data
	relAbs32      = 3  // R_BPF_64_ABS32: 4 bytes of data
	relNoDynLoad  = 4  // R_BPF_64_NODYLD32: 4 bytes of .BTF and .BTF.ext
	rel32         = 10 // R_BPF_64_32: call; before LLVM 13, 4 bytes of data too
	jumpTables    = ".jumptables"
	jumpTableSlot = 8
)

// dataWidth is how many bytes of data a relocation is for.
var dataWidth = map[uint32]uint64{rel64: 8, relAbs64: 8, relAbs32: 4, relNoDynLoad: 4, rel32: 4}

// place is a position in the contents of a section.
type place struct {
	section *elfobj.Section
	offset  uint64
}

// relocation is an Elf64_Rel.
type relocation struct {
	raw    []byte
	offset uint64
	kind   uint32
	symbol *elf.Symbol // nil for none
}

var errTable = errors.New("damaged object: no table of relocations")

// relocations calls visit for each entry of a table.
func (m *mover) relocations(table *elfobj.Section, visit func(relocation) error) error {
	order, data := m.obj.Order, table.Data
	if len(data)%elfobj.RelSize != 0 {
		return fmt.Errorf("%s: %w", table, errTable)
	}
	for index := 0; len(data) > 0; index++ {
		info := order.Uint64(data[8:])
		rel := relocation{raw: data[:elfobj.RelSize], offset: order.Uint64(data), kind: uint32(info)}
		if number := info >> 32; number > uint64(len(m.obj.Symbols)) {
			return fmt.Errorf("%s: entry %d: %w: no symbol %d", table, index, errTable, number)
		} else if number > 0 {
			rel.symbol = &m.obj.Symbols[number-1]
		}
		if err := visit(rel); err != nil {
			return fmt.Errorf("%s: entry %d: %w", table, index, err)
		}
		data = data[elfobj.RelSize:]
	}
	return nil
}

// markRelocated finds the instructions whose immediate is not theirs alone.
func (m *mover) markRelocated() error {
	for _, table := range m.obj.Sections {
		s := m.byIndex[int(table.Info)]
		if table.Type != elf.SHT_REL || s == nil {
			continue
		}
		err := m.relocations(table, func(rel relocation) error {
			if rel.offset >= uint64(len(s.old)) || rel.offset%insn.SlotSize != 0 {
				return errTable
			}
			slot := int(rel.offset / insn.SlotSize)
			if s.second[slot] || s.relocated[slot] {
				return s.errorAt(slot, errors.New("has two relocations"))
			}
			s.relocated[slot] = true
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// moveRelocations moves what relocations patch, and what they point at.
func (m *mover) moveRelocations() error {
	for _, table := range m.obj.Sections {
		switch {
		case table.Type == elf.SHT_RELA:
			return fmt.Errorf("%s: a section of type %s, which no BPF compiler makes", table, table.Type)
		case table.Type != elf.SHT_REL:
			continue
		case table.Info == 0 || int(table.Info) >= len(m.obj.Sections):
			return fmt.Errorf("%s: %w", table, errTable)
		}
		if err := m.moveTable(table, m.obj.Sections[table.Info]); err != nil {
			return err
		}
	}
	return nil
}

func (m *mover) moveTable(table, target *elfobj.Section) error {
	s := m.byIndex[target.Index]
	if s == nil {
		return m.relocations(table, func(rel relocation) error { return m.movePointer(rel, target) })
	}
	var left []byte
	err := m.relocations(table, func(rel relocation) error {
		for _, slot := range s.relocatedNow(int(rel.offset / insn.SlotSize)) {
			at := rel
			at.offset = uint64(slot) * insn.SlotSize
			left = append(left, rel.raw...)
			m.obj.Order.PutUint64(left[len(left)-elfobj.RelSize:], at.offset)
			if err := m.movePointer(at, target); err != nil {
				return err
			}
		}
		return nil
	})
	table.Data = left
	return err
}

// relocatedNow returns the new slots that the relocation of an old one patches.
func (s *section) relocatedNow(slot int) []int {
	var slots []int
	if kept := s.kept(slot); kept >= 0 {
		slots = append(slots, int(s.starts[slot])+kept)
	}
	return append(slots, s.copies[slot]...)
}

// movePointer corrects what stands in the relocated place.
func (m *mover) movePointer(rel relocation, target *elfobj.Section) error {
	if rel.symbol == nil {
		return nil
	}
	if s := m.byIndex[target.Index]; s != nil && m.nameOf(rel.symbol.Section) == jumpTables {
		return m.moveJumpTable(rel.symbol, s)
	}
	to := m.sectionOf(rel.symbol)
	if to == nil || target.Name == ".BTF.ext" { // moveExt does that
		return nil
	}
	if done, err := m.patch(target, rel.offset, to); done || err != nil {
		return err
	}
	p, err := pointerIn(target, rel, m.obj.Order)
	if err != nil {
		return err
	}
	from, err := to.moved(rel.symbol.Value, orEnd)
	if err != nil {
		return fmt.Errorf("symbol %s of section %s: %w", rel.symbol.Name, to.elf, err)
	}
	moved, err := to.moved(rel.symbol.Value+uint64(p.addend()), !holdsCode(target))
	if err != nil {
		return fmt.Errorf("place in section %s: %w", to.elf, err)
	}
	if !p.setAddend(int64(moved) - int64(from)) {
		return fmt.Errorf("byte %d of section %s is more than 32 bits away", moved, to.elf)
	}
	return nil
}

// patch notes that a place which points into a section is corrected. It returns
// whether that is done already: an entry of .jumptables is found from every
// LDDW of its table, and from a relocation of its own if the compiler makes one.
func (m *mover) patch(in *elfobj.Section, offset uint64, to *section) (done bool, err error) {
	at := place{in, offset}
	if m.patched[at] == nil {
		m.patched[at] = to
		return false, nil
	}
	if in.Name == jumpTables && m.patched[at] == to {
		return true, nil
	}
	return false, fmt.Errorf("byte %d of section %s points at two things", offset, in)
}

func (m *mover) nameOf(index elf.SectionIndex) string {
	if int(index) >= len(m.obj.Sections) {
		return ""
	}
	return m.obj.Sections[index].Name
}

// moveJumpTable corrects the table that a gotox of section s takes its target
// from: 8 bytes for each, in bytes from the start of s (create_jt_map of
// libbpf).
func (m *mover) moveJumpTable(symbol *elf.Symbol, s *section) error {
	section := m.obj.Sections[symbol.Section]
	end := symbol.Value + symbol.Size
	if symbol.Size == 0 || symbol.Size%jumpTableSlot != 0 || end < symbol.Size || end > uint64(len(section.Data)) {
		return fmt.Errorf("%s: damaged table %q: it has %d bytes at %d, the section has %d", section, symbol.Name, symbol.Size, symbol.Value, len(section.Data))
	}
	for at := symbol.Value; at < end; at += jumpTableSlot {
		done, err := m.patch(section, at, s)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		entry := section.Data[at:]
		moved, err := s.moved(m.obj.Order.Uint64(entry), noEnd)
		if err != nil {
			return fmt.Errorf("%s: table %s: %w", section, symbol.Name, err)
		}
		m.obj.Order.PutUint64(entry, moved)
	}
	return nil
}

// pointer is a relocated place: its addend is the distance in bytes from a
// symbol to what is pointed at.
type pointer struct {
	raw   []byte
	order binary.ByteOrder
	form  pointerForm
}

type pointerForm int

const (
	formCall pointerForm = iota // slots from the slot after the symbol
	formLDDW
	formData // all of raw
)

func pointerIn(target *elfobj.Section, rel relocation, order binary.ByteOrder) (pointer, error) {
	if holdsCode(target) {
		return instructionPointer(target.Data, rel.offset, order)
	}
	width, known := dataWidth[rel.kind]
	if !known {
		return pointer{}, fmt.Errorf("unknown type %d of relocation", rel.kind)
	}
	if rel.offset > uint64(len(target.Data)) || uint64(len(target.Data))-rel.offset < width {
		return pointer{}, errTable
	}
	return pointer{target.Data[rel.offset:][:width], order, formData}, nil
}

// instructionPointer returns the pointer in the instruction at a byte of code.
func instructionPointer(code []byte, offset uint64, order binary.ByteOrder) (pointer, error) {
	if offset%insn.SlotSize != 0 || offset >= uint64(len(code)) {
		return pointer{}, errTable
	}
	raw := code[offset:]
	if len(raw) < insn.SlotSize {
		return pointer{}, errTable
	}
	switch ins := insn.Read(raw, order); {
	case ins.IsLocalCall():
		return pointer{raw, order, formCall}, nil
	case ins.Op == insn.LDDW && len(raw) >= 2*insn.SlotSize && uint64(ins.Imm)>>32 == 0:
		return pointer{raw, order, formLDDW}, nil
	}
	return pointer{}, errors.New("points at code, but from neither a call nor an LDDW")
}

func (p pointer) addend() int64 {
	switch {
	case p.form == formCall:
		return (insn.Read(p.raw, p.order).Imm + 1) * insn.SlotSize
	case p.form == formLDDW:
		return int64(int32(insn.Read(p.raw, p.order).Imm))
	case len(p.raw) == 8:
		return int64(p.order.Uint64(p.raw))
	default:
		return int64(int32(p.order.Uint32(p.raw)))
	}
}

// setAddend returns whether it fits.
func (p pointer) setAddend(addend int64) bool {
	if p.form == formData && len(p.raw) == 8 {
		p.order.PutUint64(p.raw, uint64(addend))
		return true
	}
	to := p.raw
	if p.form != formData {
		to = p.raw[insn.ImmediateAt:]
	}
	if p.form == formCall {
		addend = addend/insn.SlotSize - 1
	}
	if addend < math.MinInt32 || addend > math.MaxInt32 {
		return false
	}
	p.order.PutUint32(to, uint32(addend))
	return true
}

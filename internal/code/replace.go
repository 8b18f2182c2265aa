// Package code replaces instructions of a BPF object by others, of any number,
// and moves everything that points at an instruction along with it.
//
// What points at an instruction, and where:
//
//	jump, may_goto           offset of 16 bits, in slots from the next slot
//	gotol                    the same, with 32 bits
//	call in a section        immediate of 32 bits, in slots from the next slot
//	call, relocated          the same, from the start of its symbol
//	function's address       LDDW, relocated: bytes from the start of its symbol
//	pointer in data          4 or 8 bytes, relocated: bytes from its symbol
//	table of jumps           8 bytes each in .jumptables, from the section's start
//	symbol                   st_value, and st_size its end
//	relocation               r_offset
//	func_info, line_info,
//	core_relo                insn_off in .BTF.ext, in bytes
//	DWARF                    everywhere: it is removed, see Stale
//
// It also cuts functions out of an object, and puts functions, and instructions that
// refer to others, into one.
//
// The encodings are those of Documentation/bpf/standardization/instruction-set.rst
// of the kernel; how loaders read relocations is libbpf's
// bpf_program__record_reloc and bpf_object__reloc_code.
package code

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Replacement puts instructions in the place of one.
//
// What pointed at the instruction points at the first of Code then; if Code is
// empty, at what comes next.
type Replacement struct {
	// Slot is where the instruction starts that is replaced, in slots of 8
	// bytes from the start of its section. LDDW takes two slots and counts as
	// one instruction.
	Slot int

	// Code is encoded in the object's byte order. Jumps in it are relative, as
	// in any code, and stay inside or go to what follows it, except for Jumps.
	// Empty, it takes the instruction out.
	Code []byte

	// Jumps are the jumps in Code to an instruction outside of it (optional).
	// Their distance in Code does not matter.
	Jumps []Jump

	// Kept is the slot of Code which the relocation and the CO-RE record of the
	// replaced instruction, if it has any, are for now (optional). It has to be
	// of the same kind, with the same immediate. If negative, the relocation is
	// dropped, and the record goes with the first of Code.
	Kept int

	// Copies are the instructions of Code that are copies of others of the
	// section, by ascending At (optional). They get the same relocations, CO-RE
	// records and source lines, and jump to the same places unless Jumps says
	// otherwise.
	Copies []Copy

	// Attached is what Code brings along (optional).
	Attached *Attached
}

// attached returns what the code brings along, be it nothing.
func (r *Replacement) attached() *Attached {
	if r.Attached == nil {
		return new(Attached)
	}
	return r.Attached
}

// Jump is a jump, a call of a function or an LDDW of its address.
type Jump struct {
	At     int // slot in Code
	Target int // slot in the section as it was
	Into   int // slot of what Target is replaced by to go to (optional)
}

// Copy is an instruction that is there once more.
type Copy struct {
	At   int // slot in Code
	From int // slot in the section as it was
}

// Replace replaces instructions, given by the name of their section. ext is
// that of the object's .BTF.ext, nil if there is none; both it and the section
// are brought up to date.
//
// As long as every replacement is as long as what it replaces and brings nothing along,
// nothing but these bytes is changed. Otherwise DWARF sections, which would be wrong, are
// removed, and with them their symbols; and if there are new records, relocations of
// .BTF.ext, which no loader reads.
//
// Errors about an instruction are of type *Error; they wrap a *ReachError if it
// is a jump that can't be encoded anymore. After an error obj and ext are as
// they were.
func Replace(obj *elfobj.Object, ext *btfraw.Ext, replacements map[string][]Replacement) error {
	m := newMover(obj, ext)
	if err := m.readSections(replacements); err != nil {
		return m.describe(err)
	}
	change := m.move
	if !m.moves() {
		change = m.rewrite
	}
	if err := change(); err != nil {
		return m.describe(err)
	}
	m.commit()
	return nil
}

// mover works on a copy of an object.
type mover struct {
	old    *elfobj.Object
	oldExt *btfraw.Ext

	obj     *elfobj.Object
	adopt   func()      // makes old what has become of obj
	ext     *btfraw.Ext // nil if it stays
	symbols []int       // by index in old's Symbols that in obj's

	sections []*section // those with replacements, by name
	byIndex  map[int]*section
	patched  map[place]*section
}

func newMover(obj *elfobj.Object, ext *btfraw.Ext) *mover {
	m := &mover{
		old:     obj,
		oldExt:  ext,
		byIndex: make(map[int]*section),
		patched: make(map[place]*section),
	}
	m.obj, m.adopt = obj.Draft()
	return m
}

func (m *mover) readSections(replacements map[string][]Replacement) error {
	for _, section := range m.obj.Sections {
		if section.Flags&elf.SHF_COMPRESSED != 0 && !Stale(section) {
			return fmt.Errorf("section %s is compressed, which no loader reads", section)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(replacements)) {
		if len(replacements[name]) == 0 {
			continue
		}
		found, err := findCode(m.obj, name)
		if err != nil {
			return err
		}
		s, err := newSection(found, m.obj.Order, replacements[name])
		if err != nil {
			return err
		}
		m.sections = append(m.sections, s)
	}
	m.index()
	if err := m.markRelocated(); err != nil {
		return err
	}
	for _, s := range m.sections {
		if err := s.checkReplacements(); err != nil {
			return err
		}
	}
	return nil
}

func (m *mover) index() {
	clear(m.byIndex)
	for _, s := range m.sections {
		m.byIndex[s.elf.Index] = s
	}
}

// findCode returns the section with code of that name. .BTF.ext knows sections by their
// names only, so that two of the same can't be told apart.
func findCode(obj *elfobj.Object, name string) (*elfobj.Section, error) {
	var found *elfobj.Section
	for _, section := range obj.Sections {
		switch {
		case section.Name != name || section.Type != elf.SHT_PROGBITS:
			continue
		case found != nil:
			return nil, fmt.Errorf("the object has two sections %s", name)
		}
		found = section
	}
	if found == nil || !holdsCode(found) {
		return nil, fmt.Errorf("the object has no section %s with code", name)
	}
	return found, nil
}

func holdsCode(section *elfobj.Section) bool { return section.Flags&elf.SHF_EXECINSTR != 0 }

func (m *mover) moves() bool {
	return slices.ContainsFunc(m.sections, func(s *section) bool { return s.moves })
}

// rewrite changes the bytes of replaced instructions only.
func (m *mover) rewrite() error {
	for _, s := range m.sections {
		for i := range s.replacements {
			copy(s.elf.Data[s.replacements[i].Slot*insn.SlotSize:], s.replacements[i].Code)
			if err := s.setJumps(&s.replacements[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mover) move() (err error) {
	brings := m.bringsRecords()
	m.symbols, err = m.obj.Remove(func(section *elfobj.Section) bool {
		return Stale(section) || brings && m.isRelocationOfExt(section)
	})
	if err != nil {
		return err
	}
	m.index()
	for _, s := range m.sections {
		if err := s.rebuild(); err != nil {
			return err
		}
	}
	if err := m.moveRelocations(); err != nil {
		return err
	}
	if err := m.bringRelocations(); err != nil {
		return err
	}
	if err := m.moveSymbols(); err != nil {
		return err
	}
	return m.moveExt()
}

// Stale reports whether a section is about places in the code in a form that
// isn't moved: DWARF, and its call frames by their other name. No loader reads
// either; a debugger would be misled.
func Stale(section *elfobj.Section) bool {
	return strings.HasPrefix(section.Name, ".debug_") || section.Name == ".eh_frame"
}

// moveSymbols moves the start and the end of each symbol.
func (m *mover) moveSymbols() error {
	for i, symbol := range m.obj.Symbols {
		s := m.sectionOf(&symbol)
		if s == nil {
			continue
		}
		start, err := s.moved(symbol.Value, orEnd)
		if err != nil {
			return fmt.Errorf("symbol %s of section %s: %w", symbol.Name, s.elf, err)
		}
		if symbol.Size > uint64(len(s.old)) {
			return fmt.Errorf("end of symbol %s of section %s: %w", symbol.Name, s.elf, errOutside)
		}
		end, err := s.moved(symbol.Value+symbol.Size, orEnd)
		if err != nil {
			return fmt.Errorf("end of symbol %s of section %s: %w", symbol.Name, s.elf, err)
		}
		symbol.Value, symbol.Size = start, end-start
		if err := m.obj.SetSymbol(i, symbol); err != nil {
			return err
		}
	}
	return nil
}

// sectionOf returns the section with replacements that the symbol is in, or
// nil.
func (m *mover) sectionOf(symbol *elf.Symbol) *section {
	if symbol.Section == elf.SHN_UNDEF || symbol.Section >= elf.SHN_LORESERVE {
		return nil
	}
	return m.byIndex[int(symbol.Section)]
}

// endOf returns where a section ends now, in bytes.
func (m *mover) endOf(name string) uint32 {
	for _, s := range m.sections {
		if s.elf.Name == name {
			return uint32(s.starts[s.slots()]) * insn.SlotSize
		}
	}
	return math.MaxUint32 // nothing is taken out there
}

func (m *mover) moveExt() error {
	section := m.obj.Section(".BTF.ext")
	switch {
	case section == nil && m.bringsRecords():
		return errors.New("the object has no .BTF.ext for the records of what is put into it: compile with -g")
	case section == nil:
		return nil
	case m.oldExt == nil:
		return errors.New("the object has a .BTF.ext that was not read")
	case !bytes.Equal(section.Data, m.oldExt.Bytes()):
		return errors.New("the object has another .BTF.ext than the one that was read")
	}
	raw := m.obj.Section(".BTF")
	if raw == nil {
		return errors.New("damaged object: .BTF.ext without .BTF")
	}
	types, err := btfraw.Parse(raw.Data, nil)
	if err != nil {
		return err
	}
	moved, err := m.oldExt.Moved(types, m.whereRecord())
	if err != nil {
		return fmt.Errorf(".BTF.ext: %w", err)
	}
	data, where := moved.WithoutDoubleLines(m.endOf)
	if m.ext, err = btfraw.ParseExt(data, types); err != nil {
		return fmt.Errorf(".BTF.ext: %w", err)
	}
	section.Data = data
	if err := m.obj.MoveRelocations(section, where); err != nil {
		return err
	}
	if copies := m.copies(); len(copies) > 0 {
		if err := m.copyRecords(section, types, copies); err != nil {
			return err
		}
	}
	return m.bringRecords(section, raw)
}

// whereRecord returns where a record of .BTF.ext goes: that of a function or
// line to the first instruction, a CO-RE record to the one that is kept. The
// line of an instruction that is taken out goes unless what comes next has none.
func (m *mover) whereRecord() func(btfraw.Table, string, uint32) (uint32, error) {
	byName := make(map[string]*section)
	for _, s := range m.sections {
		byName[s.elf.Name] = s
	}
	return func(table btfraw.Table, name string, offset uint32) (uint32, error) {
		s, ok := byName[name]
		if !ok {
			return offset, nil
		}
		start, err := s.moved(uint64(offset), noEnd)
		if err == nil && table == btfraw.COREReloInfo {
			start += uint64(max(s.kept(int(offset/insn.SlotSize)), 0)) * insn.SlotSize
		}
		return uint32(start), err
	}
}

// commit makes the copy the object.
func (m *mover) commit() {
	m.adopt()
	if m.ext != nil {
		*m.oldExt = *m.ext
	}
}

package bpf

import (
	"debug/elf"
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Section is one section of an object.
type Section struct {
	*elfobj.Section // nil if the object has none of that name
	object          *Object

	linked  insn.Slots
	symbols map[int]elf.Symbol
	kfuncs  map[int]string
	starts  []int        // of functions
	globals map[int]bool // those that the kernel takes for global
	table   []int

	addresses, results map[int]flow.Region
}

// IsCode reports whether the section consists of instructions.
func (s *Section) IsCode() bool { return s.Section != nil && HoldsCode(s.Section) }

// Slots returns how many slots of instructions the section has.
func (s *Section) Slots() int { return len(s.Data) / insn.SlotSize }

// from returns the code from a slot on.
func (s *Section) from(slot int) []byte { return s.Data[slot*insn.SlotSize:] }

// Instruction returns the one that starts at a slot.
func (s *Section) Instruction(slot int) (asm.Instruction, error) {
	return insn.ToAsm(s.from(slot), s.object.Order())
}

// Read returns the same as it is encoded, whatever it is.
func (s *Section) Read(slot int) insn.Instruction { return insn.Read(s.from(slot), s.object.Order()) }

// Mentions reports whether the instruction at a slot reads or writes a register. One that
// is not understood may.
func (s *Section) Mentions(slot int, register asm.Register) bool {
	ins, err := insn.Decode(s.from(slot), s.object.Order())
	return err != nil || (ins.Uses | ins.Defs).Has(register)
}

// IsMemoryAt reports whether the instruction at a slot is a load or store.
func (s *Section) IsMemoryAt(slot int) bool {
	if s.Section == nil || slot >= s.Slots() {
		return false
	}
	ins := s.Read(slot)
	return ins.IsMemory()
}

// IsStoreAt reports whether the instruction at a slot writes to memory, be it that it
// reads there as well.
func (s *Section) IsStoreAt(slot int) bool {
	ins := s.Read(slot)
	return ins.Class() == insn.ClassST || ins.Class() == insn.ClassSTX
}

func (s *Section) needsVersion4() bool {
	for slot := 0; slot < s.Slots(); {
		ins := s.Read(slot)
		if ins.NeedsVersion4() {
			return true
		}
		slot += ins.Slots()
	}
	return false
}

// Linked returns the slots that ELF relocations patch.
func (s *Section) Linked() insn.Slots {
	if s.linked == nil {
		s.linked = insn.Slots{}
		for rel := range s.object.File.Rels(s.object.File.Relocations(s.Section)) {
			if slot := rel.Offset / insn.SlotSize; slot < uint64(s.Slots()) { // else the object is damaged
				s.linked.Add(int(slot))
			}
		}
	}
	return s.linked
}

// Symbols returns the symbol of each slot that an ELF relocation patches.
func (s *Section) Symbols() map[int]elf.Symbol {
	if s.symbols == nil {
		s.symbols = make(map[int]elf.Symbol)
		for rel := range s.object.File.Rels(s.object.File.Relocations(s.Section)) {
			if rel.Symbol != nil {
				s.symbols[int(rel.Offset/insn.SlotSize)] = *rel.Symbol
			}
		}
	}
	return s.symbols
}

// References returns the functions that the code in some slots calls or takes the
// address of, by slot.
func (s *Section) References(start, end int) map[int]Place {
	symbols, functions := s.Symbols(), make(map[int]Place)
	for slot := start; slot < end; slot++ {
		ins := s.Read(slot)
		immediate := int(int32(ins.Imm))
		symbol, relocated := symbols[slot]
		isCall, inSection := ins.IsLocalCall(), elf.ST_TYPE(symbol.Info) == elf.STT_SECTION
		switch {
		case isCall && !relocated:
			functions[slot] = Place{s.Name, slot + 1 + immediate}
		case isCall && inSection:
			functions[slot] = Place{s.object.sectionName(symbol), immediate + 1}
		case relocated && inSection:
			functions[slot] = Place{s.object.sectionName(symbol), immediate / insn.SlotSize}
		case relocated:
			functions[slot] = Place{s.object.sectionName(symbol), int(symbol.Value / insn.SlotSize)}
		}
	}
	return functions
}

// KFuncs returns the names of the kernel's functions that are called, by slot.
func (s *Section) KFuncs() map[int]string {
	if s.kfuncs != nil {
		return s.kfuncs
	}
	s.kfuncs = make(map[int]string)
	for slot, symbol := range s.Symbols() {
		if symbol.Section != elf.SHN_UNDEF || slot >= s.Slots() {
			continue
		}
		if ins := s.Read(slot); ins.IsCall() {
			s.kfuncs[slot] = symbol.Name
		}
	}
	return s.kfuncs
}

// Starts returns the slots where functions start, ascending; one that has two symbols is
// there twice. Of a damaged object some may be beyond the section.
func (s *Section) Starts() []int {
	if s.starts == nil {
		s.starts, s.globals = []int{}, make(map[int]bool)
		for _, symbol := range s.object.File.Functions(s.Section) {
			slot := int(symbol.Value / insn.SlotSize)
			s.starts = append(s.starts, slot)
			s.globals[slot] = s.globals[slot] || isGlobal(symbol) && !isHidden(symbol)
		}
	}
	return s.starts
}

// startsAt reports whether a function starts at a slot.
func (s *Section) startsAt(slot int) bool {
	_, starts := slices.BinarySearch(s.Starts(), slot)
	return starts
}

// startOf returns where the function starts that a slot is in, and whether it is in one.
func (s *Section) startOf(slot int) (int, bool) {
	next, _ := slices.BinarySearch(s.Starts(), slot+1)
	if next == 0 {
		return 0, false
	}
	return s.Starts()[next-1], true
}

// end returns where the function ends that starts at a slot: where the next one starts,
// or the section ends.
func (s *Section) end(start int) int {
	starts := s.Starts()
	if next, _ := slices.BinarySearch(starts, start+1); next < len(starts) {
		return min(starts[next], s.Slots()) // a damaged object has symbols beyond
	}
	return s.Slots()
}

// isGlobalAt reports whether the function that starts at a slot is a global one for the
// kernel.
func (s *Section) isGlobalAt(slot int) bool {
	s.Starts()
	return s.globals[slot]
}

// jumpTable returns the slots that the section's tables of jumps lead to: 8 bytes in
// .jumptables for each, in bytes from the section's start (create_jt_map of libbpf). It
// returns none if gotox may lead elsewhere, too.
func (s *Section) jumpTable() []int {
	if s.table != nil {
		return s.table
	}
	s.table = []int{}
	seen, slots := make(map[elf.Symbol]bool), make(map[int]bool) // a damaged object has one table under many names
	for _, symbol := range s.Symbols() {
		if seen[symbol] || s.object.sectionName(symbol) != ".jumptables" {
			continue
		}
		seen[symbol] = true
		table := s.object.File.Sections[symbol.Section].Data
		start := min(symbol.Value, uint64(len(table)))
		size := min(symbol.Size, uint64(len(table))-start)
		for entry := table[start:][:size]; len(entry) >= 8; entry = entry[8:] {
			slots[int(s.object.Order().Uint64(entry)/insn.SlotSize)] = true
		}
	}
	if len(slots) > 0 && !s.hasLabels() {
		s.table = slices.Sorted(maps.Keys(slots))
	}
	return s.table
}

// hasLabels reports whether data of the program's own points into a function of the
// section, as static void *labels[] = { &&here, &&there } does.
func (s *Section) hasLabels() bool {
	file := s.object.File
	for _, table := range file.Sections {
		if table.Type != elf.SHT_REL || int(table.Info) >= len(file.Sections) {
			continue
		}
		data := file.Sections[table.Info]
		if data.Flags&elf.SHF_ALLOC == 0 || HoldsCode(data) { // .BTF.ext, DWARF; calls
			continue
		}
		for rel := range file.Rels(table) {
			if s.isLabel(data, rel) {
				return true
			}
		}
	}
	return false
}

// isLabel reports whether a place in data, which an ELF relocation patches, points
// into the section where no function starts.
func (s *Section) isLabel(data *elfobj.Section, rel elfobj.Rel) bool {
	if rel.Symbol == nil || int(rel.Symbol.Section) != s.Index {
		return false
	}
	if size := uint64(len(data.Data)); rel.Offset > size || size-rel.Offset < 8 {
		return true // no pointer, and nobody knows what
	}
	to := rel.Symbol.Value + s.object.Order().Uint64(data.Data[rel.Offset:])
	return !s.startsAt(int(to / insn.SlotSize))
}

// Addresses returns the regions that LDDW loads addresses in, by slot.
func (s *Section) Addresses() map[int]flow.Region {
	if s.addresses != nil {
		return s.addresses
	}
	symbols := s.Symbols()
	s.addresses = make(map[int]flow.Region, len(symbols))
	for slot, symbol := range symbols {
		section := s.object.sectionName(symbol)
		switch {
		case symbol.Section == elf.SHN_UNDEF:
			s.addresses[slot] = flow.Unknown
		case section == ".maps" || section == "maps":
			s.addresses[slot] = flow.Map
		default:
			s.addresses[slot] = flow.Data
		}
	}
	return s.addresses
}

// allocators are the kfuncs that return memory of the program's own.
var allocators = map[string]bool{"bpf_obj_new_impl": true, "bpf_percpu_obj_new_impl": true}

// Results returns the regions that the results of calls point into, by slot, as far as
// the name of what is called tells.
func (s *Section) Results() map[int]flow.Region {
	if s.results != nil {
		return s.results
	}
	s.results = make(map[int]flow.Region)
	for slot, name := range s.KFuncs() {
		if allocators[name] {
			s.results[slot] = flow.Heap
		}
	}
	return s.results
}

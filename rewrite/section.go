package rewrite

import (
	"debug/elf"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// section is what is known of one section with code. What it takes work to find
// out is nil until somebody asks.
type section struct {
	*elfobj.Section
	order binary.ByteOrder

	recorded map[int]bool         // slots that have a record, ours or not
	accessed map[int]bool         // those that are for a field, ours or not, or for the size of the descriptor
	theirs   map[int]string       // what records are about that are left to the loader, by slot
	answers  map[int]int64        // of the layout, by slot, to what is no question for an offset
	sizes    map[int]bool         // slots that hold a size of the descriptor
	others   map[int]bool         // and those that hold one of a struct in it
	planned  map[int]Instructions // by slot

	addresses, results map[int]flow.Region // see addressesIn and resultsIn

	linked  map[int]bool       // slots that the loader patches
	symbols map[int]elf.Symbol // that it patches them with
	kfuncs  map[int]string     // see kfuncsIn
	areas   []int              // calls of areaFunctions
	starts  []int              // of functions
	globals map[int]bool       // those that the kernel takes for global
	table   []int              // slots that gotox may lead to
}

// section returns the section of a name.
func (p *planner) section(name string) *section {
	s, ok := p.sections[name]
	if !ok {
		s = &section{
			Section:  p.object.Section(name),
			order:    p.order,
			recorded: make(map[int]bool),
			accessed: make(map[int]bool),
			theirs:   make(map[int]string),
			answers:  make(map[int]int64),
			sizes:    make(map[int]bool),
			others:   make(map[int]bool),
			planned:  make(map[int]Instructions),
		}
		p.sections[name] = s
	}
	return s
}

// at returns the code from a slot on.
func (s *section) at(slot int) []byte { return s.Data[slot*reloc.InstructionSize:] }

// instruction returns the one that starts at a slot.
func (s *section) instruction(slot int) (asm.Instruction, error) {
	return insn.ToAsm(s.at(slot), s.order)
}

// read returns the same as it is encoded, whatever it is.
func (s *section) read(slot int) insn.Instruction { return insn.Read(s.at(slot), s.order) }

// slots returns how many of reloc.InstructionSize the section has.
func (s *section) slots() int { return len(s.Data) / reloc.InstructionSize }

// linkedIn returns the slots of a section that ELF relocations patch.
func (p *planner) linkedIn(s *section) map[int]bool {
	if s.linked == nil {
		s.linked = make(map[int]bool)
		for rel := range p.object.Rels(p.object.Relocations(s.Section)) {
			s.linked[int(rel.Offset/reloc.InstructionSize)] = true
		}
	}
	return s.linked
}

// symbolsIn returns the symbol of each slot of a section that an ELF relocation
// patches.
func (p *planner) symbolsIn(s *section) map[int]elf.Symbol {
	if s.symbols == nil {
		s.symbols = make(map[int]elf.Symbol)
		for rel := range p.object.Rels(p.object.Relocations(s.Section)) {
			if rel.Symbol != nil {
				s.symbols[int(rel.Offset/reloc.InstructionSize)] = *rel.Symbol
			}
		}
	}
	return s.symbols
}

// sectionName returns the name of the section that a symbol is in.
func (p *planner) sectionName(symbol elf.Symbol) string {
	if index := int(symbol.Section); index < len(p.object.Sections) {
		return p.object.Sections[index].Name
	}
	return ""
}

// startsIn returns the slots where functions start in a section.
func (p *planner) startsIn(s *section) []int {
	if s.starts == nil {
		s.starts, s.globals = []int{}, make(map[int]bool)
		for _, symbol := range p.object.Functions(s.Section) {
			slot := int(symbol.Value / reloc.InstructionSize)
			s.starts = append(s.starts, slot)
			s.globals[slot] = s.globals[slot] || isGlobal(symbol) && !isHidden(symbol)
		}
	}
	return s.starts
}

// tableIn returns the slots of a section that its tables of jumps lead to: 8
// bytes in .jumptables for each, in bytes from the section's start (create_jt_map
// of libbpf). It returns none if gotox may lead elsewhere, too.
func (p *planner) tableIn(s *section) []int {
	if s.table != nil {
		return s.table
	}
	s.table = []int{}
	seen, slots := make(map[elf.Symbol]bool), make(map[int]bool) // a damaged object has one table under many names
	for _, symbol := range p.symbolsIn(s) {
		if seen[symbol] || p.sectionName(symbol) != ".jumptables" {
			continue
		}
		seen[symbol] = true
		table := p.object.Sections[symbol.Section].Data
		start := min(symbol.Value, uint64(len(table)))
		size := min(symbol.Size, uint64(len(table))-start)
		for entry := table[start:][:size]; len(entry) >= 8; entry = entry[8:] {
			slots[int(p.order.Uint64(entry)/reloc.InstructionSize)] = true
		}
	}
	if len(slots) > 0 && !p.hasLabels(s) {
		s.table = slices.Sorted(maps.Keys(slots))
	}
	return s.table
}

// hasLabels reports whether data of the program's own points into a function of a
// section, as static void *labels[] = { &&here, &&there } does.
func (p *planner) hasLabels(s *section) bool {
	for _, table := range p.object.Sections {
		if table.Type != elf.SHT_REL || int(table.Info) >= len(p.object.Sections) {
			continue
		}
		data := p.object.Sections[table.Info]
		if data.Flags&elf.SHF_ALLOC == 0 || holdsCode(data) { // .BTF.ext, DWARF; calls
			continue
		}
		for rel := range p.object.Rels(table) {
			if p.isLabel(s, data, rel) {
				return true
			}
		}
	}
	return false
}

// isLabel reports whether a place in data, which an ELF relocation patches, points
// into a section where no function starts.
func (p *planner) isLabel(s *section, data *elfobj.Section, rel elfobj.Rel) bool {
	if rel.Symbol == nil || int(rel.Symbol.Section) != s.Index {
		return false
	}
	if size := uint64(len(data.Data)); rel.Offset > size || size-rel.Offset < 8 {
		return true // no pointer, and nobody knows what
	}
	to := rel.Symbol.Value + p.order.Uint64(data.Data[rel.Offset:])
	_, isStart := slices.BinarySearch(p.startsIn(s), int(to/reloc.InstructionSize))
	return !isStart
}

// addressesIn returns the regions that LDDW loads addresses in, by slot.
func (p *planner) addressesIn(s *section) map[int]flow.Region {
	if s.addresses != nil {
		return s.addresses
	}
	symbols := p.symbolsIn(s)
	s.addresses = make(map[int]flow.Region, len(symbols))
	for slot, symbol := range symbols {
		section := p.sectionName(symbol)
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

// kfuncsIn returns the names of the kernel's functions that a section calls, by
// slot.
func (p *planner) kfuncsIn(s *section) map[int]string {
	if s.kfuncs != nil {
		return s.kfuncs
	}
	s.kfuncs = make(map[int]string)
	for slot, symbol := range p.symbolsIn(s) {
		if symbol.Section != elf.SHN_UNDEF || slot >= s.slots() {
			continue
		}
		if ins := s.read(slot); ins.IsCall() {
			s.kfuncs[slot] = symbol.Name
			if areaFunctions[symbol.Name] {
				s.areas = append(s.areas, slot)
			}
		}
	}
	slices.Sort(s.areas)
	return s.kfuncs
}

// allocators are the kfuncs that return memory of the program's own.
var allocators = map[string]bool{"bpf_obj_new_impl": true, "bpf_percpu_obj_new_impl": true}

// resultsIn returns the regions that the results of calls point into, by slot, as
// far as the name of what is called tells.
func (p *planner) resultsIn(s *section) map[int]flow.Region {
	if s.results != nil {
		return s.results
	}
	s.results = make(map[int]flow.Region)
	for slot, name := range p.kfuncsIn(s) {
		if allocators[name] {
			s.results[slot] = flow.Heap
		}
	}
	return s.results
}

// isMemoryAt reports whether the instruction at a slot is a load or store.
func (s *section) isMemoryAt(slot int) bool {
	if s.Section == nil || slot >= s.slots() {
		return false
	}
	ins := s.read(slot)
	return ins.IsMemory()
}

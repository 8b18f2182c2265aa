package rewrite

import (
	"debug/elf"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// program is what is known of all functions of an object once the layout has
// answered the questions in them.
type program struct {
	units     map[place]*flow.Unit // by where they start
	constants map[*flow.Unit]*flow.Constants

	// understood says that all functions are: otherwise nothing is known of who
	// calls a function and with what.
	understood bool
}

// analyze finds out what is constant and what can be reached in the object.
func (p *planner) analyze() *program {
	if p.program != nil {
		return p.program
	}
	p.program = &program{units: make(map[place]*flow.Unit), understood: true}
	var units []*flow.Unit
	for _, section := range p.object.Sections {
		if !holdsCode(section) {
			continue
		}
		undecided := p.undecided(section.Name)
		for _, symbol := range p.object.Functions(section) {
			at := place{section.Name, int(symbol.Value / reloc.InstructionSize)}
			unit := p.unit(at, section, symbol, undecided)
			if unit == nil {
				p.program.understood = false
				continue
			}
			if p.program.units[at] == nil {
				p.program.units[at] = unit
				units = append(units, unit)
			}
		}
	}
	for at, unit := range p.program.units {
		for slot, callee := range p.named(at.section, unit.Start(), unit.End()) {
			if called := p.program.units[callee]; called != nil {
				unit.Calls[slot] = called
			}
		}
	}
	if p.program.understood {
		p.program.constants = flow.Analyze(units)
		return p.program
	}
	p.program.constants = make(map[*flow.Unit]*flow.Constants, len(units))
	for _, unit := range units {
		p.program.constants[unit] = unit.Function.Constants(unit.Assumptions)
	}
	return p.program
}

// unit returns nil for a function that is not understood.
func (p *planner) unit(at place, section *elfobj.Section, symbol elf.Symbol, undecided map[int]bool) *flow.Unit {
	fn := p.functionAt(at)
	if fn.err != nil {
		return nil
	}
	// Global functions in .text are verified on their own, whoever calls them.
	entered := fn.isProgram || elf.ST_BIND(symbol.Info) != elf.STB_LOCAL
	return &flow.Unit{
		Function: fn.flow,
		Assumptions: flow.Assumptions{
			Known:     p.known[section.Name],
			Undecided: undecided,
			Linked:    p.linked(section),
			Program:   entered,
		},
		Calls: make(map[int]*flow.Unit),
	}
}

// undecided returns the slots of a section with a record whose value is not
// known.
func (p *planner) undecided(section string) map[int]bool {
	slots := maps.Clone(p.recorded[section])
	for slot := range p.known[section] {
		delete(slots, slot)
	}
	return slots
}

// Encodings of what refers to a function
// (Documentation/bpf/standardization/instruction-set.rst).
const (
	opCall     = 0x85
	pseudoCall = 1 // in the source register: a function of the object
)

// isCall reports whether an instruction calls a function of the object.
func (p *planner) isCall(raw []byte) bool { return raw[0] == opCall && p.sourceOf(raw) == pseudoCall }

// named returns the functions that instructions call or take the address of.
func (p *planner) named(sectionName string, start, end int) map[int]place {
	section := p.object.Section(sectionName)
	symbols, functions := p.relocationSymbols(section), make(map[int]place)
	for slot := start; slot < end; slot++ {
		raw := section.Data[slot*reloc.InstructionSize:][:reloc.InstructionSize]
		immediate := int(int32(p.order.Uint32(raw[4:])))
		symbol, relocated := symbols[slot]
		isCall, inSection := p.isCall(raw), elf.ST_TYPE(symbol.Info) == elf.STT_SECTION
		switch {
		case isCall && !relocated:
			functions[slot] = place{sectionName, slot + 1 + immediate}
		case isCall && inSection:
			functions[slot] = place{p.sectionName(symbol), immediate + 1}
		case relocated && inSection:
			functions[slot] = place{p.sectionName(symbol), immediate / reloc.InstructionSize}
		case relocated:
			functions[slot] = place{p.sectionName(symbol), int(symbol.Value / reloc.InstructionSize)}
		}
	}
	return functions
}

// declareCalls says of each call in a function how many arguments the called one
// reads.
func (p *planner) declareCalls(fn *function) {
	code := p.object.Section(fn.section).Data
	called := p.named(fn.section, fn.flow.Start(), fn.flow.End())
	for _, slot := range slices.Sorted(maps.Keys(called)) {
		at := called[slot]
		if !p.isCall(code[slot*reloc.InstructionSize:]) || !p.isFunction(at) {
			continue
		}
		if callee := p.functionAt(at); callee.err == nil {
			fn.flow.Declare(slot, callee.reads())
		}
	}
}

// isFunction reports whether a function starts at a place.
func (p *planner) isFunction(at place) bool {
	section := p.object.Section(at.section)
	if section == nil || !holdsCode(section) {
		return false
	}
	_, found := slices.BinarySearch(p.startsIn(section), at.slot)
	return found && at.slot < len(section.Data)/reloc.InstructionSize
}

func (p *planner) sourceOf(raw []byte) byte {
	if p.order.Uint16([]byte{0, 1}) == 1 { // big endian: source in the low half
		return raw[1] & 0xf
	}
	return raw[1] >> 4
}

func (p *planner) sectionName(symbol elf.Symbol) string {
	if index := int(symbol.Section); index < len(p.object.Sections) {
		return p.object.Sections[index].Name
	}
	return ""
}

// relocationSymbols returns the symbol of each slot of a section that an ELF
// relocation patches.
func (p *planner) relocationSymbols(section *elfobj.Section) map[int]elf.Symbol {
	if symbols, ok := p.symbols[section]; ok {
		return symbols
	}
	symbols := make(map[int]elf.Symbol)
	p.symbols[section] = symbols
	table := p.object.Relocations(section)
	if table == nil {
		return symbols
	}
	for data := table.Data; len(data) >= elfobj.RelSize; data = data[elfobj.RelSize:] {
		// Symbol 0 is not among the symbols of package elf.
		index := int(elf.R_SYM64(p.order.Uint64(data[8:]))) - 1
		if index >= 0 && index < len(p.object.Symbols) {
			symbols[int(p.order.Uint64(data)/reloc.InstructionSize)] = p.object.Symbols[index]
		}
	}
	return symbols
}

// constantsAt returns what is known of the function of an access under the
// layout. ok is false if its code is not understood; constants is nil if the
// function can't be reached.
func (p *planner) constantsAt(access *reloc.Access) (constants *flow.Constants, ok bool) {
	program := p.analyze()
	unit := program.units[place{access.Section, access.FunctionStart}]
	if unit == nil {
		return nil, false
	}
	return program.constants[unit], true
}

package rewrite

import (
	"debug/elf"
	"maps"
	"slices"

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
		undecided := p.section(section.Name).undecided()
		for _, symbol := range p.object.Functions(section) {
			at := place{section.Name, int(symbol.Value / reloc.InstructionSize)}
			unit := p.unit(p.functionAt(at), symbol, undecided)
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
		for slot, callee := range p.named(p.functionAt(at)) {
			if called := p.program.units[callee]; called != nil {
				unit.Calls[slot] = called
			} else if section := p.object.Section(callee.section); section != nil && holdsCode(section) {
				p.program.understood = false // its symbol was stripped
			}
		}
	}
	if p.program.understood {
		p.program.constants = flow.Analyze(units)
		return p.program
	}
	p.program.constants = make(map[*flow.Unit]*flow.Constants, len(units))
	for _, unit := range units {
		unit.Alone = true
		p.program.constants[unit] = unit.Function.Constants(unit.Assumptions)
	}
	return p.program
}

// unit returns nil for a function that is not understood.
func (p *planner) unit(fn *function, symbol elf.Symbol, undecided map[int]bool) *flow.Unit {
	if fn.err != nil {
		return nil
	}
	// Global functions in .text are verified on their own, whoever calls them.
	entered := fn.isProgram || elf.ST_BIND(symbol.Info) != elf.STB_LOCAL
	return &flow.Unit{
		Function: fn.flow,
		Assumptions: flow.Assumptions{
			Known:     fn.section.answers,
			Undecided: undecided,
			Linked:    p.linkedIn(fn.section),
			Program:   entered,
		},
		Calls: make(map[int]*flow.Unit),
	}
}

// undecided returns the slots with a record whose value is not known.
func (s *section) undecided() map[int]bool {
	slots := maps.Clone(s.recorded)
	for slot := range s.answers {
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

// named returns the functions that a function calls or takes the address of, by
// slot.
func (p *planner) named(fn *function) map[int]place {
	symbols, functions := p.symbolsIn(fn.section), make(map[int]place)
	for slot := fn.start; slot < fn.end; slot++ {
		raw := fn.section.at(slot)
		immediate := int(int32(p.order.Uint32(raw[4:])))
		symbol, relocated := symbols[slot]
		isCall, inSection := p.isCall(raw), elf.ST_TYPE(symbol.Info) == elf.STT_SECTION
		switch {
		case isCall && !relocated:
			functions[slot] = place{fn.section.Name, slot + 1 + immediate}
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
	called := p.named(fn)
	for _, slot := range slices.Sorted(maps.Keys(called)) {
		at := called[slot]
		if !p.isCall(fn.section.at(slot)) || !p.isFunction(at) {
			continue
		}
		if callee := p.functionAt(at); callee.err == nil {
			fn.flow.Declare(slot, callee.reads())
		}
	}
}

func (p *planner) sourceOf(raw []byte) byte {
	if p.order.Uint16([]byte{0, 1}) == 1 { // big endian: source in the low half
		return raw[1] & 0xf
	}
	return raw[1] >> 4
}

// constantsAt returns what is known of the function of an access under the
// layout. ok is false if its code is not understood; constants is nil if the
// function can't be reached.
func (p *planner) constantsAt(access *reloc.Access) (constants *flow.Constants, ok bool) {
	program := p.analyze()
	unit := program.units[placeOf(access)]
	if unit == nil {
		return nil, false
	}
	return program.constants[unit], true
}

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
	order     []place              // where the functions start that are understood
	units     map[place]*flow.Unit // the same functions
	places    map[*flow.Unit]place // and where each starts
	constants map[*flow.Unit]*flow.Constants
	pointers  *flow.Pointers

	// understood says that all functions are: otherwise nothing is known of who
	// calls a function and with what.
	understood bool
}

// analyze finds out what is constant and what can be reached in the object.
func (p *planner) analyze() *program {
	if p.program != nil {
		return p.program
	}
	p.program = &program{units: make(map[place]*flow.Unit), places: make(map[*flow.Unit]place), understood: true}
	var units []*flow.Unit
	for _, section := range p.object.Sections {
		if !holdsCode(section) {
			continue
		}
		undecided := p.section(section.Name).undecided()
		for _, symbol := range p.object.Functions(section) {
			at := place{section.Name, int(symbol.Value / reloc.InstructionSize)}
			unit := p.unit(p.functionAt(at), undecided)
			if unit == nil {
				p.program.understood = false
				continue
			}
			if p.program.units[at] == nil {
				p.program.order = append(p.program.order, at)
				p.program.units[at], p.program.places[unit] = unit, at
				units = append(units, unit)
			}
		}
	}
	for _, at := range p.program.order {
		unit := p.program.units[at]
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
	} else {
		p.program.constants = make(map[*flow.Unit]*flow.Constants, len(units))
		for _, unit := range units {
			unit.Alone = true
			p.program.constants[unit] = unit.Function.Constants(unit.Assumptions)
		}
	}
	p.program.pointers = flow.FindPointers(units, p.program.constants)
	return p.program
}

// unit returns nil for a function that is not understood.
func (p *planner) unit(fn *function, undecided map[int]bool) *flow.Unit {
	if fn.err != nil {
		return nil
	}
	unit := &flow.Unit{
		Function: fn.flow,
		Assumptions: flow.Assumptions{
			Known:     fn.section.answers,
			Undecided: undecided,
			Linked:    p.linkedIn(fn.section),
			OwnSums:   p.ownSums[place{fn.section.Name, fn.start}],
			Program:   p.isEntered(fn),
		},
		PointerAssumptions: flow.PointerAssumptions{
			Entry:      fn.isProgram,
			Context:    p.contextOf(fn),
			Parameters: p.parametersOf(fn),
			Addresses:  p.addressesIn(fn.section),
			Results:    p.resultsIn(fn.section),
			Offsets:    make(map[int]bool, len(fn.offsets)),
			Sizes:      fn.section.sizes,
			OtherSizes: fn.section.others,
			Nested:     make(map[int]bool),
		},
		Calls: make(map[int]*flow.Unit),
	}
	for slot, q := range fn.offsets {
		unit.Offsets[slot] = true
		unit.Nested[slot] = q.access.Adopted()
	}
	for slot := range fn.unknown {
		unit.Offsets[slot] = true
	}
	return unit
}

// isEntered reports whether a function is looked at by itself: because it is a program,
// because it is global, as the kernel verifies such functions on their own, or because
// no other function calls it.
func (p *planner) isEntered(fn *function) bool {
	return fn.isProgram || fn.isGlobal || !p.called()[place{fn.section.Name, fn.start}]
}

// undecided returns the slots with a record whose value is not known.
func (s *section) undecided() map[int]bool {
	slots := maps.Clone(s.recorded)
	for slot := range s.answers {
		delete(slots, slot)
	}
	return slots
}

// named returns the functions that a function calls or takes the address of, by
// slot.
func (p *planner) named(fn *function) map[int]place {
	return p.namedIn(fn.section, fn.start, fn.end)
}

// namedIn returns the functions that the code in some slots of a section calls or
// takes the address of, by slot.
func (p *planner) namedIn(s *section, start, end int) map[int]place {
	symbols, functions := p.symbolsIn(s), make(map[int]place)
	for slot := start; slot < end; slot++ {
		ins := s.read(slot)
		immediate := int(int32(ins.Imm))
		symbol, relocated := symbols[slot]
		isCall, inSection := ins.IsLocalCall(), elf.ST_TYPE(symbol.Info) == elf.STT_SECTION
		switch {
		case isCall && !relocated:
			functions[slot] = place{s.Name, slot + 1 + immediate}
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
// takes.
func (p *planner) declareCalls(fn *function) {
	called := p.named(fn)
	for _, slot := range slices.Sorted(maps.Keys(called)) {
		at := called[slot]
		if ins := fn.section.read(slot); !ins.IsLocalCall() || !p.isFunction(at) {
			continue
		}
		if callee := p.functionAt(at); callee.err == nil {
			fn.flow.Declare(slot, p.takes(callee))
		}
	}
	for slot, kfunc := range p.kfuncsIn(fn.section) {
		if prototype, ok := p.recorded.Extern(kfunc); ok {
			fn.flow.Declare(slot, min(len(prototype.Parameters), 5))
		}
	}
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

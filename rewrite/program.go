package rewrite

import (
	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// program is what is known of all functions of an object once the layout has
// answered the questions in them.
type program struct {
	order     []bpf.Place              // where the functions start that are understood
	units     map[bpf.Place]*flow.Unit // the same functions
	places    map[*flow.Unit]bpf.Place // and where each starts
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
	p.program = &program{units: make(map[bpf.Place]*flow.Unit), places: make(map[*flow.Unit]bpf.Place), understood: true}
	var units []*flow.Unit
	for _, section := range p.object.Code() {
		undecided := p.section(section.Name).undecided()
		for _, start := range section.Starts() {
			at := bpf.Place{Section: section.Name, Slot: start}
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
		for slot, callee := range p.functionAt(at).References() {
			if called := p.program.units[callee]; called != nil {
				unit.Calls[slot] = called
			} else if p.object.Section(callee.Section).IsCode() {
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
	if fn.Err != nil {
		return nil
	}
	unit := &flow.Unit{
		Function: fn.Flow,
		Assumptions: flow.Assumptions{
			Known:     fn.section.answers,
			Undecided: undecided,
			Linked:    fn.section.Linked(),
			OwnSums:   p.ownSums[fn.Place()],
			Program:   fn.IsEntered(),
		},
		PointerAssumptions: flow.PointerAssumptions{
			Entry:      fn.IsProgram,
			Context:    fn.Context(),
			Parameters: fn.Parameters(),
			Addresses:  fn.section.Addresses(),
			Results:    fn.section.Results(),
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

package rewrite

import (
	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// program is what is known of all functions of an object once the layout has
// answered the questions in them.
type program struct {
	order     []bpf.Place                    // where the functions start that are understood
	subs      map[bpf.Place]*flow.Subprogram // the same functions
	places    map[*flow.Subprogram]bpf.Place // and where each starts
	constants map[*flow.Subprogram]*flow.Constants
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
	p.program = &program{subs: make(map[bpf.Place]*flow.Subprogram), places: make(map[*flow.Subprogram]bpf.Place), understood: true}
	var subs []*flow.Subprogram
	for _, section := range p.object.Code() {
		undecided := p.section(section.Name).undecided()
		for _, start := range section.Starts() {
			at := bpf.Place{Section: section.Name, Slot: start}
			sub := p.subprogram(p.functionAt(at), undecided)
			if sub == nil {
				p.program.understood = false
				continue
			}
			if p.program.subs[at] == nil {
				p.program.order = append(p.program.order, at)
				p.program.subs[at], p.program.places[sub] = sub, at
				subs = append(subs, sub)
			}
		}
	}
	for _, at := range p.program.order {
		sub := p.program.subs[at]
		for slot, callee := range p.functionAt(at).References() {
			if called := p.program.subs[callee]; called != nil {
				sub.Calls[slot] = called
			} else if p.object.Section(callee.Section).IsCode() {
				p.program.understood = false // its symbol was stripped
			}
		}
	}
	if p.program.understood {
		p.program.constants = flow.Analyze(subs)
	} else {
		p.program.constants = make(map[*flow.Subprogram]*flow.Constants, len(subs))
		for _, sub := range subs {
			sub.Alone = true
			p.program.constants[sub] = sub.Function.Constants(sub.Assumptions)
		}
	}
	p.program.pointers = flow.FindPointers(subs, p.program.constants)
	return p.program
}

// subprogram returns a function for flow, nil if it is not understood.
func (p *planner) subprogram(fn *function, undecided insn.Slots) *flow.Subprogram {
	if fn.Err != nil {
		return nil
	}
	p.noteDescriptorLoads(fn)
	sub := &flow.Subprogram{
		Function: fn.Flow,
		Assumptions: flow.Assumptions{
			Known:     fn.section.answers,
			Undecided: undecided,
			Linked:    fn.section.Linked(),
			OwnSums:   p.ownSums[fn.Place()],
			Extents:   p.extents(fn),
			Relocated: fn.section.left,
			Program:   fn.IsEntered(),
		},
		PointerAssumptions: flow.PointerAssumptions{
			Entry:      fn.IsProgram,
			Global:     fn.IsGlobal && !fn.IsProgram,
			Movers:     fn.movers(),
			Context:    fn.Context(),
			Parameters: fn.Parameters(),
			Addresses:  fn.section.Addresses(),
			Results:    fn.section.Results(),
			Loads:      fn.section.loads,
			Offsets:    make(map[int]bool, len(fn.offsets)),
			Sizes:      fn.section.sizes,
			OtherSizes: fn.section.others,
			Nested:     make(map[int]bool),
		},
		Calls: make(map[int]*flow.Subprogram),
	}
	for slot, q := range fn.offsets {
		sub.Offsets[slot] = true
		sub.Nested[slot] = q.access.Adopted()
	}
	for slot := range fn.unknown {
		sub.Offsets[slot] = true
	}
	return sub
}

// constantsAt returns what is known of the function of an access under the
// layout. ok is false if its code is not understood; constants is nil if the
// function can't be reached.
func (p *planner) constantsAt(access *reloc.Access) (constants *flow.Constants, ok bool) {
	program := p.analyze()
	sub := program.subs[functionPlace(access)]
	if sub == nil {
		return nil, false
	}
	return program.constants[sub], true
}

package rewrite

import (
	"sort"
	"strings"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// function is what is known of one function of the object. What it takes work to
// find out is unset until somebody asks.
type function struct {
	section    *section
	start, end int  // slots, the end exclusive
	isProgram  bool // the kernel calls it, whether another function does or not
	isGlobal   bool
	flow       *flow.Function
	err        error // set if its code is not understood, flow is nil then

	arguments      int // that it reads
	argumentsKnown bool
	live           *flow.Liveness
	constants      *flow.Constants // as long as nothing is known of the layout
	guards         *flow.Guards
	guardsKnown    bool
	depth          int     // that it uses the stack to, with what is spilled
	frames         *frames // nil as long as nothing was spilled anywhere

	sizes map[int64]bool // of the program's structs that are descriptors, and that it accesses

	*questions
	unanswered *reached // by what is recorded, whatever the layout answers
	uses       *uses
	units      map[fieldName][]int64 // where the access unit of a bit-field may begin, see unitStarts
	assigned   map[int]stored        // what becomes of stores to bit-fields, by slot, see assignBits
}

// function returns the function that an access is in.
func (p *planner) function(access *reloc.Access) *function { return p.functionAt(placeOf(access)) }

// functionAt returns the function that starts at a place.
func (p *planner) functionAt(at place) *function {
	if fn, ok := p.functions[at]; ok {
		return fn
	}
	fn := &function{
		section:   p.section(at.section),
		start:     at.slot,
		isProgram: p.programs()[at],
		isGlobal:  p.isGlobal(at),
		questions: p.questionsAt(at),
		units:     make(map[fieldName][]int64),
		assigned:  make(map[int]stored),
		sizes:     p.sizes[at],
	}
	fn.end = p.functionEnd(fn.section, fn.start)
	fn.flow, fn.err = flow.NewFunction(fn.section.Data, p.order, fn.start, fn.end, p.tableIn(fn.section)...)
	p.functions[at] = fn
	if fn.err == nil {
		p.declareCalls(fn)
	}
	return fn
}

// functionEnd returns where the function ends that starts at a slot: where the
// next one starts, or the section ends.
func (p *planner) functionEnd(s *section, start int) int {
	starts := p.startsIn(s)
	if next := sort.SearchInts(starts, start+1); next < len(starts) {
		return min(starts[next], s.slots()) // a damaged object has symbols beyond
	}
	return s.slots()
}

// isFunction reports whether a function starts at a place.
func (p *planner) isFunction(at place) bool {
	s := p.section(at.section)
	if s.Section == nil || !holdsCode(s.Section) {
		return false
	}
	starts := p.startsIn(s)
	next := sort.SearchInts(starts, at.slot)
	return next < len(starts) && starts[next] == at.slot && at.slot < s.slots()
}

// programs returns where the object's programs start: the functions outside of
// .text and, with -ffunction-sections, of .text.NAME (bpf_object__add_programs of
// libbpf). A static one is a program if no other function calls it: libbpf refuses
// such a program, cilium/ebpf loads it.
func (p *planner) programs() map[place]bool {
	if p.entries != nil {
		return p.entries
	}
	p.entries = make(map[place]bool)
	var static []place
	for _, section := range p.object.Sections {
		if !holdsCode(section) || section.Name == ".text" || strings.HasPrefix(section.Name, ".text.") {
			continue
		}
		for _, symbol := range p.object.Functions(section) {
			at := place{section.Name, int(symbol.Value / reloc.InstructionSize)}
			if isGlobal(symbol) {
				p.entries[at] = true
			} else {
				static = append(static, at)
			}
		}
	}
	if len(static) > 0 {
		called := p.called()
		for _, at := range static {
			p.entries[at] = !called[at]
		}
	}
	return p.entries
}

// called returns where the functions start that others of the object call or take
// the address of.
func (p *planner) called() map[place]bool {
	if p.calledAt != nil {
		return p.calledAt
	}
	p.calledAt = make(map[place]bool)
	for _, section := range p.object.Sections {
		if holdsCode(section) {
			s := p.section(section.Name)
			for _, at := range p.namedIn(s, 0, s.slots()) {
				p.calledAt[at] = true
			}
		}
	}
	return p.calledAt
}

// isGlobal reports whether the function that starts at a place is a global one for the
// kernel.
func (p *planner) isGlobal(at place) bool {
	s := p.section(at.section)
	p.startsIn(s)
	return s.globals[at.slot]
}

// reads returns how many arguments a function reads.
func (fn *function) reads() int {
	if !fn.argumentsKnown {
		fn.arguments, fn.argumentsKnown = fn.flow.Arguments(), true
	}
	return fn.arguments
}

func (fn *function) liveness() (*flow.Liveness, error) {
	if fn.err != nil {
		return nil, fn.notUnderstood()
	}
	if fn.live == nil {
		arguments := -1 // not known
		if fn.isProgram {
			arguments = 1
		}
		fn.live = fn.flow.Liveness(arguments)
	}
	return fn.live, nil
}

// constantsOf returns what is constant in a function whatever the layout is.
func (p *planner) constantsOf(fn *function) (*flow.Constants, error) {
	if fn.err != nil {
		return nil, fn.notUnderstood()
	}
	if fn.constants == nil {
		fn.constants = fn.flow.Constants(flow.Assumptions{
			Undecided: fn.section.recorded,
			Linked:    p.linkedIn(fn.section),
			OwnSums:   p.ownSums[place{fn.section.Name, fn.start}],
			Program:   fn.isProgram,
		})
	}
	return fn.constants, nil
}

func (fn *function) notUnderstood() error {
	return refuse.Because(refuse.Function, "it takes more instructions in this layout, and the function is not understood: %v", fn.err)
}

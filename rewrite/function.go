package rewrite

import (
	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// function is what is known of one function of the object. What it takes work to
// find out is unset until somebody asks.
type function struct {
	*bpf.Function
	section *section

	constants   *flow.Constants // as long as nothing is known of the layout
	allowed     *flow.Liveness  // see livenessUnder
	guards      *flow.Guards
	guardsKnown bool
	depth       int     // that it uses the stack to, with what is spilled
	frames      *frames // nil as long as nothing was spilled anywhere

	sizes map[int64]bool // of the program's structs that are descriptors, and that it accesses

	carried [needs]*carried // how it comes by what it needs; nil until somebody asks

	initialized insn.Registers // to have a value when the function starts

	saved map[int]insn.Registers // by sequences in place of the instruction at a slot, which read them

	*functionAccesses
	unanswered *reached // by what is recorded, whatever the layout answers
	uses       *uses
	unitStarts map[fieldName][]int64 // where the access unit of a bit-field may begin, see unitStarts
}

// function returns the function that an access is in.
func (p *planner) function(access *reloc.Access) *function {
	return p.functionAt(functionPlace(access))
}

// functionAt returns the function that starts at a place.
func (p *planner) functionAt(at bpf.Place) *function {
	if fn, ok := p.functions[at]; ok {
		return fn
	}
	fn := &function{
		Function:         p.object.Function(at),
		section:          p.section(at.Section),
		functionAccesses: p.accessesAt(at),
		unitStarts:       make(map[fieldName][]int64),
		sizes:            p.sizes[at],
		saved:            make(map[int]insn.Registers),
	}
	p.functions[at] = fn
	return fn
}

// mentions reports whether the instruction at a slot, or a sequence in its place, reads or
// writes a register for which it need not be there.
func (fn *function) mentions(slot int, reg asm.Register) bool {
	return fn.section.Mentions(slot, reg) || fn.saved[slot].Has(reg)
}

// liveness returns which registers are live in a function.
func (fn *function) liveness() (*flow.Liveness, error) {
	if fn.Err != nil {
		return nil, fn.notUnderstood()
	}
	return fn.Liveness(), nil
}

// livenessUnder returns which registers are live in a function that is understood, if only
// those paths are taken that the layout allows.
func (p *planner) livenessUnder(fn *function) (*flow.Liveness, error) {
	if fn.Err != nil {
		return nil, fn.notUnderstood()
	}
	if fn.allowed == nil {
		fn.allowed = fn.Liveness()
		program := p.analyze()
		if values := program.constants[program.subs[fn.Place()]]; values != nil { // the function is called
			fn.allowed = fn.LivenessUnder(values)
		}
	}
	return fn.allowed, nil
}

// constantsOf returns what is constant in a function whatever the layout is.
func (p *planner) constantsOf(fn *function) (*flow.Constants, error) {
	if fn.Err != nil {
		return nil, fn.notUnderstood()
	}
	if fn.constants == nil {
		fn.constants = fn.Flow.Constants(flow.Assumptions{
			Undecided: fn.section.recorded,
			Linked:    fn.section.Linked(),
			OwnSums:   p.ownSums[fn.Place()],
			Extents:   p.extents(fn),
			Relocated: fn.section.left,
			Program:   fn.IsProgram,
		})
	}
	return fn.constants, nil
}

// initialize gives registers a value where the function starts, for the paths on which they
// have none, and reports whether it can: calls take that of r1 to r5, and arguments are there.
func (fn *function) initialize(registers insn.Registers) bool {
	if registers == 0 {
		return true
	}
	if registers&insn.Arguments != 0 || !fn.startsOnce() {
		return false
	}
	fn.initialized |= registers
	return true
}

// startsOnce reports whether no jump leads to the start of the function.
func (fn *function) startsOnce() bool { return len(fn.Flow.Blocks()[0].Preds) == 0 }

func (fn *function) notUnderstood() error {
	return refuse.Because(refuse.Function, "it takes more instructions in this layout, and the function is not understood: %v", fn.Err)
}

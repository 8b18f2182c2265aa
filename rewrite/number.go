package rewrite

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// To the kernel the descriptor of a driver is a number, and not a word is lost on what a
// program does with it. So what the verifier refuses of a pointer into the metadata area is
// refused here.

// misused refuses what the program does with a driver's descriptor that it may not, once
// for each source line and reason.
func (p *planner) misused() []Refusal {
	if p.drivers == nil || p.unjudged {
		return nil
	}
	program := p.analyze()
	subs := make([]*flow.Subprogram, len(program.order))
	for n, at := range program.order {
		subs[n] = program.subs[at]
	}
	var refused []Refusal
	misuses := program.pointers.Misuses(subs, p.givenAt)
	for n, at := range program.order {
		fn := p.functionAt(at)
		type said struct {
			source reloc.Source
			kind   flow.MisuseKind
		}
		seen := make(map[said]bool)
		for _, misuse := range misuses[subs[n]] {
			access := p.misusedAt(fn, misuse.Slot)
			if at := (said{access.Source, misuse.Kind}); seen[at] || !p.isToBeSaid(fn, misuse) {
				continue
			} else {
				seen[at] = true
			}
			var r *refuse.Error
			errors.As(p.judgeMisuse(fn, misuse), &r)
			refused = append(refused, Refusal{Access: access, Reason: r.Reason, Remedy: r.Remedy, Unrecorded: access.Record < 0})
		}
	}
	return refused
}

// isToBeSaid reports whether nothing else refuses a misuse: loads and stores that the
// compiler recorded nothing of are refused anyway, however md was tested.
func (p *planner) isToBeSaid(fn *function, misuse flow.Misuse) bool {
	switch misuse.Kind {
	case flow.Untested, flow.Moved, flow.Lost:
	default:
		return true
	}
	pointees, _ := p.program.pointers.Address(p.program.subs[fn.Place()], misuse.Slot)
	for n := range pointees {
		if pointees[n].Field.Subprogram != nil {
			return true
		}
	}
	return fn.section.accessed.Has(misuse.Slot)
}

// misusedAt returns the access that a misuse is one of: what is recorded there, or
// otherwise the descriptor as a whole.
func (p *planner) misusedAt(fn *function, slot int) reloc.Access {
	for i := range p.accesses {
		access := &p.accesses[i]
		if access.Section == fn.section.Name && access.Insn == slot && access.Kind == reloc.ByteOffset {
			return *access
		}
	}
	access := p.unrecordedAt(fn, slot)
	pointees, _ := p.program.pointers.Address(p.program.subs[fn.Place()], slot)
	for n := range pointees {
		if pointees[n].Field.Subprogram == nil {
			continue
		}
		for _, field := range p.fieldsAt(&pointees[n]) {
			access.Path = field.Path
		}
	}
	return access
}

const (
	remedyTest  = `test it first on every path, as in "if (md)"`
	remedyField = "read the fields that are needed, and keep or pass these, or a copy made with md_desc_copy(dst, md)"
)

// judgeMisuse says what is wrong with a use of the descriptor.
func (p *planner) judgeMisuse(fn *function, misuse flow.Misuse) error {
	ins, err := fn.section.Instruction(misuse.Slot)
	if err != nil {
		return refuse.Because(refuse.Recompile, "instruction %d: %v", misuse.Slot, err)
	}
	switch misuse.Kind {
	case flow.Untested:
		return refuse.Because(remedyTest, "the descriptor may be NULL here, as a path leads here on which it is not tested")
	case flow.Moved:
		return refuse.Because("call md_desc(ctx) again", "the descriptor is from before %s, after which it need not be that of the packet", p.moverName(misuse))
	case flow.Lost:
		return refuse.Because("keep it in a variable, and pass it to static functions only", "nothing tells whether the descriptor was tested, and is still that of the packet")
	case flow.Unlike:
		return refuse.Because("compare it with NULL only, and leave bounds to md_desc(ctx)", "the descriptor is compared with something else than NULL (%q), and is no address in the packet", insn.Spell(ins))
	case flow.Calculated:
		return refuse.Because("access each field by its name", "the descriptor is computed with (%q), which leads to none of its fields", insn.Spell(ins))
	case flow.Kept:
		return refuse.Because(remedyField, "the descriptor's address is stored outside of the stack (%q), and is void with the packet", insn.Spell(ins))
	case flow.Exchanged:
		return refuse.Because(remedyField, "the descriptor's address goes into an atomic operation (%q)", insn.Spell(ins))
	case flow.Given:
		return refuse.Because(remedyField, "the descriptor's address is passed to %s, which can't read it", p.calledName(fn, misuse.Slot, ins))
	case flow.GivenWithin:
		return refuse.Because(remedyField, "the descriptor's address is in memory that is passed to %s", p.calledName(fn, misuse.Slot, ins))
	case flow.GivenBack:
		return refuse.Because(remedyField, "the descriptor's address is returned to the kernel")
	}
	return refuse.Because("call it in fewer ways, and not from itself", "the function gets the descriptor in too many ways to follow, or calls itself")
}

// moverName names what moved the packet, and where.
func (p *planner) moverName(misuse flow.Misuse) string {
	fn := p.functionAt(p.program.places[misuse.Mover])
	ins, err := fn.section.Instruction(misuse.MoverSlot)
	if err != nil {
		return "the packet has moved"
	}
	return fmt.Sprintf("%s (%s)", p.calledName(fn, misuse.MoverSlot, ins), p.lineAt(fn.section.Name, misuse.MoverSlot))
}

// calledName names what is called at a slot, a function of the object too.
func (p *planner) calledName(fn *function, slot int, ins asm.Instruction) string {
	if callee, ok := fn.References()[slot]; ok && p.object.IsFunction(callee) {
		return "the global function " + p.functionAt(callee).Prototype().Name
	}
	return p.calleeName(fn, slot, ins)
}

// givenAt is a flow.Memory.
func (p *planner) givenAt(sub *flow.Subprogram, slot int, argument asm.Register) (bytes int64, known bool) {
	fn := p.functionAt(p.program.places[sub])
	ins, err := fn.section.Instruction(slot)
	if err != nil {
		return 0, false
	}
	if callee, ok := fn.References()[slot]; ok && p.object.IsFunction(callee) {
		parameters := p.functionAt(callee).Prototype().Parameters
		if int(argument) > len(parameters) {
			return 0, false
		}
		size := int64(parameters[argument-1].Size)
		return size, size > 0
	}
	if bytes, known = p.bytesAt(fn, ins, flow.MemoryUse{Slot: slot, Argument: int(argument)}); known || fn.section.KFuncs()[slot] == "" {
		return bytes, known
	}
	return p.program.constants[sub].Value(slot, argument+1) // as kfuncs have sizes (__sz)
}

// movers returns the calls in a function after which pointers into the packet are invalid,
// besides those of helpers.
func (fn *function) movers() map[int]bool {
	movers := make(map[int]bool)
	for slot, kfunc := range fn.section.KFuncs() {
		if insn.KfuncMovesPacket(kfunc) {
			movers[slot] = true
		}
	}
	return movers
}

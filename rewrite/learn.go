package rewrite

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// resolvedAccess is an access and what the layout says of it.
type resolvedAccess struct {
	access     *reloc.Access
	resolution *reloc.Resolution
}

// fieldName names a field of the program.
type fieldName struct{ root, path string }

func nameOf(access *reloc.Access) fieldName { return fieldName{access.Root, access.Path} }

// functionAccesses are the accesses in one function that matter to the edits of others, by
// slot.
type functionAccesses struct {
	offsets map[int]resolvedAccess // that it keeps in registers
	present map[int]int64          // what these instructions hold
	unknown map[int]bool           // the same, if it can't be said what the layout has
	stores  map[int]resolvedAccess
	apart   map[int]bool                  // loads of what is kept apart, see Options
	bits    map[fieldName][]*reloc.Access // to bit-fields

	// follows says that an offset in a register is of a field that the layout keeps in
	// another way than the program: the loads and stores it is used for have to change.
	follows bool

	trustsBool bool // see the function trustsBool
}

// accessesOf returns the accesses in the function that an access is in.
func (p *planner) accessesOf(access *reloc.Access) *functionAccesses {
	return p.accessesAt(functionPlace(access))
}

func (p *planner) accessesAt(start bpf.Place) *functionAccesses {
	qs, ok := p.byFunction[start]
	if !ok {
		qs = &functionAccesses{
			offsets: make(map[int]resolvedAccess),
			present: make(map[int]int64),
			unknown: make(map[int]bool),
			stores:  make(map[int]resolvedAccess),
			apart:   make(map[int]bool),
			bits:    make(map[fieldName][]*reloc.Access),
		}
		p.byFunction[start] = qs
	}
	return qs
}

// offsetSlots returns the instructions that keep recorded offsets.
func (qs *functionAccesses) offsetSlots() []int { return slices.Sorted(maps.Keys(qs.offsets)) }

// learn notes the answer to a question that the program asks the layout, and
// which offsets it keeps in registers.
func (p *planner) learn(q resolvedAccess) {
	if q.access.Kind == reloc.ByteOffset {
		p.learnOffset(q)
		return
	}
	section := p.section(q.access.Section)
	if !q.resolution.Poison {
		section.answers[q.access.Insn] = int64(q.resolution.Value)
	}
	switch {
	case q.access.Kind != reloc.TypeSize:
	case q.access.Adopted():
		section.others[q.access.Insn] = true
	default:
		section.sizes[q.access.Insn] = true
	}
}

// learnUnresolved notes an offset of which the layout says nothing: it may be for a
// copy of the program's own.
func (p *planner) learnUnresolved(access *reloc.Access) {
	if access.Kind == reloc.ByteOffset && !p.section(access.Section).IsMemoryAt(access.Insn) {
		p.accessesOf(access).unknown[access.Insn] = true
	}
}

func (p *planner) learnOffset(q resolvedAccess) {
	access, qs := q.access, p.accessesOf(q.access)
	local, target := access.Local.Field, q.resolution.Field
	if access.IsMarker() && p.drivers != nil && p.section(access.Section).IsMemoryAt(access.Insn) {
		p.section(access.Section).loads[access.Insn] = flow.Driver
		return
	}
	qs.trustsBool = qs.trustsBool || convert.TrustsBool(local, target)
	ins, err := p.section(access.Section).Instruction(access.Insn)
	if err != nil {
		return
	}
	p.noteBits(access)
	if insn.IsMemory(ins) && ins.OpCode.Class() != asm.LdXClass {
		qs.stores[access.Insn] = q
	}
	if p.apart && ins.OpCode.Class() == asm.LdXClass {
		qs.apart[access.Insn] = true
	}
	if !isImmediate(ins) || p.checkPresent(access, ins) != nil {
		return // which refuses it
	}
	if p.apart && local.IsRecord() && !q.resolution.Poison && target.IsRecord() {
		return // nothing is read by it alone
	}
	qs.present[access.Insn] = ins.Constant
	qs.offsets[access.Insn] = q
	if !q.resolution.Poison && !p.macros[keyOf(access)] {
		_, same := p.distance(local, target)
		qs.follows = qs.follows || !same
	}
}

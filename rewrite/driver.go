package rewrite

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// driver is the source of the fields that a driver keeps of a packet: code that computes
// them stands in line.
type driver struct {
	accessors  *Accessors
	fitted     *reloc.Layout
	inLayout   func(*reloc.Access) (*reloc.Resolution, error)
	unbound    func(*reloc.Access) (*reloc.Resolution, error) // in programs that are not bound to the device
	descriptor *body
	fields     map[string]*body // by name
}

func newDriver(accessors *Accessors) (*driver, error) {
	fitted, err := accessors.layout(func(*Accessor) bool { return true })
	if err != nil {
		return nil, err
	}
	d := &driver{accessors: accessors, fitted: fitted, inLayout: fitted.Resolver(), fields: make(map[string]*body)}
	d.unbound = d.inLayout
	if accessors.AskKfuncs() {
		unbound, err := accessors.layout(func(accessor *Accessor) bool { return accessor.Kfunc == "" })
		if err != nil {
			return nil, err
		}
		d.unbound = unbound.Resolver()
	}
	return d, nil
}

// noteDescriptorLoads notes the loads of a function through the offset of the marker, if
// that is kept in a register.
func (p *planner) noteDescriptorLoads(fn *function) {
	if p.drivers == nil {
		return
	}
	for slot, q := range fn.offsets {
		if !q.access.IsMarker() {
			continue
		}
		if reached, err := p.reachedAnyway(q.access); err == nil {
			for _, load := range reached.dereferences[slot] {
				fn.section.loads[load.Slot] = flow.Driver
			}
		}
	}
}

// bodyOf returns the code that takes the place of an access, nil if none does.
func (p *planner) bodyOf(access *reloc.Access) *body {
	if p.drivers == nil || access.Kind != reloc.ByteOffset || p.isOwn(access) {
		return nil
	}
	d, _ := p.drivers.of(functionPlace(access))
	if access.IsMarker() {
		return d.descriptor
	}
	if p.drivers.whyNotAsked(d, access) != "" {
		return nil
	}
	return d.fields[access.FieldName()]
}

// atStart returns the code that is run when the program starts, nil if there is none.
func (d *driver) atStart() *body {
	for _, b := range d.fields {
		if b != nil && b.atStart {
			return b
		}
	}
	return nil
}

func (d *driver) resolve(p *planner, access *reloc.Access) (*reloc.Resolution, error) {
	inLayout, why := d.inLayout, p.drivers.whyNotAsked(d, access)
	if why != "" {
		inLayout = d.unbound
	}
	found, err := inLayout(access)
	if err != nil || found.Exists || !isDescriptor(access) {
		return found, err
	}
	resolution, field := *found, access.FieldName()
	switch _, ok := d.accessors.Fields[field]; {
	case why != "":
		resolution.Fields = nil // it is not misspelt
		resolution.Missing = fmt.Sprintf("driver %s tells the %s of a packet only by %s, which is asked in programs that are bound to the device, and %s",
			d.accessors.Name, field, d.accessors.Fields[field].Kfunc, why)
	case !ok && field != "":
		resolution.Missing = d.missing(field)
	}
	return &resolution, nil
}

// missing says why there is no accessor for a field.
func (d *driver) missing(field string) string {
	why := fmt.Sprintf("driver %s has no %s of a packet", d.accessors.Name, field)
	if onThisKernel := d.accessors.Missing[field]; onThisKernel != "" {
		why += fmt.Sprintf(" on this kernel (%s)", onThisKernel)
	}
	if lacks := d.accessors.Lacks[field]; lacks != "" {
		why += fmt.Sprintf(" (%s)", lacks)
	}
	return why
}

func (d *driver) plan(p *planner, plan *accessPlan, before asm.Instruction) {
	access := plan.Access
	if _, plan.refused = p.drivers.of(functionPlace(access)); plan.refused != nil {
		return
	}
	switch {
	case plan.Resolution.Poison || access.Kind == reloc.FieldExists || access.Kind.AboutEnum() || access.Kind == reloc.TypeExists:
		plan.refused = p.planInPlace(plan.Edit, before)
	case access.Kind != reloc.ByteOffset:
		plan.refused = p.planUnasked(plan, before)
	case access.IsMarker():
		plan.refused = d.planDescriptor(p, plan.Edit, before)
	case p.bodyOf(access) == nil:
		plan.refused = refuse.Because("read a field of struct md_desc", "%s is not a whole field of the descriptor", access.Path)
	default:
		accessor := d.accessors.Fields[access.FieldName()]
		plan.Driver, plan.From, plan.Kfunc = d.accessors.Name, accessor.From, accessor.Kfunc
		if plan.refused = d.planField(p, plan.Edit, before); plan.refused == nil {
			plan.Note = p.bodyOf(access).note(plan.Note)
		}
	}
}

// planDescriptor puts the descriptor function in place of the load that stands for it, or
// of that through a register that keeps its offset: clang makes one load of two.
func (d *driver) planDescriptor(p *planner, edit *Edit, before asm.Instruction) (err error) {
	if isImmediate(before) {
		return p.patchOffset(edit, before)
	}
	edit.Driver, edit.body = d.accessors.Name, d.descriptor
	edit.After, err = findDescriptor(p, d.descriptor, edit.Access, loadAt{before, edit.Access.Insn, 0})
	return err
}

// findDescriptor returns the descriptor function in place of a load.
func findDescriptor(p *planner, function *body, access *reloc.Access, load loadAt) (Instructions, error) {
	if load.OpCode != asm.LoadMemOp(asm.DWord) {
		return nil, refuse.Because(refuse.Recompile, "the instruction %q is no load of the descriptor's address", insn.Spell(load.Instruction))
	}
	return function.inLine(p, access, load, func(*convert.Sequence) {})
}

// planField puts an accessor in place of a load. Where the offset of its field is kept in a
// register, that becomes 0, and the accessor takes the place of each load through it.
func (d *driver) planField(p *planner, edit *Edit, before asm.Instruction) error {
	if insn.IsMemory(before) {
		return p.accessorOf(edit.Access, edit.Resolution).compute(p, edit, before)
	}
	return p.patchOffset(edit, before)
}

// accessorOf returns what computes the field of an access.
func (p *planner) accessorOf(access *reloc.Access, resolution *reloc.Resolution) *computation {
	return &computation{p.bodyOf(access), resolution.Field}
}

// planUnasked refuses a question that a driver has no answer to, if the program can get
// there: md_desc() asks for the size of the descriptor where it is in the metadata area.
func (p *planner) planUnasked(plan *accessPlan, before asm.Instruction) error {
	access := plan.Access
	if constants, ok := p.constantsAt(access); ok && (constants == nil || constants.Reachable(access.Insn) == flow.Unreachable) || p.isUnread(access, before) {
		return p.planInPlace(plan.Edit, before)
	}
	return refuse.Because("get the descriptor by md_desc(ctx), and read its fields", "what a driver keeps of a packet has no %s", access.Kind)
}

// isUnread reports whether nobody reads the number that a recorded instruction has: the
// compiler puts what is constant in front of a loop, for code in it that can't be reached.
func (p *planner) isUnread(access *reloc.Access, ins asm.Instruction) bool {
	live, err := p.livenessUnder(p.function(access))
	return err == nil && ins.OpCode.Class().IsALU() && ins.OpCode.ALUOp() == asm.Mov && !live.LiveOut(access.Insn).Has(ins.Dst)
}

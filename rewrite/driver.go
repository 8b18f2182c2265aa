package rewrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/link"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// driver is the source of the fields that a driver keeps of a packet: code that computes
// them stands in line.
type driver struct {
	accessors  *Accessors
	fitted     *reloc.Layout
	inLayout   func(*reloc.Access) (reloc.Resolution, error)
	descriptor *body
	fields     map[string]*body // by name
}

// drivers are the sources for programs of each kind: an XDP program has its packets from
// the driver, a TC program from the stack.
type drivers struct {
	byContext map[*flow.Context]*driver
	first     *driver                       // for code that no program comes to
	contexts  map[bpf.Place][]*flow.Context // of the programs that come to a function
	calls     bool                          // nothing is put in line but calls

	cramped map[namedFunction]bool // functions whose stack would have to be moved down
	lowered map[namedFunction]bool // and those that had it moved
}

// contexts are what programs get, by the name of the kernel's struct.
var contexts = map[string]*flow.Context{"xdp_buff": &flow.XDP, "sk_buff": &flow.TC}

// newDrivers returns the sources of accessors, of which there is one for each kind of
// program at most.
func newDrivers(all []*Accessors) (*drivers, error) {
	d := &drivers{byContext: make(map[*flow.Context]*driver), cramped: make(map[namedFunction]bool)}
	for _, accessors := range all {
		context := contexts[accessors.Context]
		if context == nil || d.byContext[context] != nil {
			return nil, fmt.Errorf("accessors of %s: for programs with struct %s, as others or as none are", accessors.Name, accessors.Context)
		}
		fitted, err := accessors.layout()
		if err != nil {
			return nil, fmt.Errorf("accessors of %s: %w", accessors.Name, err)
		}
		d.byContext[context] = &driver{accessors: accessors, fitted: fitted, inLayout: fitted.Resolver(), fields: make(map[string]*body)}
		if d.first == nil {
			d.first = d.byContext[context]
		}
	}
	if d.first == nil {
		return nil, errors.New("no accessors")
	}
	return d, nil
}

// names returns what messages call them.
func (d *drivers) names() string {
	var names []string
	for _, context := range []*flow.Context{&flow.XDP, &flow.TC} {
		if of := d.byContext[context]; of != nil {
			names = append(names, of.accessors.Name)
		}
	}
	return strings.Join(names, ", ")
}

// find finds out which programs come to each function.
func (d *drivers) find(object *bpf.Object) {
	d.contexts = make(map[bpf.Place][]*flow.Context)
	var visit func(at bpf.Place, context *flow.Context)
	visit = func(at bpf.Place, context *flow.Context) {
		if slices.Contains(d.contexts[at], context) || !object.IsFunction(at) {
			return
		}
		d.contexts[at] = append(d.contexts[at], context)
		for _, callee := range object.Function(at).References() {
			visit(callee, context)
		}
	}
	for at := range object.Programs() {
		if fn := object.Function(at); fn.IsProgram && fn.Context() != nil {
			visit(at, fn.Context())
		}
	}
}

// of returns the source of what a function accesses.
func (d *drivers) of(at bpf.Place) (*driver, error) {
	contexts := d.contexts[at]
	switch {
	case len(contexts) == 0:
		return d.first, nil
	case len(contexts) > 1:
		return d.first, refuse.Because("make two functions of it", "XDP programs and TC programs come here, and what one reads the other does not have")
	case d.byContext[contexts[0]] == nil:
		return d.first, refuse.Because("read it in a program of another kind", "%s has no accessors for such a program", d.first.accessors.Name)
	}
	return d.byContext[contexts[0]], nil
}

// layout returns one that has the fields as the accessors return them, one after the
// other, and the enumerations of the accessors' object. Where they are does not matter.
func (a *Accessors) layout() (*reloc.Layout, error) {
	object, err := elfobj.Parse(a.Object)
	if err != nil {
		return nil, err
	}
	types := object.Section(".BTF")
	if types == nil {
		return nil, fmt.Errorf("the accessors of %s have no BTF", a.Name)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(types.Data))
	if err != nil {
		return nil, err
	}
	desc := &btf.Struct{Name: reloc.Descriptor}
	for _, name := range slices.Sorted(maps.Keys(a.Fields)) {
		var function *btf.Func
		if err := spec.TypeByName(a.Fields[name].Function, &function); err != nil {
			return nil, fmt.Errorf("accessor of %s: %w", name, err)
		}
		number := function.Type.(*btf.FuncProto).Return
		size, err := btf.Sizeof(number)
		if err != nil {
			return nil, fmt.Errorf("accessor of %s: %w", name, err)
		}
		desc.Size = (desc.Size + 7) / 8 * 8
		desc.Members = append(desc.Members, btf.Member{Name: name, Type: number, Offset: btf.Bits(desc.Size * 8)})
		desc.Size += uint32(size)
	}
	desc.Size = (desc.Size + 7) / 8 * 8
	all := []btf.Type{desc, &btf.Struct{Name: reloc.Marker, Size: 8, Members: []btf.Member{{Name: "desc", Type: &btf.Pointer{Target: new(btf.Void)}}}}}
	for typ, err := range spec.All() {
		if err != nil {
			return nil, err
		}
		if enum, ok := typ.(*btf.Enum); ok && enum.Name != "" {
			all = append(all, enum)
		}
	}
	builder, err := btf.NewBuilder(all, nil)
	if err != nil {
		return nil, err
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: object.Order})
	if err != nil {
		return nil, err
	}
	return reloc.NewLayout(a.Name, raw, nil)
}

// link puts what the accessors need that the object's accesses call for into the object.
func (r *rewriting) link() error {
	if err := r.checkMarked(); err != nil {
		return err
	}
	r.drivers.find(r.model)
	for _, d := range r.drivers.byContext {
		for i := range r.accesses {
			access := &r.accesses[i]
			if of, err := r.drivers.of(functionPlace(access)); err == nil && of == d && d.accessors.Fields[access.FieldName()].Function != "" {
				d.fields[access.FieldName()] = nil
			}
		}
	}
	for _, context := range []*flow.Context{&flow.XDP, &flow.TC} {
		if d := r.drivers.byContext[context]; d != nil {
			if err := d.link(r.object, r.ext, r.drivers.calls); err != nil {
				return fmt.Errorf("accessors of %s: %w", d.accessors.Name, err)
			}
		}
	}
	return r.read(r.object.Bytes())
}

// link puts what the accessors of the fields need into an object: code to be put in line,
// or functions, if they have a loop or if it is told so.
func (d *driver) link(object *elfobj.Object, ext *btfraw.Ext, calls bool) error {
	source, err := elfobj.Parse(d.accessors.Object)
	if err != nil {
		return err
	}
	functions, err := link.NewSource(source)
	if err != nil {
		return err
	}
	accessors := []Accessor{d.accessors.Descriptor}
	fields := slices.Sorted(maps.Keys(d.fields))
	for _, field := range fields {
		accessors = append(accessors, d.accessors.Fields[field])
	}
	var wanted link.Wanted
	for _, accessor := range accessors {
		loops, err := hasLoop(functions, accessor.Function)
		switch {
		case err != nil:
			return err
		case calls || loops:
			wanted.Functions = append(wanted.Functions, accessor.Function)
		default:
			wanted.Bodies = append(wanted.Bodies, accessor.Function)
		}
	}
	linked, err := functions.Into(object, ext, wanted)
	if err != nil {
		return err
	}
	bodies := make([]*body, len(accessors))
	for n, accessor := range accessors {
		if bodies[n], err = linkedBody(linked, &accessor, object.Order); err != nil {
			return fmt.Errorf("function %s: %w", accessor.Function, err)
		}
	}
	d.descriptor = bodies[0]
	for n, field := range fields {
		d.fields[field] = bodies[n+1]
	}
	return nil
}

// hasLoop reports whether a function has one.
func hasLoop(functions *link.Source, name string) (bool, error) {
	function, err := functions.Code(name)
	if err != nil {
		return false, err
	}
	return function.HasLoop(functions.Order()), nil
}

// linkedBody returns what stands for an accessor that has been linked: its code, or a call
// of it.
func linkedBody(linked *link.Linked, accessor *Accessor, order binary.ByteOrder) (*body, error) {
	b := callOf(linked.Functions[accessor.Function], accessor.Function)
	if function, ok := linked.Bodies[accessor.Function]; ok {
		var err error
		if b, err = newBody(&function, order); err != nil {
			return nil, err
		}
	}
	b.context = accessor.Context
	return b, nil
}

// checkMarked refuses an object that reads a descriptor, and was compiled when md_desc()
// knew no other place for it than the metadata area.
func (r *rewriting) checkMarked() error {
	first := slices.IndexFunc(r.accesses, func(access reloc.Access) bool { return isDescriptor(&access) && access.Kind == reloc.ByteOffset })
	if first < 0 || hasMarker(r.recorded) {
		return nil
	}
	access := r.accesses[first]
	return &RefusedError{Layout: r.layout.Name(), Refusals: []Refusal{{Access: access, Remedy: "compile again, with the md_desc.h of this version",
		Reason: "the object was compiled with an md_desc.h that knows descriptors in the metadata area only"}}}
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
	return d.fields[access.FieldName()]
}

func (d *driver) resolve(_ *planner, access *reloc.Access) (reloc.Resolution, error) {
	resolution, err := d.inLayout(access)
	if field := access.FieldName(); err == nil && !resolution.Exists && isDescriptor(access) && field != "" {
		resolution.Missing = d.missing(field)
	}
	return resolution, err
}

// missing says why there is no accessor for a field.
func (d *driver) missing(field string) string {
	why := fmt.Sprintf("driver %s has no %s of a packet", d.accessors.Name, field)
	if onThisKernel := d.accessors.Missing[field]; onThisKernel != "" {
		why += fmt.Sprintf(" on this kernel (%s)", onThisKernel)
	}
	return why
}

func (d *driver) plan(p *planner, plan *accessPlan, before asm.Instruction) {
	access := &plan.Access
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
		plan.Driver, plan.From = d.accessors.Name, d.accessors.Fields[access.FieldName()].From
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
	edit.After, err = findDescriptor(p, d.descriptor, &edit.Access, loadAt{before, edit.Access.Insn, 0})
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
		return p.accessorOf(&edit.Access, &edit.Resolution).compute(p, edit, before)
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
	access := &plan.Access
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

package rewrite

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/link"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// Marker is the type whose records say where md_desc() gets the descriptor from: the
// question whether it exists, and a load of its desc through ctx.
const Marker = "xdp_load_source"

// driver is the source of the fields that a driver keeps of a packet: code that computes
// them stands in line.
type driver struct {
	accessors  *Accessors
	descriptor *body
	fields     map[string]*body // by name
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
	all := []btf.Type{desc, &btf.Struct{Name: Marker, Size: 8, Members: []btf.Member{{Name: "desc", Type: &btf.Pointer{Target: new(btf.Void)}}}}}
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
func (r *rewriting) link(accessors *Accessors) error {
	source, err := elfobj.Parse(accessors.Object)
	if err != nil {
		return fmt.Errorf("accessors of %s: %w", accessors.Name, err)
	}
	functions, err := link.NewSource(source)
	if err != nil {
		return fmt.Errorf("accessors of %s: %w", accessors.Name, err)
	}
	r.driver = &driver{accessors: accessors, fields: make(map[string]*body)}
	wanted := link.Wanted{Bodies: []string{accessors.Descriptor.Function}}
	for i := range r.accesses {
		field := r.accesses[i].FieldName()
		if accessor, ok := accessors.Fields[field]; ok && r.driver.fields[field] == nil {
			wanted.Bodies = append(wanted.Bodies, accessor.Function)
			r.driver.fields[field] = new(body)
		}
	}
	linked, err := functions.Into(r.object, r.ext, wanted)
	if err != nil {
		return fmt.Errorf("accessors of %s: %w", accessors.Name, err)
	}
	bodyOf := func(accessor Accessor) (*body, error) {
		function := linked.Bodies[accessor.Function]
		b, err := newBody(&function, r.object.Order)
		if err != nil {
			return nil, fmt.Errorf("accessors of %s: function %s: %w", accessors.Name, accessor.Function, err)
		}
		b.context = accessor.Context
		return b, nil
	}
	if r.driver.descriptor, err = bodyOf(accessors.Descriptor); err != nil {
		return err
	}
	for field := range r.driver.fields {
		if r.driver.fields[field], err = bodyOf(accessors.Fields[field]); err != nil {
			return err
		}
	}
	return r.read(r.object.Bytes())
}

// isMarker reports whether an access is one of those that say where md_desc() gets the
// descriptor from.
func isMarker(access *reloc.Access) bool { return btfraw.EssentialName(access.RootName()) == Marker }

// bodyOf returns the code that takes the place of an access, nil if none does.
func (p *planner) bodyOf(access *reloc.Access) *body {
	switch {
	case p.driver == nil || access.Kind != reloc.ByteOffset || p.isOwn(access):
		return nil
	case isMarker(access):
		return p.driver.descriptor
	}
	return p.driver.fields[access.FieldName()]
}

func (d *driver) resolve(p *planner, access *reloc.Access) (reloc.Resolution, error) {
	return p.inLayout(access)
}

func (d *driver) plan(p *planner, plan *accessPlan, before asm.Instruction) {
	access := &plan.Access
	switch {
	case plan.Resolution.Poison || access.Kind == reloc.FieldExists || access.Kind.AboutEnum() || access.Kind == reloc.TypeExists:
		plan.refused = p.planInPlace(plan.Edit, before)
	case access.Kind != reloc.ByteOffset:
		plan.refused = p.planUnasked(plan, before)
	case isMarker(access):
		plan.refused = d.planDescriptor(p, plan.Edit, before)
	case p.bodyOf(access) == nil:
		plan.refused = refuse.Because("read a field of struct md_desc", "%s is not a whole field of the descriptor", access.Path)
	default:
		plan.From = d.accessors.Fields[access.FieldName()].From
		plan.refused = d.planField(p, plan.Edit, before)
	}
}

// planDescriptor puts the descriptor function in place of the load that stands for it.
func (d *driver) planDescriptor(p *planner, edit *Edit, before asm.Instruction) (err error) {
	if before.OpCode != asm.LoadMemOp(asm.DWord) {
		return refuse.Because(refuse.Recompile, "the instruction %q is no load of the descriptor's address", insn.Spell(before))
	}
	edit.body = d.descriptor
	edit.After, err = d.descriptor.inLine(p, &edit.Access, loadAt{before, edit.Access.Insn, 0}, func(*convert.Sequence) {})
	return err
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
	if constants, ok := p.constantsAt(access); ok && (constants == nil || constants.Reachable(access.Insn) == flow.Unreachable) {
		return p.planInPlace(plan.Edit, before)
	}
	return refuse.Because("get the descriptor by md_desc(ctx), and read its fields", "what a driver keeps of a packet has no %s", access.Kind)
}

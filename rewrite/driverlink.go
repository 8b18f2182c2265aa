package rewrite

import (
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/link"
	"github.com/xdp-load/xdp-load/reloc"
)

// link puts what the accessors need that the object's accesses call for into the object.
func (r *rewriting) link() error {
	if err := r.checkMarked(); err != nil {
		return err
	}
	r.drivers.find(r.model)
	if err := r.copyShared(); err != nil {
		return err
	}
	for _, d := range r.drivers.byContext {
		for i := range r.accesses {
			access := &r.accesses[i]
			accessor := d.accessors.Fields[access.FieldName()]
			if accessor.Kfunc != "" && (access.Kind != reloc.ByteOffset || r.drivers.whyNotAsked(d, access) != "") {
				continue // the object does not declare a kfunc that it never asks
			}
			if of, err := r.drivers.of(functionPlace(access)); err == nil && of == d && accessor.Function != "" {
				d.fields[access.FieldName()] = nil
			}
		}
	}
	var linked []*driver
	for _, context := range []*flow.Context{&flow.XDP, &flow.TC} {
		d := r.drivers.byContext[context]
		if d == nil {
			continue
		}
		before := slices.Clone(r.object.Symbols)
		if err := d.link(r.object, r.ext, r.drivers.calls); err != nil {
			return fmt.Errorf("accessors of %s: %w", d.accessors.Name, err)
		}
		for _, other := range linked {
			if err := other.renumber(before, r.object.Symbols); err != nil {
				return err
			}
		}
		linked = append(linked, d)
	}
	return r.read(r.object.Bytes())
}

// renumber makes the code refer to the symbols that it referred to once others were added.
func (d *driver) renumber(before, now []elf.Symbol) error {
	bodies := append(slices.Collect(maps.Values(d.fields)), d.descriptor)
	for _, b := range bodies {
		if err := link.Renumber(&b.attached, before, now); err != nil {
			return err
		}
	}
	return nil
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
		case (calls || loops) && !accessor.Start:
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
		if bodies[n], err = linkedBody(object, linked, &accessor); err != nil {
			return fmt.Errorf("function %s: %w", accessor.Function, err)
		}
	}
	d.descriptor = bodies[0]
	for n, field := range fields {
		if b := bodies[n+1]; b.atStart && d.atStart() != nil {
			return fmt.Errorf("function %s: another field is computed when the program starts, too", accessors[n+1].Function)
		}
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
	paths, err := flow.NewFunction(function.Code, functions.Order(), 0, len(function.Code)/insn.SlotSize)
	if err != nil {
		return false, fmt.Errorf("function %s: %w", name, err)
	}
	return paths.HasLoop(), nil
}

// linkedBody returns what stands for an accessor that has been linked: its code, or a call
// of it.
func linkedBody(object *elfobj.Object, linked *link.Linked, accessor *Accessor) (*body, error) {
	var b *body
	if function, ok := linked.Bodies[accessor.Function]; ok {
		var err error
		if b, err = newBody(&function, object.Order); err != nil {
			return nil, err
		}
	} else {
		b = callOf(object, linked.Functions[accessor.Function], accessor.Function)
	}
	b.context, b.packet, b.isBound, b.atStart = accessor.Context, accessor.Packet, accessor.Kfunc != "", accessor.Start
	if b.atStart && b.frame+len(b.attached.Relocations)+len(b.attached.CORERelos) > 0 {
		return nil, errors.New("it is run when the program starts, and does more than call a helper")
	}
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

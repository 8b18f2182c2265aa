package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// drivers are the sources for programs of each kind: an XDP program has its packets from
// the driver, a TC program from the stack.
type drivers struct {
	byContext map[*flow.Context]*driver
	first     *driver                       // for code that no program comes to
	contexts  map[bpf.Place][]*flow.Context // of the programs that come to a function
	calls     bool                          // nothing is put in line but calls

	unbindable map[string]string    // see Options.Unbound
	unbound    map[bpf.Place]string // the same of the functions that such programs come to

	oldSlots map[string][]int   // see rewriting
	cramped  map[bpf.Place]bool // the last instructions of functions whose stack would have to be moved down
	lowered  []stretch          // and the functions that had it moved
}

// contexts are what programs get, by the name of the kernel's struct.
var contexts = map[string]*flow.Context{"xdp_buff": &flow.XDP, "sk_buff": &flow.TC}

// newDrivers returns the sources of accessors, of which there is one for each kind of
// program at most.
func newDrivers(all []*Accessors) (*drivers, error) {
	d := &drivers{byContext: make(map[*flow.Context]*driver), cramped: make(map[bpf.Place]bool)}
	for _, accessors := range all {
		context := contexts[accessors.Context]
		if context == nil || d.byContext[context] != nil {
			return nil, fmt.Errorf("accessors of %s: for programs with struct %s, as others or as none are", accessors.Name, accessors.Context)
		}
		of, err := newDriver(accessors)
		if err != nil {
			return nil, fmt.Errorf("accessors of %s: %w", accessors.Name, err)
		}
		d.byContext[context] = of
		if d.first == nil {
			d.first = of
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

// find finds out which programs come to each function: nil stands for one of another kind.
func (d *drivers) find(object *bpf.Object) {
	d.findUnbound(object)
	d.contexts = make(map[bpf.Place][]*flow.Context)
	for start := range object.Programs() {
		fn := object.Function(start)
		if !fn.IsProgram {
			continue
		}
		context := fn.Context()
		follow(object, start, func(at bpf.Place) bool {
			if slices.Contains(d.contexts[at], context) {
				return false
			}
			d.contexts[at] = append(d.contexts[at], context)
			return true
		})
	}
}

// findUnbound finds out which functions programs come to that can't be bound to a device.
func (d *drivers) findUnbound(object *bpf.Object) {
	d.unbound = make(map[bpf.Place]string)
	for _, section := range object.Code() {
		for _, symbol := range object.File.Functions(section.Section) {
			why := d.unbindable[symbol.Name]
			if why == "" {
				continue
			}
			start := bpf.Place{Section: section.Name, Slot: int(symbol.Value / insn.SlotSize)}
			follow(object, start, func(at bpf.Place) bool {
				if d.unbound[at] != "" {
					return false
				}
				d.unbound[at] = why
				return true
			})
		}
	}
}

// follow visits a function and those that it refers to, and goes on from each that is new.
func follow(object *bpf.Object, at bpf.Place, isNew func(bpf.Place) bool) {
	if !object.IsFunction(at) || !isNew(at) {
		return
	}
	for _, callee := range object.Function(at).References() {
		follow(object, callee, isNew)
	}
}

// whyNotAsked says why the kfunc that has the field of an access can't be asked there. It is
// empty if it can, or if none has to be.
func (d *drivers) whyNotAsked(of *driver, access *reloc.Access) string {
	if of.accessors.Fields[access.FieldName()].Kfunc == "" {
		return ""
	}
	return d.unbound[functionPlace(access)]
}

// of returns the source of what a function accesses.
func (d *drivers) of(at bpf.Place) (*driver, error) {
	contexts := d.contexts[at]
	switch {
	case len(contexts) == 0:
		return d.first, nil
	case slices.Contains(contexts, nil):
		return d.first, refuse.Because("read the fields in an XDP program or one of TC, or declare the ctx that it gets, struct xdp_md * or struct __sk_buff *",
			"what computes it needs ctx, and a program comes here that has neither struct xdp_md nor struct __sk_buff")
	case len(contexts) > 1:
		return d.first, refuse.Because("make two functions of it", "XDP programs and TC programs come here, and what one reads the other does not have")
	case d.byContext[contexts[0]] == nil:
		return d.first, refuse.Because("read it in a program of another kind", "%s has no accessors for such a program", d.first.accessors.Name)
	}
	return d.byContext[contexts[0]], nil
}

// layout returns one that has some of the fields as the accessors return them, one after the
// other, and the enumerations of md_desc.h. Where they are does not matter.
func (a *Accessors) layout(has func(*Accessor) bool) (*reloc.Layout, error) {
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
		accessor := a.Fields[name]
		if !has(&accessor) {
			continue
		}
		var function *btf.Func
		if err := spec.TypeByName(accessor.Function, &function); err != nil {
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
	for _, enum := range headerEnums {
		all = append(all, enum)
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

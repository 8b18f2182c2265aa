package rewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/reloc"
)

// A mark of what was made for a driver names it, as what md_desc(ctx) comes to:
//
//	struct xdp_load_source *byte_off__0_0__veth;
//
// Two drivers may have fields of the same types, and nothing that is at a place.

// notInNames is what names of C don't have in them, and partSeparator.
var notInNames = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[^A-Za-z0-9]+`) })

// markName is the driver's name in marks.
func (d *driver) markName() string { return notInNames().ReplaceAllString(d.accessors.Name, "_") }

// identity returns what an access came to, for a mark. Where in the layout of a driver it
// is says nothing: that depends on which other fields are there.
func (r *rewriting) identity(access *reloc.Access, resolution *reloc.Resolution) string {
	if r.drivers != nil && access.IsMarker() {
		d, _ := r.drivers.of(functionPlace(access)) // else it is refused
		return d.markName()
	}
	identity := access.Identity(resolution)
	if r.drivers != nil {
		identity, _, _ = strings.Cut(identity, "_at_")
	}
	return identity
}

// isUnasked reports whether an access is to a field that is not there as the kfunc for it
// can't be asked.
func (r *rewriting) isUnasked(access *reloc.Access) bool {
	if r.drivers == nil {
		return false
	}
	d, _ := r.drivers.of(functionPlace(access))
	return r.drivers.whyNotAsked(d, access) != ""
}

// drivers returns the names of the drivers that a mark is of.
func (m mark) drivers() []string {
	var names []string
	for i := range m {
		if m[i].access.IsMarker() {
			names = append(names, m[i].identity)
		}
	}
	return names
}

// ofDescriptor reports whether a mark is of accesses to the descriptor.
func (m mark) ofDescriptor() bool {
	return slices.ContainsFunc(m, func(one resolved) bool {
		return !one.nested && btfraw.EssentialName(one.access.RootName()) == reloc.Descriptor
	})
}

// checkSource wants a mark to be of one of the drivers, or of the metadata area if there
// are none.
func (r *rewriting) checkSource(m mark) error {
	was := m.drivers()
	switch {
	case r.drivers == nil && len(was) > 0, r.drivers != nil && slices.ContainsFunc(was, func(name string) bool { return !r.drivers.has(name) }):
		return r.anotherSource("driver " + strings.Join(was, ", "))
	case r.drivers != nil && len(was) == 0 && m.ofDescriptor():
		return r.anotherSource("a layout of the metadata area")
	}
	return nil
}

func (r *rewriting) anotherSource(was string) error {
	return &anotherLayoutError{fmt.Sprintf("the object was rewritten for %s, and not for %s: take the object as the compiler made it", was, r.source())}
}

// source is what messages call what the object is rewritten for.
func (r *rewriting) source() string {
	if r.drivers != nil {
		return "driver " + r.drivers.names()
	}
	return "layout " + r.layout.Name()
}

// has reports whether there is a driver of a name, as marks have it.
func (d *drivers) has(name string) bool {
	for _, of := range d.byContext {
		if of.markName() == name {
			return true
		}
	}
	return false
}

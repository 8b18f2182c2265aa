package reloc

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// Unaccessed returns the object's structs of a name of which no field is accessed, as
// C spells them. If there are accesses to some, only flavours count: of the struct
// without a suffix a program may know the name and no more, in the prototype of a
// function, say.
//
// They tell of a struct without preserve_access_index: whatever accesses it is compiled
// for the program's own offsets.
func (r *Recorded) Unaccessed(essential string) ([]string, error) {
	ids, err := r.raw.Named(essential)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, nil
	}
	accessed := make(map[btf.Type]bool)
	for access := range r.all() {
		if access.Kind.aboutField() {
			access.path.passes(accessed)
		}
	}

	var names []string
	some := false
	for _, id := range ids {
		typ, err := r.Types.TypeByID(id)
		if err != nil {
			return nil, fmt.Errorf("type %d: %w", id, err)
		}
		if !is[*btf.Struct](typ) {
			continue
		}
		some = some || accessed[typ]
		if name := TypeString(typ); !accessed[typ] && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if some {
		names = slices.DeleteFunc(names, func(name string) bool { return btfraw.EssentialName(name) == name })
	}
	return names, nil
}

// passes notes the types that a path leads through, from the root to its end.
func (p *pathSpec) passes(types map[btf.Type]bool) {
	types[btf.UnderlyingType(p.root)] = true
	for _, step := range p.steps {
		types[btf.UnderlyingType(step.typ)] = true
	}
}

package rewrite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/xdp-load/xdp-load/reloc"
)

// unresolvable returns refusals of the accesses that neither the layout nor a loader
// can resolve.
func (r *rewriting) unresolvable() []Refusal {
	var refusals []Refusal
	for _, access := range r.recorded.Unresolvable(r.options.isRoot) {
		if !r.options.loads(access) {
			continue
		}
		refusals = append(refusals, Refusal{
			Access: *r.accessBefore(access),
			Reason: fmt.Sprintf("%s has the descriptor within it, and neither the layout nor the kernel has such a type", access.Root),
			Remedy: fmt.Sprintf("take the descriptor with struct %[1]s *md = md_desc(ctx), and what is the program's own behind it from (void *)md + bpf_core_type_size(struct %[1]s); leave preserve_access_index off %[2]s if it is in the program's own memory",
				reloc.Descriptor, access.Root),
		})
	}
	return refusals
}

// alsoRefused adds refusals to the error of a run, or to its edits if there is none.
func (r *rewriting) alsoRefused(refusals []Refusal, err error) error {
	if len(refusals) == 0 {
		return err
	}
	var refused *RefusedError
	switch {
	case err == nil:
		refused = &RefusedError{Layout: r.layout.Name(), Edits: r.edits}
	case !errors.As(err, &refused):
		return err
	}
	refused.Refusals = append(refused.Refusals, refusals...)
	slices.SortStableFunc(refused.Refusals, func(a, b Refusal) int { return cmp.Compare(a.Access.Record, b.Access.Record) })
	return refused
}

package rewrite

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// ErrNoSuchRoot is wrapped by the error about a glob in Options.Types that matches no
// root type of the object.
var ErrNoSuchRoot = errors.New("no access is recorded to a root type of that name")

// checkMatched wants every glob to match a root type that has or had an access, or a
// struct of which report.Unaccessed says that none is recorded. "*" is for whatever
// there is.
func (r *rewriting) checkMatched(report *Report) error {
	roots := r.roots(report)
	for _, glob := range r.options.Types {
		only := Options{Types: []string{glob}}
		if glob != "*" && !slices.ContainsFunc(roots, only.isRoot) {
			return fmt.Errorf("type %q: %w: %s", glob, ErrNoSuchRoot, listRoots(roots, glob))
		}
	}
	return nil
}

// roots returns the names of the object's root types, each once.
func (r *rewriting) roots(report *Report) []string {
	var names []string
	for i := range r.recorded.Accesses {
		if !r.recorded.Accesses[i].IsMarker() {
			names = append(names, r.recorded.Accesses[i].RootName())
		}
	}
	for i := range r.recorded.Resolved {
		if !r.recorded.Resolved[i].IsMarker() {
			names = append(names, r.recorded.Resolved[i].RootName())
		}
	}
	for _, title := range report.Unaccessed {
		names = append(names, strings.TrimPrefix(title, "struct "))
	}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	return slices.Compact(names)
}

// listRoots names the root types that there are instead, those first that a glob is
// most like.
func listRoots(roots []string, glob string) string {
	if len(roots) == 0 {
		return "the object has no recorded access at all"
	}
	slices.SortStableFunc(roots, func(a, b string) int {
		return cmp.Compare(difference(btfraw.EssentialName(a), glob), difference(btfraw.EssentialName(b), glob))
	})
	return "the object has " + strings.Join(roots, ", ")
}

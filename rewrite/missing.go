package rewrite

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// judgeMissing decides before the kernel does what it would say of an access to
// what is not there. One that can be reached is refused, one that can't be is
// guarded. Of others only the kernel knows.
func (p *planner) judgeMissing(edit *Edit) error {
	constants, ok := p.constantsAt(edit.Access)
	verdict := flow.Doubtful
	switch {
	case ok && constants == nil:
		verdict = flow.Unreachable
	case ok:
		verdict = constants.Reachable(edit.Access.Insn)
	}
	switch verdict {
	case flow.Reachable:
		reason, remedy := edit.Missing()
		return &refuse.Error{Reason: reason + ", and the program can reach it", Remedy: remedy, Missing: edit.Resolution.Missing}
	case flow.Unreachable:
		edit.Guarded = true
	}
	return nil
}

// Missing says what an edit that poisons an access found missing in the layout,
// with what it has instead, nearest names first, and what to do about it.
func (e *Edit) Missing() (reason, remedy string) {
	access, resolution := e.Access, e.Resolution
	remedy = fmt.Sprintf("guard it with bpf_core_field_exists(%s)", access.Path)
	switch {
	case access.PastEnd() && len(resolution.Fields) == 0:
		remedy = "compare an index instead of an address"
	case access.PastEnd(): // of which nobody answers whether it exists
		remedy = fmt.Sprintf("guard it with bpf_core_field_exists(%s)", access.Path[:strings.LastIndex(access.Path, "[")])
	case access.Adopted() && resolution.Type == "": // the layout has no such struct
		remedy = fmt.Sprintf("guard it with bpf_core_field_exists(%s)", access.NestedIn())
	case access.Kind == reloc.EnumValue:
		remedy = fmt.Sprintf("guard it with bpf_core_enum_value_exists(%s, %s)", access.Root, access.Path)
	}
	if len(resolution.Fields) == 0 {
		return resolution.Missing, remedy
	}
	wanted := access.Path[strings.LastIndexAny(access.Path, ".>")+1:]
	names := slices.Clone(resolution.Fields)
	differences := make(map[string]int, len(names))
	for _, name := range names {
		differences[name] = difference(name, wanted)
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(differences[a], differences[b]) })
	return fmt.Sprintf("%s, it has %s", resolution.Missing, strings.Join(names, ", ")), remedy
}

// difference is the number of letters to insert, remove or replace to get from
// one name to the other.
func difference(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

package flow_test

import (
	"slices"
	"testing"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// verdicts returns what is said of the uses of a field, by function.
func verdicts(t *testing.T, f *fixture, field string, missing ...string) map[string][]flow.Verdict {
	subs := f.subs(t, missing...)
	var all []*flow.Subprogram
	for _, u := range subs {
		all = append(all, u.Subprogram)
	}
	results := flow.Analyze(all)
	found := make(map[string][]flow.Verdict)
	for name, u := range subs {
		for _, access := range u.accesses {
			if access.Kind != reloc.ByteOffset || access.Path != "md->"+field {
				continue
			}
			verdict := flow.Unreachable
			if c := results[u.Subprogram]; c != nil {
				verdict = c.Reachable(access.Insn)
			}
			found[name] = append(found[name], verdict)
		}
	}
	return found
}

// A guarded use of a field that is not there is unreachable, however the guard
// is written and compiled; one that is there is not.
func TestGuardShapes(t *testing.T) {
	eachFixture(t, "guards", func(t *testing.T, f *fixture) {
		guarded := []string{"plain_if", "nested_ifs", "both", "either", "early_return", "ternary", "flag", "bits",
			"spilled", "negated", "switched", "sized", "read_mark"}
		for name, list := range verdicts(t, f, "mark", "mark") {
			for _, got := range list {
				if got != flow.Unreachable {
					t.Errorf("%s, field missing: %s", name, got)
				}
			}
		}
		found := verdicts(t, f, "mark")
		for _, name := range guarded {
			if len(found[name]) == 0 {
				t.Errorf("%s does not use the field", name)
			}
			if !slices.ContainsFunc(found[name], func(got flow.Verdict) bool { return got != flow.Unreachable }) {
				t.Errorf("%s, field there: unreachable", name)
			}
		}
	})
}

// What is not guarded is reachable, and what can't be decided is doubtful.
func TestUnguarded(t *testing.T) {
	expected := map[string]flow.Verdict{
		"asked_twice": flow.Doubtful,
		"unguarded":   flow.Reachable,
		"wrong_guard": flow.Reachable,
		"after_guard": flow.Reachable,
		"remembered":  flow.Doubtful,
	}
	eachFixture(t, "guards", func(t *testing.T, f *fixture) {
		found := verdicts(t, f, "csum", "csum")
		for name, want := range expected {
			if len(found[name]) == 0 {
				t.Errorf("%s does not use the field", name)
			}
			for _, got := range found[name] {
				if got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
		}
	})
}

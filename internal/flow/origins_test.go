package flow_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// summary is what there is to say of a function, in the order of its records.
type summary struct {
	Accesses []use
	Escapes  []flow.Use
}

// use is an access: the fields it may be to, how far from their start, and how
// many nodes its block becomes if paths are kept apart.
type use struct {
	Fields  []string
	Delta   int64
	Indexed bool
	Nodes   int
}

func summarize(u *sub) summary {
	fields := make(map[int]string)
	for _, access := range u.accesses {
		if access.Kind == reloc.ByteOffset {
			fields[access.Insn] = access.Path
		}
	}
	names := func(origins []flow.Origin) (names []string) {
		for _, origin := range origins {
			names = append(names, fields[origin.Slot])
		}
		return names
	}
	origins := u.Constants(u.Assumptions).Origins(u.recorded())
	var s summary
	for _, access := range origins.Dereferences {
		found := use{Fields: names(access.Origins), Delta: access.Origins[0].Delta, Indexed: access.Indexed}
		if nodes, ok := origins.Paths([]flow.Dereference{access}, 1000); ok {
			for _, node := range nodes {
				if node.Block == u.BlockAt(access.Slot) {
					found.Nodes++
				}
			}
		}
		if access.Mixed {
			found.Fields = append(found.Fields, "?")
		}
		s.Accesses = append(s.Accesses, found)
	}
	for _, escape := range origins.Escapes {
		s.Escapes = append(s.Escapes, escape.Use)
	}
	return s
}

// Accesses through an offset in a register are found, however they are compiled.
func TestOrigins(t *testing.T) {
	one := func(field string) use { return use{Fields: []string{field}} }
	either := use{
		Fields: []string{"md->hash", "md->mark"},
		Nodes:  2,
	}
	expected := map[string]summary{
		"either":  {Accesses: []use{one("md->hash")}}, // as the layout has it
		"chosen":  {Accesses: []use{either}},
		"passed":  {Escapes: []flow.Use{flow.Passed}},
		"spilled": {Accesses: []use{one("md->hash")}},
		"kept":    {Accesses: []use{one("md->mark")}},
		"indexed": {Accesses: []use{{Fields: []string{"md->words"}, Indexed: true}}},
		"element": {},
	}
	eachFixture(t, "origins", func(t *testing.T, f *fixture) {
		subs := f.subs(t)
		for name, want := range expected {
			if diff := cmp.Diff(want, summarize(subs[name]), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", name, diff)
			}
		}
	})
}

func TestGuards(t *testing.T) {
	type guard struct {
		bytes    int64
		recorded bool
	}
	expected := map[string][]guard{
		"recorded": {{0, true}},
		"baked":    {{40, false}},
		"mirrored": {{48, false}},
		"skb":      {{40, false}},
		"packet":   nil,
	}
	eachFixture(t, "bounds", func(t *testing.T, f *fixture) {
		subs := f.subs(t)
		for name, want := range expected {
			u, context := subs[name], flow.XDP
			if name == "skb" {
				context = flow.TC
			}
			guards := u.Constants(u.Assumptions).Guards(context)
			var got []guard
			for _, g := range guards.List {
				got = append(got, guard{g.Bytes, g.Recorded >= 0})
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(guard{})); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", name, diff)
			}
			for _, access := range u.accesses {
				if before := guards.Before(access.Insn); access.Kind == reloc.ByteOffset && !access.IsMarker() && len(before) != len(want) {
					t.Errorf("%s: guards before the access: %+v", name, before)
				}
			}
			if before := guards.Before(u.End() - 1); len(before) != 0 {
				t.Errorf("%s: guards before the end: %+v", name, before)
			}
		}
	})
}

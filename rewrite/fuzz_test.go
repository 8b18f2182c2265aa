package rewrite_test

import (
	"bytes"
	"testing"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// FuzzRewrite: no panic, an error exactly if there is no result, and a result
// that reads back: nothing of ours is left in it, and rewriting it again changes
// nothing.
func FuzzRewrite(f *testing.F) {
	for _, p := range []pair{
		{"unguarded-el", "narrow-el"}, {"unguarded-eb", "wide-eb"},
		{"merged-el", "reordered-el"}, {"paths-el", "paths-el"}, {"mixed-eb", "sparse-eb"},
		{"tc-el", "bitfield-el"}, {"store-eb", "twins-eb"},
	} {
		f.Add(readProgram(f, p.program), sectionData(f, readFile(f, testdata+"/layouts/"+p.layout+".o"), ".BTF"))
	}
	for _, p := range []pair{{"unguarded-el", "narrow-el"}, {"nests-eb", "nests-eb"}} { // objects with a mark
		marked, _, err := rewrite.Rewrite(readProgram(f, p.program), readLayout(f, p.layout), p.options())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(marked, sectionData(f, readFile(f, testdata+"/layouts/"+p.layout+".o"), ".BTF"))
	}
	f.Fuzz(func(t *testing.T, object, raw []byte) {
		layout, err := reloc.NewLayout("fuzz", raw, nil)
		if (err == nil) != (layout != nil) {
			t.Fatalf("error %v with layout %v", err, layout)
		}
		if err != nil {
			return
		}
		for _, opts := range []rewrite.Options{{}, {Types: []string{"*"}}} {
			original := bytes.Clone(object)
			out, report, err := rewrite.Rewrite(object, layout, opts)
			if !bytes.Equal(object, original) {
				t.Fatal("the input was written to")
			}
			if (err == nil) != (out != nil) || (err == nil) != (report != nil) {
				t.Fatalf("error %v with object %v, report %v", err, out != nil, report != nil)
			}
			if err == nil {
				checkReadsBack(t, out, layout, opts)
			}
		}
	})
}

func checkReadsBack(t *testing.T, out []byte, layout *reloc.Layout, opts rewrite.Options) {
	t.Helper()
	if _, err := reloc.Read(out); err != nil {
		t.Fatalf("the output does not read back: %v", err)
	}
	again, report, err := rewrite.Rewrite(out, layout, opts)
	if err != nil {
		t.Fatalf("the output is not rewritten again: %v", err)
	}
	if len(report.Edits) > 0 {
		t.Errorf("left in the output: %v", editsOf(report))
	}
	if !bytes.Equal(again, out) {
		t.Error("rewriting again changes the output")
	}
}

package reloc_test

import (
	"testing"

	"github.com/xdp-load/xdp-load/reloc"
)

// FuzzRead: no panic, an error exactly if there is no result, and accesses that
// say where and what they are.
func FuzzRead(f *testing.F) {
	for _, object := range []string{"unguarded-el", "merged-eb", "mixed-el", "tc-eb"} {
		f.Add(readFile(f, "../testdata/programs/"+object+".o"))
	}
	for _, order := range orders {
		f.Add(record{order, packed(f, "md_desc", bits("x", u32, 3, 5)), "0:0", reloc.LeftShift, "xdp", 0, 1}.object(f))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		accesses, err := reloc.Read(object)
		if err != nil {
			if accesses != nil {
				t.Fatalf("%d accesses beside the error %v", len(accesses), err)
			}
			return
		}
		for _, access := range accesses {
			switch {
			case access.Insn < 0 || access.FunctionStart > access.Insn:
				t.Errorf("an access at instruction %d of section %q, function from %d", access.Insn, access.Section, access.FunctionStart)
			case access.Root == "" || access.Path == "" || !access.Local.Exists || access.Local.Poison:
				t.Errorf("an access to %q of %q: %s", access.Path, access.Root, access.Local.String())
			}
		}
	})
}

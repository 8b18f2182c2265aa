package link_test

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"testing"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/link"
)

// FuzzInto: no panic, an error exactly if the object is as it was, and a result that
// reads back, and from which functions can be linked again. Every function of the
// source is wanted, one after the other.
func FuzzInto(f *testing.F) {
	paths, err := filepath.Glob("../code/testdata/*.o")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no objects: %v", err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		small := parse(f, raw)
		if _, err := small.Remove(func(s *elfobj.Section) bool { return len(s.Name) > 6 && s.Name[:7] == ".debug_" }); err != nil {
			f.Fatal(err)
		}
		f.Add(small.Bytes(), small.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw, from []byte) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			return
		}
		other, err := elfobj.Parse(from)
		if err != nil {
			return
		}
		source, err := link.NewSource(other)
		if err != nil {
			return
		}
		before := other.Bytes()
		for _, symbol := range other.Symbols {
			if elf.ST_TYPE(symbol.Info) == elf.STT_FUNC {
				linkOne(t, obj, source, symbol.Name)
			}
		}
		if !bytes.Equal(other.Bytes(), before) {
			t.Fatal("the source is another")
		}
	})
}

func linkOne(t *testing.T, obj *elfobj.Object, source *link.Source, name string) {
	before := obj.Bytes()
	for _, wanted := range []link.Wanted{{Functions: []string{name}}, {Bodies: []string{name}}} {
		if _, err := source.Into(obj, nil, wanted); err != nil {
			if !bytes.Equal(obj.Bytes(), before) {
				t.Fatalf("changed, with error %v", err)
			}
			return
		}
		after := obj.Bytes()
		again, err := elfobj.Parse(after)
		if err != nil {
			t.Fatalf("the output does not read back: %v", err)
		}
		if !bytes.Equal(again.Bytes(), after) || len(again.Symbols) != len(obj.Symbols) {
			t.Fatal("the output reads back as something else")
		}
		if _, err := link.NewSource(again); err != nil {
			t.Fatalf("nothing can be linked from the output: %v", err)
		}
		before = after
	}
}

package elfobj_test

import (
	"bytes"
	"debug/elf"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// A section that is added is read back, and nothing else has changed.
func TestAddSection(t *testing.T) {
	for name, raw := range objects(t) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		want := references(t, raw)
		added, err := obj.AddSection(".rodata.added", elf.SHF_ALLOC, 8, []byte("some data"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if obj.Sections[added.Index] != added || obj.Section(".rodata.added") != added {
			t.Errorf("%s: it is not section %d", name, added.Index)
		}
		want["sections"] = append(want["sections"], ".rodata.added links ")
		if diff := cmp.Diff(want, references(t, obj.Bytes())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}

		file, err := elf.NewFile(bytes.NewReader(obj.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		section := file.Section(".rodata.added")
		data, err := section.Data()
		if err != nil || string(data) != "some data" || section.Type != elf.SHT_PROGBITS || section.Flags != elf.SHF_ALLOC || section.Addralign != 8 {
			t.Errorf("%s: %+v with %q, %v", name, section.SectionHeader, data, err)
		}
		again, err := elfobj.Parse(obj.Bytes())
		if err != nil || !bytes.Equal(again.Bytes(), obj.Bytes()) {
			t.Errorf("%s: other bytes are read back (%v)", name, err)
		}
	}
}

// grown are symbols of all kinds, mixed.
func grown(section elf.SectionIndex) []elf.Symbol {
	return []elf.Symbol{
		{Name: "kfunc", Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_NOTYPE)},
		{Name: "static", Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_FUNC), Section: section, Value: 8, Size: 16},
		{Name: "global", Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Other: byte(elf.STV_HIDDEN), Section: section, Size: 8},
		{Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_SECTION), Section: section},
	}
}

// Symbols that are added are read back, local ones in front of global ones, and what
// was there refers to what it referred to.
func TestAddSymbols(t *testing.T) {
	for name, raw := range objects(t) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(obj.Symbols)
		want := references(t, raw)
		added := grown(elf.SectionIndex(obj.Section(".BTF").Index))
		indices, err := obj.AddSymbols(added)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := elfobj.Parse(obj.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(again.Bytes(), obj.Bytes()) || !slices.Equal(again.Symbols, obj.Symbols) {
			t.Errorf("%s: other symbols are read back", name)
		}
		for i, index := range indices {
			if diff := cmp.Diff(added[i], again.Symbols[index]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		isNew := func(i int) bool { return slices.Contains(indices, i) }
		left := slices.DeleteFunc(slices.Collect(each(len(again.Symbols))), isNew)
		for n, index := range left {
			if again.Symbols[index] != before[n] {
				t.Errorf("%s: symbol %d is another than %d was", name, index, n)
			}
		}
		globals := slices.IndexFunc(again.Symbols, func(s elf.Symbol) bool { return elf.ST_BIND(s.Info) != elf.STB_LOCAL })
		if globals != int(again.SymbolTable().Info)-1 {
			t.Errorf("%s: the first global symbol is %d, sh_info says %d", name, globals, again.SymbolTable().Info)
		}
		got := references(t, obj.Bytes())
		if want["first global"][0] == "none" { // there was none behind the local ones
			delete(got, "first global")
			delete(want, "first global")
		}
		delete(got, "symbols")
		delete(want, "symbols")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A table whose symbols are in no order, and whose sh_info says nothing, as libbpf's
// linker makes it, gets new ones at its end.
func TestAddSymbolsWithoutOrder(t *testing.T) {
	for name, raw := range objects(t) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		obj.SymbolTable().Info = 0
		before := slices.Clone(obj.Symbols)
		indices, err := obj.AddSymbols(grown(elf.SectionIndex(obj.Section(".BTF").Index)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n := len(before)
		if want := []int{n + 2, n, n + 3, n + 1}; !slices.Equal(indices, want) {
			t.Errorf("%s: symbols are at %v instead of %v", name, indices, want)
		}
		again, err := elfobj.Parse(obj.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(again.Symbols[:n], before) || again.SymbolTable().Info != 0 {
			t.Errorf("%s: what was there is another, or sh_info is %d", name, again.SymbolTable().Info)
		}
		want, got := references(t, raw), references(t, obj.Bytes())
		for _, what := range []string{"symbols", "first global"} {
			delete(want, what)
			delete(got, what)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func each(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// Relocations that are added are read back among those that are there, also where
// nothing was relocated.
func TestAddRelocations(t *testing.T) {
	for name, raw := range objects(t) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, section := range slices.Clone(obj.Sections) {
			if section.Type != elf.SHT_PROGBITS || len(section.Data) == 0 {
				continue
			}
			want := rels(obj, section)
			added := []elfobj.Rel{{Offset: 24, Type: 10, Index: 0}, {Offset: 0, Type: 1, Index: len(obj.Symbols) - 1}}
			if err := obj.AddRelocations(section, added); err != nil {
				t.Fatalf("%s: %s: %v", name, section, err)
			}
			again, err := elfobj.Parse(obj.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			table := again.Relocations(again.Sections[section.Index])
			if table.Link != uint32(again.SymbolTable().Index) || table.Entsize != elfobj.RelSize || table.Name != ".rel"+section.Name {
				t.Errorf("%s: %+v", name, table.SectionHeader)
			}
			want = append(want, added...)
			got := rels(again, again.Sections[section.Index])
			if !slices.IsSortedFunc(got, func(a, b elfobj.Rel) int { return int(a.Offset) - int(b.Offset) }) {
				t.Errorf("%s: relocations of %s are in no order", name, section)
			}
			for _, rel := range want {
				if !slices.Contains(got, rel) {
					t.Errorf("%s: %+v of %s is not there", name, rel, section)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d instead of %d relocations of %s", name, len(got), len(want), section)
			}
		}
	}
}

func rels(obj *elfobj.Object, section *elfobj.Section) (all []elfobj.Rel) {
	for rel := range obj.Rels(obj.Relocations(section)) {
		rel.Symbol = nil
		all = append(all, rel)
	}
	return all
}

func TestGrow(t *testing.T) {
	obj, err := elfobj.Parse(objects(t)["programs/unguarded-el.o"])
	if err != nil {
		t.Fatal(err)
	}
	zeroes, err := obj.AddZeroes(".bss.added", elf.SHF_ALLOC|elf.SHF_WRITE, 4, 5)
	if err != nil {
		t.Fatal(err)
	}
	data, err := obj.AddSection(".data.added", elf.SHF_ALLOC|elf.SHF_WRITE, 1, []byte("abc"))
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range []*elfobj.Section{zeroes, data} {
		offset, err := obj.Grow(section, 16, 3)
		if err != nil || offset != 16 {
			t.Errorf("%s: at %d, %v", section, offset, err)
		}
		file, err := elf.NewFile(bytes.NewReader(obj.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		read := file.Sections[section.Index]
		if read.Name != section.Name || read.Size != 19 || read.Addralign != 16 || read.Type != section.Type {
			t.Errorf("%+v", read.SectionHeader)
		}
	}
	if string(data.Data) != "abc"+strings.Repeat("\x00", 16) {
		t.Errorf("%q", data.Data)
	}
	for _, size := range []uint64{math.MaxInt32, math.MaxUint64} {
		for _, section := range []*elfobj.Section{zeroes, data} {
			if offset, err := obj.Grow(section, 8, size); err == nil {
				t.Errorf("%s: %d bytes at %d", section, size, offset)
			}
		}
	}
}

func TestGrowRefuses(t *testing.T) {
	for name, grow := range map[string]func(*elfobj.Object) error{
		"symbols without a table": func(o *elfobj.Object) error {
			o.SymbolTable().Type = elf.SHT_PROGBITS
			_, err := o.AddSymbols(grown(1))
			return err
		},
		"half a symbol table": func(o *elfobj.Object) error {
			o.SymbolTable().Data = o.SymbolTable().Data[1:]
			_, err := o.AddSymbols(grown(1))
			return err
		},
		"local symbols beyond the end": func(o *elfobj.Object) error {
			o.SymbolTable().Info = uint32(len(o.Symbols)) + 2
			_, err := o.AddSymbols(grown(1))
			return err
		},
		"symbol of no section": func(o *elfobj.Object) error {
			_, err := o.AddSymbols(grown(99))
			return err
		},
		"symbols in more sections than they can name": func(o *elfobj.Object) error {
			o.Sections = append(o.Sections, slices.Repeat(o.Sections[:1], int(elf.SHN_LORESERVE))...)
			_, err := o.AddSymbols(grown(1))
			return err
		},
		"addresses of nothing": func(o *elfobj.Object) error {
			o.Section(".llvm_addrsig").Data = []byte{99}
			_, err := o.AddSymbols(grown(1))
			return err
		},
		"relocations without symbols": func(o *elfobj.Object) error {
			o.SymbolTable().Type = elf.SHT_PROGBITS
			return o.AddRelocations(o.Section("license"), []elfobj.Rel{{}})
		},
		"relocation of no symbol": func(o *elfobj.Object) error {
			return o.AddRelocations(o.Section("license"), []elfobj.Rel{{Index: len(o.Symbols)}})
		},
		"half a relocation": func(o *elfobj.Object) error {
			o.Section(".relxdp").Data = o.Section(".relxdp").Data[1:]
			return o.AddRelocations(o.Section("xdp"), []elfobj.Rel{{}})
		},
	} {
		obj, err := elfobj.Parse(objects(t)["programs/fields-el.o"])
		if err != nil {
			t.Fatal(err)
		}
		if err := grow(obj); err == nil || strings.Contains(err.Error(), "nil") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package elfobj_test

import (
	"debug/elf"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// A symbol that is changed is read back like that, and the others as they were.
func TestSetSymbol(t *testing.T) {
	for name, raw := range objects(t) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(obj.Symbols)
		for i := range want {
			if i%3 != 0 {
				continue
			}
			symbol := &want[i]
			symbol.Name += "__2"
			symbol.Info = elf.ST_INFO(elf.STB_WEAK, elf.STT_OBJECT)
			symbol.Other = byte(elf.STV_HIDDEN)
			symbol.Section = elf.SectionIndex(i % len(obj.Sections))
			symbol.Value, symbol.Size = uint64(8*i), uint64(i)<<40
			if err := obj.SetSymbol(i, *symbol); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if diff := cmp.Diff(want, obj.Symbols); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		again, err := elfobj.Parse(obj.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, again.Symbols); diff != "" {
			t.Errorf("%s, read back (-want +got):\n%s", name, diff)
		}
	}
}

func TestChangeRefuses(t *testing.T) {
	for name, change := range map[string]func(*elfobj.Object) error{
		"no such symbol": func(o *elfobj.Object) error { return o.SetSymbol(len(o.Symbols), elf.Symbol{}) },
		"half a symbol": func(o *elfobj.Object) error {
			o.SymbolTable().Data = o.SymbolTable().Data[1:]
			return o.SetSymbol(0, elf.Symbol{})
		},
		"no names of symbols": func(o *elfobj.Object) error {
			o.SymbolTable().Link = uint32(o.Section("xdp").Index)
			return o.SetSymbol(0, elf.Symbol{Name: "name"})
		},
		"names beyond the end": func(o *elfobj.Object) error {
			o.SymbolTable().Link = 99
			return o.SetSymbol(0, elf.Symbol{Name: "name"})
		},
		"no name": func(o *elfobj.Object) error {
			o.Section(".strtab").Data = nil
			return o.SetSymbol(0, elf.Symbol{Name: "name"})
		},
		"half a name": func(o *elfobj.Object) error {
			o.Section(".strtab").Data = append(o.Section(".strtab").Data, 'n')
			return o.SetSymbol(0, elf.Symbol{Name: "name"})
		},
		"compressed names": func(o *elfobj.Object) error {
			o.Section(".strtab").Flags |= elf.SHF_COMPRESSED
			return o.SetSymbol(0, elf.Symbol{Name: "name"})
		},
		"no names of sections": func(o *elfobj.Object) error {
			o.Section(".strtab").Type = elf.SHT_PROGBITS
			_, err := o.AddSection(".added", 0, 1, nil)
			return err
		},
		"no number of sections": func(o *elfobj.Object) error {
			o.Sections = o.Sections[1:]
			_, err := o.AddSection(".added", 0, 1, nil)
			return err
		},
	} {
		obj, err := elfobj.Parse(objects(t)["programs/fields-el.o"])
		if err != nil {
			t.Fatal(err)
		}
		if err := change(obj); err == nil || strings.Contains(err.Error(), "nil") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package elfobj_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/elfobj"
)

func isDWARF(s *elfobj.Section) bool { return strings.HasPrefix(s.Name, ".debug_") }

// references spells out everything in an object that is a number of a section
// or a symbol: what it refers to, by name.
func references(t *testing.T, raw []byte) map[string][]string {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	sectionName := func(index uint32) string {
		if int(index) >= len(file.Sections) {
			return elf.SectionIndex(index).String()
		}
		return file.Sections[index].Name
	}
	symbolName := func(index uint64) string {
		if index == 0 {
			return "none"
		}
		symbol := symbols[index-1]
		return symbol.Name + " of " + sectionName(uint32(symbol.Section))
	}

	all := map[string][]string{"names": {sectionName(uint32(file.ByteOrder.Uint16(raw[0x3e:])))}}
	for _, symbol := range symbols {
		all["symbols"] = append(all["symbols"], symbol.Name+" of "+sectionName(uint32(symbol.Section)))
	}
	for _, section := range file.Sections {
		all["sections"] = append(all["sections"], section.Name+" links "+sectionName(section.Link))
		if section.Type == elf.SHT_NOBITS || section.Type == elf.SHT_NULL {
			continue
		}
		data, err := section.Data()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case section.Type == elf.SHT_REL:
			all["sections"] = append(all["sections"], section.Name+" patches "+sectionName(section.Info))
			for ; len(data) > 0; data = data[16:] {
				all[section.Name] = append(all[section.Name], symbolName(file.ByteOrder.Uint64(data[8:])>>32))
			}
		case section.Type == elf.SHT_SYMTAB:
			all["first global"] = []string{symbolName(uint64(section.Info))}
		case section.Name == ".llvm_addrsig" && section.Link != 0:
			for len(data) > 0 {
				index, size := binary.Uvarint(data)
				all[section.Name] = append(all[section.Name], symbolName(index))
				data = data[size:]
			}
		}
	}
	return all
}

// What is left refers to what it referred to.
func TestRemove(t *testing.T) {
	removed := 0
	for name, raw := range objects(t) {
		if strings.HasPrefix(name, "invalid/") {
			continue
		}
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(obj.Symbols)
		symbols, err := obj.Remove(isDWARF)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for old, now := range symbols {
			if now != elfobj.NoSymbol && obj.Symbols[now].Name != before[old].Name {
				t.Errorf("%s: symbol %d is now %d, %s instead of %s", name, old, now, obj.Symbols[now].Name, before[old].Name)
			}
		}
		want, got := references(t, raw), references(t, obj.Bytes())
		for key, values := range want {
			if strings.Contains(key, ".debug_") {
				delete(want, key)
				continue
			}
			left := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return strings.Contains(v, ".debug_") })
			removed += len(values) - len(left)
			want[key] = left
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for i, section := range obj.Sections {
			if section.Index != i {
				t.Errorf("%s: section %s, number %d, says %d", name, section, i, section.Index)
			}
		}
		again, err := elfobj.Parse(obj.Bytes())
		if err != nil || !slices.Equal(again.Symbols, obj.Symbols) {
			t.Errorf("%s: other symbols are read back (%v)", name, err)
		}
	}
	if removed == 0 {
		t.Error("nothing was removed")
	}
}

func TestRemoveNothing(t *testing.T) {
	for name, raw := range objects(t) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := obj.Remove(func(*elfobj.Section) bool { return false }); err != nil || !bytes.Equal(obj.Bytes(), raw) {
			t.Errorf("%s: %v, or other bytes", name, err)
		}
	}
}

// A COMDAT group, of which one member is removed.
func TestRemoveFromGroup(t *testing.T) {
	for _, name := range []string{"programs/fields-el.o"} {
		obj, err := elfobj.Parse(objects(t)[name])
		if err != nil {
			t.Fatal(err)
		}
		group, member, gone := obj.Section(".llvm_addrsig"), obj.Section("license"), obj.Section(".debug_info")
		names := slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == "fields" }) + 1
		group.Type, group.Info = elf.SHT_GROUP, uint32(names)
		group.Data = nil
		for _, number := range []int{1, gone.Index, member.Index} {
			group.Data = binary.LittleEndian.AppendUint32(group.Data, uint32(number))
		}
		if _, err := obj.Remove(isDWARF); err != nil {
			t.Fatal(err)
		}
		want := binary.LittleEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(member.Index))
		if !bytes.Equal(group.Data, want) || obj.Symbols[group.Info-1].Name != "fields" {
			t.Errorf("%s: %x of symbol %d, want %x", name, group.Data, group.Info, want)
		}
	}
}

func TestRemoveRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*elfobj.Object)
		unwanted string
	}{
		"what symbols link":      {nil, ".strtab"},
		"what relocations name":  {nil, ".bss"},
		"the symbol table":       {nil, ".symtab"},
		"half a relocation":      {func(o *elfobj.Object) { s := o.Section(".relxdp"); s.Data = s.Data[1:] }, ".debug_info"},
		"half a symbol":          {func(o *elfobj.Object) { s := o.Section(".symtab"); s.Data = s.Data[1:] }, ".debug_info"},
		"link beyond the end":    {func(o *elfobj.Object) { o.Section("xdp").Link = 99 }, ".debug_info"},
		"patches beyond the end": {func(o *elfobj.Object) { o.Section(".relxdp").Info = 99 }, ".debug_info"},
		"addresses of nothing":   {func(o *elfobj.Object) { o.Section(".llvm_addrsig").Data = []byte{99} }, ".debug_info"},
		"half an address":        {func(o *elfobj.Object) { o.Section(".llvm_addrsig").Data = []byte{0x80} }, ".debug_info"},
		"an sh_info of what?":    {func(o *elfobj.Object) { o.Section("license").Info = 1 }, ".debug_info"},
		"hash table":             {func(o *elfobj.Object) { o.Section("license").Type = elf.SHT_HASH }, ".debug_info"},
		"symbol of no section":   {func(o *elfobj.Object) { o.Symbols[3].Section = 99 }, ".debug_info"},
	} {
		obj, err := elfobj.Parse(objects(t)["programs/fields-el.o"])
		if err != nil {
			t.Fatal(err)
		}
		if test.change != nil {
			test.change(obj)
		}
		if _, err := obj.Remove(func(s *elfobj.Section) bool { return s.Name == test.unwanted }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestClone(t *testing.T) {
	for name, raw := range objects(t) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		clone := obj.Clone()
		if !bytes.Equal(clone.Bytes(), raw) {
			t.Errorf("%s: other bytes", name)
		}
		for _, section := range clone.Sections {
			clear(section.Data)
			section.Link = 77
		}
		clear(clone.Symbols)
		_, _ = clone.Remove(isDWARF)
		if !bytes.Equal(obj.Bytes(), raw) {
			t.Errorf("%s: changed with its clone", name)
		}
	}
}

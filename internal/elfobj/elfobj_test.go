package elfobj_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/elfobj"
)

func objects(tb testing.TB) map[string][]byte {
	tb.Helper()
	all := make(map[string][]byte)
	for _, pattern := range []string{"programs/*.o", "layouts/*.o", "invalid/*.o"} {
		paths, err := filepath.Glob("../../testdata/" + pattern)
		if err != nil || len(paths) == 0 {
			tb.Fatalf("%s: no objects: %v", pattern, err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				tb.Fatal(err)
			}
			all[strings.TrimPrefix(path, "../../testdata/")] = raw
		}
	}
	return all
}

// fields-el.o is as clang leaves it, most others went through llvm-strip.
func TestRoundTrip(t *testing.T) {
	for name, raw := range objects(t) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out := obj.Bytes(); !bytes.Equal(out, raw) {
			t.Errorf("%s: %d bytes come back as %d others", name, len(raw), len(out))
		}
	}
}

// Clang places compressed DWARF at the alignment of what it decompresses to.
// The object is testdata/programs/unguarded.c, compiled with -gz.
func TestRoundTripCompressed(t *testing.T) {
	raw, err := os.ReadFile("testdata/compressed-el.o")
	if err != nil {
		t.Fatal(err)
	}
	obj, err := elfobj.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if obj.Section(".debug_info").Flags&elf.SHF_COMPRESSED == 0 {
		t.Error(".debug_info is not compressed")
	}
	if !bytes.Equal(obj.Bytes(), raw) {
		t.Error("other bytes come back")
	}
}

// A section that grows or shrinks moves the others, at their alignment.
func TestResize(t *testing.T) {
	for name, raw := range objects(t) {
		for _, size := range []int{0, 1, 77, 4096} {
			obj, err := elfobj.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[int][]byte)
			for _, section := range obj.Sections {
				want[section.Index] = section.Data
			}
			section := obj.Section(".BTF")
			section.Data = bytes.Repeat([]byte{0xa5}, size)
			want[section.Index] = section.Data

			checkSections(t, name, obj.Bytes(), want)
		}
	}
}

// A wrong offset of .bss, which has no bytes in the file, makes no difference
// once the object was written.
func TestWriteTwice(t *testing.T) {
	raw := objects(t)["programs/unguarded-el.o"]
	order := binary.LittleEndian
	headers := raw[order.Uint64(raw[0x28:]):]
	obj, err := elfobj.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	bss := headers[obj.Section(".bss").Index*64:]
	order.PutUint64(bss[0x18:], 0)   // offset
	order.PutUint64(bss[0x30:], 256) // alignment
	if obj, err = elfobj.Parse(raw); err != nil {
		t.Fatal(err)
	}
	once := obj.Bytes()
	if obj, err = elfobj.Parse(once); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(obj.Bytes(), once) {
		t.Error("the second time, other bytes are written")
	}
}

func checkSections(t *testing.T, name string, object []byte, want map[int][]byte) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var ends uint64
	for i, section := range file.Sections {
		if section.Type == elf.SHT_NULL || section.Type == elf.SHT_NOBITS {
			continue
		}
		data, err := section.Data()
		if err != nil || !bytes.Equal(data, want[i]) {
			t.Errorf("%s: section %s has other contents (%v)", name, section.Name, err)
		}
		if section.Addralign > 1 && section.Offset%section.Addralign != 0 {
			t.Errorf("%s: section %s at %#x is not aligned to %d", name, section.Name, section.Offset, section.Addralign)
		}
		ends = max(ends, section.Offset+section.FileSize)
	}
	if headers := file.ByteOrder.Uint64(object[0x28:]); headers < ends || headers%8 != 0 {
		t.Errorf("%s: section headers at %#x, sections end at %#x", name, headers, ends)
	}
}

func TestParseKeepsNoReference(t *testing.T) {
	raw := objects(t)["programs/fields-el.o"]
	original := bytes.Clone(raw)
	obj, err := elfobj.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if !bytes.Equal(obj.Bytes(), original) {
		t.Error("the object changed with the bytes it was read from")
	}
}

func TestFunctions(t *testing.T) {
	obj, err := elfobj.Parse(objects(t)["programs/subprog-el.o"])
	if err != nil {
		t.Fatal(err)
	}
	for section, want := range map[string][]string{
		"xdp": {"first", "second"}, ".text": {"flow_class", "note_mark"}, ".BTF": nil,
	} {
		var got []string
		for _, function := range obj.Functions(obj.Section(section)) {
			got = append(got, function.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", section, diff)
		}
	}
}

func TestRelocations(t *testing.T) {
	obj, err := elfobj.Parse(objects(t)["programs/fields-eb.o"])
	if err != nil {
		t.Fatal(err)
	}
	for section, want := range map[string]string{".BTF.ext": ".rel.BTF.ext", "xdp": ".relxdp"} {
		if got := obj.Relocations(obj.Section(section)); got == nil || got.Name != want {
			t.Errorf("%s: %v, want %s", section, got, want)
		}
	}
	if got := obj.Relocations(obj.Section(".strtab")); got != nil {
		t.Errorf(".strtab: %s", got)
	}
}

func TestRels(t *testing.T) {
	for _, end := range []string{"el", "eb"} {
		obj, err := elfobj.Parse(objects(t)["programs/subprog-"+end+".o"])
		if err != nil {
			t.Fatal(err)
		}
		rels := slices.Collect(obj.Rels(obj.Relocations(obj.Section(".text"))))
		if len(rels) != 5 || rels[0].Offset != 0x70 || rels[0].Symbol.Name != "has_hash" || rels[4].Offset != 0x180 || rels[4].Symbol.Name != "got_mark" {
			t.Errorf("%s: %v", end, rels)
		}
		for rel := range obj.Rels(nil) {
			t.Errorf("%s: %v", end, rel)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := objects(t)["programs/fields-el.o"]
	order := binary.LittleEndian
	headers := order.Uint64(good[0x28:])
	change := func(edit func([]byte)) []byte {
		bad := bytes.Clone(good)
		edit(bad)
		return bad
	}
	for name, test := range map[string]struct {
		raw    []byte
		notBPF bool
	}{
		"empty":                        {nil, true},
		"text":                         {[]byte("#include <linux/bpf.h>\n"), true},
		"for x86-64":                   {change(func(b []byte) { order.PutUint16(b[18:], uint16(elf.EM_X86_64)) }), true},
		"an executable":                {change(func(b []byte) { order.PutUint16(b[16:], uint16(elf.ET_EXEC)) }), true},
		"no section headers":           {good[:headers], false},
		"no sections":                  {change(func(b []byte) { order.PutUint64(b[0x28:], 0); order.PutUint32(b[0x3c:], 0) }), false},
		"header only":                  {good[:64], false},
		"cut in the header":            {good[:63], false},
		"headers beyond the end":       {change(func(b []byte) { order.PutUint64(b[0x28:], 1<<40) }), false},
		"section beyond the end":       {change(func(b []byte) { order.PutUint64(b[headers+2*64+0x20:], 1<<40) }), false},
		"alignment not a power of two": {change(func(b []byte) { order.PutUint64(b[headers+2*64+0x30:], 24) }), false},
		"alignment of a gigabyte":      {change(func(b []byte) { order.PutUint64(b[headers+2*64+0x30:], 1<<30) }), false},
		"sections overlap": {change(func(b []byte) {
			for at := headers + 64; at < uint64(len(b)); at += 64 {
				order.PutUint32(b[at+4:], uint32(elf.SHT_PROGBITS))
				order.PutUint64(b[at+0x18:], 0)
				order.PutUint64(b[at+0x20:], uint64(len(b)/2))
			}
		}), false},
	} {
		obj, err := elfobj.Parse(test.raw)
		if err == nil || obj != nil || errors.Is(err, elfobj.ErrNotBPF) != test.notBPF {
			t.Errorf("%s: %v, is %v: %t", name, err, elfobj.ErrNotBPF, !test.notBPF)
		}
	}
}

// Cut short anywhere, an object is an error.
func TestParseCutShort(t *testing.T) {
	good := objects(t)["programs/tc-eb.o"]
	for cut := range good {
		if obj, err := elfobj.Parse(good[:cut]); err == nil || obj != nil {
			t.Errorf("%d of %d bytes: read", cut, len(good))
		}
	}
}

// FuzzParse: no panic, an error exactly if there is no object, and what is
// written reads back as the same.
func FuzzParse(f *testing.F) {
	all := objects(f)
	for _, name := range []string{"programs/unguarded-el.o", "programs/subprog-eb.o", "layouts/sparse-el.o", "layouts/two-eb.o"} {
		f.Add(all[name])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		obj, err := elfobj.Parse(raw)
		if (err == nil) != (obj != nil) {
			t.Fatalf("error %v with object %v", err, obj != nil)
		}
		if err != nil {
			return
		}
		out := obj.Bytes()
		again, err := elfobj.Parse(out)
		if err != nil {
			t.Fatalf("what was written does not read back: %v", err)
		}
		if len(again.Sections) != len(obj.Sections) {
			t.Fatalf("%d sections, want %d", len(again.Sections), len(obj.Sections))
		}
		for i, section := range obj.Sections {
			if !bytes.Equal(again.Sections[i].Data, section.Data) {
				t.Errorf("section %s has other contents", section)
			}
		}
		if !bytes.Equal(again.Bytes(), out) {
			t.Error("the second time, other bytes are written")
		}
	})
}

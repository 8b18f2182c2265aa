package btfraw_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

// The rule is bpf_core_is_flavor_sep and bpf_core_essential_name_len of
// libbpf: the last "___" with a character that is no underscore on either side.
func TestEssentialName(t *testing.T) {
	for name, want := range map[string]string{
		"":                   "",
		"md_desc":            "md_desc",
		"md_desc___mlx5":     "md_desc",
		"md_desc___a___b":    "md_desc___a",
		"md_desc___a_b":      "md_desc",
		"md_desc___a__b":     "md_desc",
		"md_desc___1":        "md_desc",
		"a___b":              "a",
		"md_desc__mlx5":      "md_desc__mlx5",
		"md_desc____mlx5":    "md_desc____mlx5",
		"md_desc_____mlx5":   "md_desc_____mlx5",
		"md_desc____a___b":   "md_desc____a",
		"md_desc___a____b":   "md_desc",
		"md_desc___":         "md_desc___",
		"___mlx5":            "___mlx5",
		"___":                "___",
		"____":               "____",
		"a___":               "a___",
		"_a___b_":            "_a",
		"md_desc___mlx5____": "md_desc",
	} {
		if got := btfraw.EssentialName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// IDs are counted here and in package btf: they have to agree.
func TestNamed(t *testing.T) {
	for _, object := range objects(t) {
		raw := section(t, object, ".BTF")
		parsed, err := btfraw.Parse(raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		types, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		want, functions := make(map[string][]btf.TypeID), make(map[string][]btf.TypeID)
		for typ, err := range types.All() {
			if err != nil {
				t.Fatal(err)
			}
			id, err := types.TypeID(typ)
			if err != nil {
				t.Fatal(err)
			}
			name := btfraw.EssentialName(typ.TypeName())
			switch typ.(type) {
			case *btf.Func:
				functions[typ.TypeName()] = append(functions[typ.TypeName()], id)
			case *btf.Var, *btf.Datasec, *btf.TypeTag:
			default:
				if name != "" {
					want[name] = append(want[name], id)
				}
			}
		}
		for name, ids := range want {
			if got, err := parsed.Named(name); err != nil || !slices.Equal(got, ids) {
				t.Errorf("%s: %s: types %v, %v, want %v", object, name, got, err, ids)
			}
		}
		for name, ids := range functions {
			if got, err := parsed.Functions(name); err != nil || !slices.Equal(got, ids) {
				t.Errorf("%s: %s: functions %v, %v, want %v", object, name, got, err, ids)
			}
		}
		for name := range functions {
			if got, err := parsed.Named(name); err != nil || !slices.Equal(got, want[name]) {
				t.Errorf("%s: %s: types %v, %v, want %v", object, name, got, err, want[name])
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good, err := binary.Append(nil, binary.LittleEndian, []uint32{0x1eb9f, 24, 0, 16, 16, 1, 0, 1 << 24, 4, 32})
	if err != nil {
		t.Fatal(err)
	}
	good = append(good, 0)
	if _, err := btfraw.Parse(good, nil); err != nil {
		t.Fatal(err)
	}
	change := func(offset int, value uint32) []byte {
		bad := bytes.Clone(good)
		binary.LittleEndian.PutUint32(bad[offset:], value)
		return bad
	}
	for name, bad := range map[string][]byte{
		"empty":                    {},
		"a header cut short":       good[:23],
		"cut short":                good[:len(good)-1],
		"other magic":              change(0, 0x11234),
		"types far away":           change(8, 0xffffffff),
		"more types":               change(12, 0xfffffff0),
		"strings far away":         change(16, 0xfffffff8),
		"header beyond the end":    change(4, 0xfffffff8),
		"more strings than bytes":  change(20, 2),
		"offsets that wrap around": change(4, 0xffffffff),
	} {
		if parsed, err := btfraw.Parse(bad, nil); err == nil || parsed != nil {
			t.Errorf("%s: read", name)
		}
	}

	for name, bad := range map[string][]byte{
		"unknown kind":        change(28, 31<<24),
		"type cut short":      change(28, 4<<24|2),
		"name beyond strings": change(24, 7),
	} {
		parsed, err := btfraw.Parse(bad, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ids, err := parsed.Named("x"); err == nil {
			t.Errorf("%s: %v", name, ids)
		}
	}
}

// records spells what is in .BTF.ext, without the place of each record.
func records(ext *btfraw.Ext) []string {
	var all []string
	for _, r := range ext.CORERelos() {
		all = append(all, fmt.Sprintf("%s+%d: kind %d of type %d, %s", r.Section, r.InsnOffset, r.Kind, r.TypeID, r.AccessString))
	}
	return all
}

func TestWithout(t *testing.T) {
	for name, drop := range map[string]func(record btfraw.CORERelo, i, count int) bool{
		"none":        func(btfraw.CORERelo, int, int) bool { return false },
		"first":       func(_ btfraw.CORERelo, i, _ int) bool { return i == 0 },
		"middle":      func(_ btfraw.CORERelo, i, count int) bool { return i == count/2 },
		"last":        func(_ btfraw.CORERelo, i, count int) bool { return i == count-1 },
		"every other": func(_ btfraw.CORERelo, i, _ int) bool { return i%2 == 0 },
		"a section":   func(record btfraw.CORERelo, _, _ int) bool { return record.Section == ".text" },
		"another":     func(record btfraw.CORERelo, _, _ int) bool { return record.Section != ".text" },
		"all":         func(btfraw.CORERelo, int, int) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			for _, object := range objects(t) {
				types, ext := parse(t, object)
				gone := func(i int) bool { return drop(ext.CORERelo(i), i, ext.CountCORERelos()) }
				var want []string
				left := make(map[string]bool) // sections
				for i, record := range records(ext) {
					if !gone(i) {
						want = append(want, record)
						left[ext.CORERelo(i).Section] = true
					}
				}

				data, moved := ext.Without(gone)
				if got := recordedSections(t, object, data); got != len(left) {
					t.Errorf("%s: core_relo has %d sections, want %d", object, got, len(left))
				}
				shrunk, err := btfraw.ParseExt(data, types)
				if err != nil {
					t.Fatalf("%s: %v", object, err)
				}
				if diff := cmp.Diff(want, records(shrunk)); diff != "" {
					t.Errorf("%s: records (-want +got):\n%s", object, diff)
				}
				if diff := cmp.Diff(ext.Lines, shrunk.Lines); diff != "" {
					t.Errorf("%s: lines (-before +after):\n%s", object, diff)
				}
				checkMoved(t, object, section(t, object, ".BTF.ext"), data, moved)
			}
		})
	}
}

// The records of a stretch of each section go, whatever they are about.
func TestWithoutCode(t *testing.T) {
	for _, object := range objects(t) {
		types, ext := parse(t, object)
		for name, gone := range map[string]func(section string, offset uint32) bool{
			"none":    func(string, uint32) bool { return false },
			"start":   func(_ string, offset uint32) bool { return offset < 80 },
			"middle":  func(_ string, offset uint32) bool { return offset >= 80 && offset < 160 },
			"section": func(section string, _ uint32) bool { return section == "xdp" },
			"all":     func(string, uint32) bool { return true },
		} {
			left, moved, err := ext.WithoutCode(types, gone)
			if err != nil {
				t.Fatalf("%s, %s: %v", object, name, err)
			}
			functions := slices.DeleteFunc(slices.Clone(ext.Functions), func(f btfraw.FuncInfoRecord) bool { return gone(f.Section, f.InsnOffset) })
			if !slices.Equal(left.Functions, functions) {
				t.Errorf("%s, %s: functions %v, want %v", object, name, left.Functions, functions)
			}
			lines := 0
			for section, all := range ext.Lines {
				kept := slices.DeleteFunc(slices.Clone(all), func(l btfraw.Line) bool { return gone(section, l.InsnOffset) })
				lines += len(kept)
				if len(left.Lines[section]) != len(kept) {
					t.Errorf("%s, %s: %d lines of section %s, want %d", object, name, len(left.Lines[section]), section, len(kept))
				}
			}
			var want []string
			for i, record := range records(ext) {
				if !gone(ext.CORERelo(i).Section, ext.CORERelo(i).InsnOffset) {
					want = append(want, record)
				}
			}
			if diff := cmp.Diff(want, records(left)); diff != "" {
				t.Errorf("%s, %s: records (-want +got):\n%s", object, name, diff)
			}
			recordedSections(t, object, left.Bytes())

			next := 0
			for old := range ext.Bytes() {
				if at := moved(old); len(at) > 0 {
					if at[0] != next {
						t.Fatalf("%s, %s: byte %d is at %d, want %d", object, name, old, at[0], next)
					}
					next++
				}
			}
			if next != len(left.Bytes()) {
				t.Errorf("%s, %s: %d of %d bytes are accounted for", object, name, next, len(left.Bytes()))
			}
			if name == "none" && (lines == 0 || !bytes.Equal(left.Bytes(), ext.Bytes())) {
				t.Errorf("%s: other bytes, of %d lines", object, lines)
			}
		}
	}
}

// recordedSections counts the sections in a core_relo table, none of which may
// be without records: the kernel and libbpf refuse that.
func recordedSections(t *testing.T, object string, ext []byte) (count int) {
	t.Helper()
	var order binary.ByteOrder = binary.LittleEndian
	if ext[0] == 0xeb {
		order = binary.BigEndian
	}
	table := ext[order.Uint32(ext[4:])+order.Uint32(ext[24:]):][:order.Uint32(ext[28:])]
	if len(table) == 0 {
		return 0
	}
	for at := uint32(4); at < uint32(len(table)); count++ {
		records := order.Uint32(table[at+4:])
		if records == 0 {
			t.Errorf("%s: a section without records", object)
		}
		at += 8 + records*order.Uint32(table)
	}
	return count
}

// checkMoved wants each byte that is left to be where moved says, but for the
// header and the counts of records, and to be there once.
func checkMoved(t *testing.T, object string, before, after []byte, moved func(int) []int) {
	t.Helper()
	next, differing := 0, 0
	for old, b := range before {
		at := moved(old)
		if len(at) == 0 {
			continue
		}
		if at[0] != next {
			t.Fatalf("%s: byte %d is at %d, want %d", object, old, at, next)
		}
		if after[next] != b {
			differing++
		}
		next++
	}
	if next != len(after) {
		t.Errorf("%s: %d of %d bytes are accounted for", object, next, len(after))
	}
	if differing > 2*2+2*2 { // the length of a table, and the counts of two sections
		t.Errorf("%s: %d bytes differ", object, differing)
	}
}

// What is behind the table that shrinks moves with it.
func TestWithoutTableBehind(t *testing.T) {
	order := binary.BigEndian
	strings := "\x00xdp\x000:0\x00file.c\x00x = 1;\x00"
	types, err := btfraw.Parse(appendAll(t, order, []uint32{0xeb9f0100, 24, 0, 0, 0, uint32(len(strings))}, []byte(strings)), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := appendAll(t, order,
		[]uint32{0xeb9f0100, 32, 0, 0, 44, 28, 0, 44}, // header: line_info behind core_relo
		[]uint32{16, 1, 2, 8, 1, 5, 0, 16, 1, 5, 2},   // two records
		[]uint32{16, 1, 1, 8, 9, 16, 7<<10 | 3},       // a line
		[]byte("what else there is, of which nobody knows"),
	)
	ext, err := btfraw.ParseExt(raw, types)
	if err != nil {
		t.Fatal(err)
	}
	line := btfraw.Line{InsnOffset: 8, File: "file.c", Text: "x = 1;", Line: 7, Column: 3}

	for _, test := range []struct {
		drop func(int) bool
		want []uint32 // instructions with a record
		size int
	}{
		{func(i int) bool { return i == 0 }, []uint32{16}, len(raw) - 16},
		{func(i int) bool { return i == 1 }, []uint32{8}, len(raw) - 16},
		{func(int) bool { return true }, nil, len(raw) - 44},
	} {
		data, _ := ext.Without(test.drop)
		left, err := btfraw.ParseExt(data, types)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint32
		for _, record := range left.CORERelos() {
			got = append(got, record.InsnOffset)
		}
		if !slices.Equal(got, test.want) || len(data) != test.size {
			t.Errorf("%d bytes, records at %v, want %d, %v", len(data), got, test.size, test.want)
		}
		if diff := cmp.Diff(map[string][]btfraw.Line{"xdp": {line}}, left.Lines); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	}

	if got, ok := ext.LineAt("xdp", 24); !ok || got != line {
		t.Errorf("line of the last instruction: %v, %t", got, ok)
	}
	for section, offset := range map[string]uint32{"xdp": 0, "tc": 8} {
		if got, ok := ext.LineAt(section, offset); ok {
			t.Errorf("%s at %d has line %v", section, offset, got)
		}
	}
}

// An instruction of no particular line has that of the one before it.
func TestLineZero(t *testing.T) {
	order := binary.BigEndian
	strings := "\x00xdp\x00file.c\x00x = 1;\x00\x00"
	types, err := btfraw.Parse(appendAll(t, order, []uint32{0xeb9f0100, 24, 0, 0, 0, uint32(len(strings))}, []byte(strings)), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := appendAll(t, order,
		[]uint32{0xeb9f0100, 24, 0, 0, 0, 44},                 // header
		[]uint32{16, 1, 2, 8, 5, 12, 7<<10 | 3, 16, 5, 19, 0}, // two lines
	)
	ext, err := btfraw.ParseExt(raw, types)
	if err != nil {
		t.Fatal(err)
	}
	want := btfraw.Line{InsnOffset: 16, File: "file.c", Text: "x = 1;", Line: 7, Column: 3, Inherited: true}
	if got, ok := ext.LineAt("xdp", 24); !ok || got != want {
		t.Errorf("got %v, %t, want %v", got, ok, want)
	}
	if got, ok := ext.LineFrom("xdp", 0, 32); !ok || got.InsnOffset != 8 || got.Inherited {
		t.Errorf("from 0: got %v, %t", got, ok)
	}
	for _, within := range [][2]uint32{{0, 8}, {16, 32}} {
		if got, ok := ext.LineFrom("xdp", within[0], within[1]); ok {
			t.Errorf("from %d to %d: got %v", within[0], within[1], got)
		}
	}
}

func TestParseExtRefuses(t *testing.T) {
	object := objects(t)[0]
	types, _ := parse(t, object)
	good := section(t, object, ".BTF.ext")
	for cut := range good {
		if ext, err := btfraw.ParseExt(good[:cut], types); err == nil || ext != nil {
			t.Errorf("cut short after %d of %d bytes: read", cut, len(good))
		}
	}
}

func appendAll(t *testing.T, order binary.ByteOrder, parts ...any) (all []byte) {
	t.Helper()
	for _, part := range parts {
		var err error
		if all, err = binary.Append(all, order, part); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func objects(tb testing.TB) []string {
	tb.Helper()
	paths, err := filepath.Glob("../../testdata/programs/*.o")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no objects: %v", err)
	}
	return paths
}

func parse(tb testing.TB, object string) (*btfraw.BTF, *btfraw.Ext) {
	tb.Helper()
	types, err := btfraw.Parse(section(tb, object, ".BTF"), nil)
	if err != nil {
		tb.Fatal(err)
	}
	ext, err := btfraw.ParseExt(section(tb, object, ".BTF.ext"), types)
	if err != nil {
		tb.Fatal(err)
	}
	return types, ext
}

func section(tb testing.TB, object, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(object)
	if err != nil {
		tb.Fatal(err)
	}
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		tb.Fatal(err)
	}
	contents, err := file.Section(name).Data()
	if err != nil {
		tb.Fatal(err)
	}
	return contents
}

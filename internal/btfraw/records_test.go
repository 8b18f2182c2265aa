package btfraw_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xdp-load/xdp-load/internal/btfraw"
)

var exported = cmp.Options{cmpopts.IgnoreUnexported(btfraw.CORERelo{}), cmpopts.EquateEmpty()}

// of returns the records of a section.
func of(ext *btfraw.Ext) btfraw.Records {
	records := btfraw.Records{Functions: ext.Functions, Lines: ext.Lines}
	for _, relo := range ext.CORERelos() {
		records.CORERelos = append(records.CORERelos, btfraw.CORERelo{
			Section: relo.Section, InsnOffset: relo.InsnOffset, TypeID: relo.TypeID, AccessString: relo.AccessString, Kind: relo.Kind,
		})
	}
	return records
}

// The records of a section are put into one without any, and nothing into what has some.
func TestWith(t *testing.T) {
	for _, object := range objects(t) {
		types, ext := parse(t, object)
		edit := newEdit(t, section(t, object, ".BTF"))
		for name, with := range map[string]struct {
			to    *btfraw.Ext
			added btfraw.Records
		}{
			"all":     {withoutRecords(t, types), of(ext)},
			"nothing": {ext, btfraw.Records{}},
		} {
			grown, err := with.to.With(with.added, edit)
			if err != nil {
				t.Errorf("%s: %s: %v", object, name, err)
				continue
			}
			if diff := cmp.Diff(of(ext), of(grown), exported); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", object, name, diff)
			}
		}
		if !bytes.Equal(edit.Bytes(), section(t, object, ".BTF")) {
			t.Errorf("%s: strings were added that are there", object)
		}
	}
}

// withoutRecords returns a .BTF.ext section that has a header and nothing else.
func withoutRecords(t *testing.T, types *btfraw.BTF) *btfraw.Ext {
	t.Helper()
	data := make([]byte, 32)
	types.Order.PutUint16(data, 0xeb9f)
	types.Order.PutUint32(data[4:], uint32(len(data)))
	ext, err := btfraw.ParseExt(data, types)
	if err != nil {
		t.Fatal(err)
	}
	return ext
}

// New records are put among those of their section, or of a new one.
func TestWithMore(t *testing.T) {
	for _, object := range objects(t) {
		_, ext := parse(t, object)
		raw := section(t, object, ".BTF")
		edit := newEdit(t, raw)
		name := ext.Functions[0].Section
		before := ext.Lines[name]
		last := before[len(before)-1]
		last.InsnOffset, last.Text, last.Line, last.Inherited = last.InsnOffset+8, "a line of its own", 77, false
		first := before[0]
		first.Text = "the same instruction"
		added := btfraw.Records{
			Functions: []btfraw.FuncInfoRecord{{Section: ".text.new", InsnOffset: 16, TypeID: 2}, {Section: ".text.new", InsnOffset: 0, TypeID: 1}, {Section: name, InsnOffset: 1 << 20, TypeID: 3}},
			Lines:     map[string][]btfraw.Line{name: {last, first}},
			CORERelos: []btfraw.CORERelo{{Section: ".text.new", InsnOffset: 8, TypeID: 4, AccessString: "0:7:7", Kind: 2}},
		}
		grown, err := ext.With(added, edit)
		if err != nil {
			t.Errorf("%s: %v", object, err)
			continue
		}
		types, err := btfraw.Parse(edit.Bytes(), nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := btfraw.ParseExt(grown.Bytes(), types)
		if err != nil {
			t.Errorf("%s: %v", object, err)
			continue
		}
		if diff := cmp.Diff(of(again), of(grown), exported); diff != "" {
			t.Errorf("%s (-want +got):\n%s", object, diff)
		}
		for _, function := range added.Functions {
			if !slices.Contains(grown.Functions, function) {
				t.Errorf("%s: no function %+v", object, function)
			}
		}
		isNew := func(f btfraw.FuncInfoRecord) bool { return f.Section == ".text.new" }
		if i := slices.IndexFunc(grown.Functions, isNew); grown.Functions[i].InsnOffset != 0 {
			t.Errorf("%s: functions are in no order", object)
		}
		lines := grown.Lines[name]
		if len(lines) != len(before)+2 || lines[1].Text != first.Text || lines[len(lines)-1].Text != last.Text || lines[len(lines)-1].Line != 77 {
			t.Errorf("%s: %+v", object, lines)
		}
		relos := of(grown).CORERelos
		if diff := cmp.Diff(append(of(ext).CORERelos, added.CORERelos...), relos, exported); diff != "" {
			t.Errorf("%s (-want +got):\n%s", object, diff)
		}
	}
}

// A section from before there was CO-RE has a shorter header.
func TestWithShortHeader(t *testing.T) {
	raw := marshalled(t, binary.BigEndian, &btf.Int{Name: "int", Size: 4})
	types, err := btfraw.Parse(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	header := make([]byte, 24)
	copy(header, []byte{0xeb, 0x9f, 1, 0, 0, 0, 0, 24})
	ext, err := btfraw.ParseExt(header, types)
	if err != nil {
		t.Fatal(err)
	}
	added := btfraw.Records{CORERelos: []btfraw.CORERelo{{Section: "xdp", InsnOffset: 8, TypeID: 1, AccessString: "0", Kind: 8}}}
	grown, err := ext.With(added, newEdit(t, raw))
	if err != nil || !slices.Equal(of(grown).CORERelos, added.CORERelos) {
		t.Errorf("%+v, %v", grown, err)
	}
}

func TestWithRefuses(t *testing.T) {
	object := "../../testdata/programs/fields-el.o"
	raw := section(t, object, ".BTF")
	for name, test := range map[string]struct {
		added btfraw.Records
		more  bool
	}{
		"two records for the instruction": {added: btfraw.Records{CORERelos: []btfraw.CORERelo{{Section: "a", InsnOffset: 8}, {Section: "a", InsnOffset: 8}}}},
		"func_info: two records":          {added: btfraw.Records{Functions: []btfraw.FuncInfoRecord{{Section: "a"}, {Section: "a"}}}},
		"more tables":                     {more: true},
	} {
		types, ext := parse(t, object)
		if test.more {
			data := slices.Insert(bytes.Clone(ext.Bytes()), 32, 1, 0, 0, 0)
			data[4] = 36
			var err error
			if ext, err = btfraw.ParseExt(data, types); err != nil {
				t.Fatal(err)
			}
		}
		if grown, err := ext.With(test.added, newEdit(t, raw)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, grown, err)
		}
	}
}

package reloc_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

func TestFieldNamed(t *testing.T) {
	for _, test := range []struct {
		layout, root, path string
		want               string // the field, or the error
		err                error
	}{
		{"flavour-el", "md_desc", "hash", "nic_word at 44", nil},
		{"flavour-el", "md_desc", "rx.queue", "volatile __u16 at 20", nil},
		{"flavour-el", "md_desc", "rx", "struct nic_ring at 8", nil},
		{"flavour-el", "md_desc", "flow_port.id", "__u16 at 78", nil},
		{"nested-eb", "md_desc", "hash_bytes", "__u8[4] at 92", nil},
		{"nested-eb", "md_desc", "queue_prio", "__u32:7 at bit 1387", nil},
		{"flavour-el", "md_desc", "rx.tail", `layout flavour-el: no such field: struct nic_ring has no "tail", but ports, queue, buffer`, reloc.ErrNoField},
		{"flavour-el", "md_desc", "hash.low", `nic_word has no "low", but no fields at all`, reloc.ErrNoField},
		{"flavour-el", "md_desc", "", `struct md_desc___nic has no "", but origin, mark`, reloc.ErrNoField},
		{"nested-eb", "md_desc", "", `has no "", but `, reloc.ErrNoField}, // nor is it one of those without a name
		{"flavour-el", "md_desc", "rx..queue", `struct nic_ring has no "", but ports`, reloc.ErrNoField},
		{"none-el", "md_desc", "hash", "no such struct: struct md_desc", reloc.ErrNoStruct},
		{"two-el", "md_desc", "hash", "ambiguous layout: hash is ", reloc.ErrAmbiguous},
		{"twins-el", "md_desc", "hash", "__u32 at ", nil},
	} {
		field, err := readLayout(t, test.layout).FieldNamed(test.root, test.path)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = field.String()
		}
		if !errors.Is(err, test.err) || !strings.Contains(got, test.want) || (field == nil) != (err != nil) {
			t.Errorf("%s of %s: %v, %v instead of %q", test.path, test.layout, field, err, test.want)
		}
	}
}

// A field that only one flavour has is not one that the layout lacks, whichever comes first.
func TestFieldNamedInOneFlavour(t *testing.T) {
	number := &btf.Int{Name: "unsigned int", Size: 4}
	layout := layoutOf(t, binary.LittleEndian,
		&btf.Struct{Name: "md_desc___a", Size: 4, Members: []btf.Member{{Name: "hash", Type: number}}},
		&btf.Struct{Name: "md_desc___b", Size: 4, Members: []btf.Member{{Name: "mark", Type: number}}})
	for path, want := range map[string]string{
		"hash": "hash is unsigned int at 0 in struct md_desc___a, and not there in struct md_desc___b",
		"mark": "mark is not there in struct md_desc___a, and unsigned int at 0 in struct md_desc___b",
	} {
		if field, err := layout.FieldNamed("md_desc", path); !errors.Is(err, reloc.ErrAmbiguous) || !strings.Contains(err.Error(), want) || field != nil {
			t.Errorf("%v, %v instead of %q", field, err, want)
		}
	}
	if field, err := layout.FieldNamed("md_desc", "csum"); !errors.Is(err, reloc.ErrNoField) || field != nil {
		t.Errorf("%v, %v", field, err)
	}
}

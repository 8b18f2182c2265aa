package reloc_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/reloc"
)

// The numbers are those of enum bpf_core_relo_kind, the names those of libbpf.
func TestKind(t *testing.T) {
	want := []string{
		0: "byte_off", 1: "byte_sz", 2: "field_exists", 3: "signed", 4: "lshift_u64", 5: "rshift_u64",
		6: "local_type_id", 7: "target_type_id", 8: "type_exists", 9: "type_size",
		10: "enumval_exists", 11: "enumval_value", 12: "type_matches", 13: "kind 13",
	}
	for kind, name := range want {
		if got := reloc.Kind(kind).String(); got != name {
			t.Errorf("kind %d is %q, want %q", kind, got, name)
		}
	}
}

// line spells an access for comparison with a table.
func line(a reloc.Access) string {
	return fmt.Sprintf("%s %s:%d %s %s %s %s = %s", a.Program, a.Section, a.Insn, a.Source, a.Kind, a.Root, a.Path, a.Local.String())
}

func TestRead(t *testing.T) {
	for object, want := range map[string][]string{
		"flavour-el": {
			"flavour xdp:0 testdata/programs/flavour.c:32 type_exists struct xdp_load_source struct xdp_load_source = 1",
			"flavour xdp:2 testdata/programs/flavour.c:34 type_size struct md_desc struct md_desc = 40",
			"flavour xdp:9 testdata/programs/flavour.c:34 byte_off struct xdp_load_source xdp_load_source->desc = void * at 0",
			"flavour xdp:20 testdata/programs/flavour.c:41 byte_off struct md_desc___mine md->port = port_id at 0",
			"flavour xdp:29 testdata/programs/flavour.c:42 byte_off struct md_desc___mine md->flow = __u32 at 4",
			"flavour xdp:38 testdata/programs/flavour.c:43 byte_off struct md_desc___mine md->rx.queue = __u16 at 8",
			"flavour xdp:47 testdata/programs/flavour.c:44 byte_off struct md_desc___mine md->words[0] = __u32 at 12",
			"flavour xdp:56 testdata/programs/flavour.c:45 byte_off struct md_desc___mine md->words[2] = __u32 at 20",
			"flavour xdp:65 testdata/programs/flavour.c:46 byte_off struct md_desc___mine md->tag[5] = __u8 at 33",
			"flavour xdp:74 testdata/programs/flavour.c:47 byte_off struct md_desc___mine md->skew = __s32 at 36",
			"flavour xdp:85 testdata/programs/flavour.c:48 byte_off struct md_desc___mine md->hash = __u32 at 40",
		},
		"fields-eb": {
			"fields xdp:0 testdata/programs/fields.c:15 type_exists struct xdp_load_source struct xdp_load_source = 1",
			"fields xdp:2 testdata/programs/fields.c:17 type_size struct md_desc struct md_desc = 40",
			"fields xdp:9 testdata/programs/fields.c:17 byte_off struct xdp_load_source xdp_load_source->desc = void * at 0",
			"fields xdp:20 testdata/programs/fields.c:23 byte_off struct md_desc md->rx_timestamp = __u64 at 0",
			"fields xdp:29 testdata/programs/fields.c:24 byte_off struct md_desc md->hash = __u32 at 8",
			"fields xdp:38 testdata/programs/fields.c:25 byte_off struct md_desc md->hash_type = __u32 at 12",
			"fields xdp:47 testdata/programs/fields.c:26 byte_off struct md_desc md->csum = __u32 at 16",
			"fields xdp:56 testdata/programs/fields.c:27 byte_off struct md_desc md->csum_status = __u32 at 20",
			"fields xdp:65 testdata/programs/fields.c:28 byte_off struct md_desc md->vlan_tci = __u16 at 24",
			"fields xdp:74 testdata/programs/fields.c:29 byte_off struct md_desc md->vlan_proto = __be16 at 26",
			"fields xdp:83 testdata/programs/fields.c:30 byte_off struct md_desc md->mark = __u32 at 28",
		},
		// Two programs in one section, and functions in another.
		"subprog-el": {
			"first xdp:12 testdata/programs/subprog.c:49 type_exists struct xdp_load_source struct xdp_load_source = 1",
			"first xdp:14 testdata/programs/subprog.c:61 type_size struct md_desc struct md_desc = 40",
			"first xdp:21 testdata/programs/subprog.c:61 byte_off struct xdp_load_source xdp_load_source->desc = void * at 0",
			"first xdp:32 testdata/programs/subprog.c:66 byte_off struct md_desc md->hash_type = __u32 at 12",
			"second xdp:39 testdata/programs/subprog.c:70 type_exists struct xdp_load_source struct xdp_load_source = 1",
			"second xdp:41 testdata/programs/subprog.c:72 byte_off struct xdp_load_source xdp_load_source->desc = void * at 0",
			"second xdp:44 testdata/programs/subprog.c:72 type_size struct md_desc struct md_desc = 40",
			"second xdp:77 testdata/programs/subprog.c:80 byte_off struct md_desc md->vlan_tci = __u16 at 24",
			"flow_class .text:0 testdata/programs/subprog.c:22 type_exists struct xdp_load_source struct xdp_load_source = 1",
			"flow_class .text:3 testdata/programs/subprog.c:24 type_size struct md_desc struct md_desc = 40",
			"flow_class .text:11 testdata/programs/subprog.c:24 byte_off struct xdp_load_source xdp_load_source->desc = void * at 0",
			"flow_class .text:22 testdata/programs/subprog.c:29 byte_off struct md_desc md->hash = __u32 at 8",
			"note_mark .text:28 testdata/programs/subprog.c:33 type_exists struct xdp_load_source struct xdp_load_source = 1",
			"note_mark .text:31 testdata/programs/subprog.c:35 type_size struct md_desc struct md_desc = 40",
			"note_mark .text:39 testdata/programs/subprog.c:35 byte_off struct xdp_load_source xdp_load_source->desc = void * at 0",
			"note_mark .text:47 testdata/programs/subprog.c:40 byte_off struct md_desc md->mark = __u32 at 28",
		},
	} {
		var got []string
		for _, access := range readAccesses(t, "../testdata/programs/"+object+".o") {
			if access.Kind != reloc.FieldExists { // there is one for each byte_off
				got = append(got, line(access))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", object, diff)
		}
	}
}

// Of each of the thirteen kinds, one access that is easy to check by hand.
func TestReadKinds(t *testing.T) {
	want := []string{
		"byte_off md->words[2] = 12",
		"byte_sz md->rx.queue = 2",
		"field_exists md->delta = 1",
		"signed md->delta = 1",
		"signed md->queue_prio = 0",
		"lshift_u64 md->delta = 51",
		"rshift_u64 md->delta = 59",
		"local_type_id struct md_desc = 10",
		"target_type_id struct md_desc = 10",
		"type_exists struct md_absent = 1",
		"type_size struct md_desc___kinds = 28",
		"type_matches enum md_csum_status = 1",
		"enumval_exists MD_CSUM_COMPLETE = 1",
		"enumval_value MD_CSUM_COMPLETE = 2",
	}
	got := make(map[string]bool)
	for _, access := range readAccesses(t, "../testdata/programs/kinds-el.o") {
		got[fmt.Sprintf("%s %s = %d", access.Kind, access.Path, access.Local.Value)] = true
	}
	for _, access := range want {
		if !got[access] {
			t.Errorf("not among the accesses: %s", access)
		}
	}
}

func TestSourceText(t *testing.T) {
	for _, access := range readAccesses(t, "../testdata/programs/unguarded-el.o") {
		if access.Path == "md->rx_timestamp" && strings.TrimSpace(access.Source.Text) != "got_rx_timestamp = md->rx_timestamp;" {
			t.Errorf("source line %q", access.Source.Text)
		}
	}
}

func TestReadPaths(t *testing.T) {
	inner := packed(t, "", field("a", u32), field("b", array(u16, 3)))
	for _, order := range orders {
		root := packed(t, "md_desc___mine", field("first", u32), field("", inner), field("matrix", array(array(u8, 4), 2)))
		for accessString, want := range map[string]string{
			"0":       "*md = struct md_desc___mine at 0",
			"0:0":     "md->first = unsigned int at 0",
			"0:1":     "*md = struct {...} at 4",
			"0:1:0":   "md->a = unsigned int at 4",
			"0:1:1:2": "md->b[2] = unsigned short at 12",
			"0:2:1:3": "md->matrix[1][3] = unsigned char at 21",
			"0:2:1":   "md->matrix[1] = unsigned char[4] at 18",
			"2:0":     "md[2].first = unsigned int at 44",
			"0:1:1:3": "md->b[3] = unsigned short[0] at 14",
			"0:2:2":   "md->matrix[2] = unsigned char[0][4] at 22",
			"0:2:0:4": "md->matrix[0][4] = unsigned char[0] at 18",
		} {
			a := access(t, order, root, accessString, reloc.ByteOffset)
			if got := a.Path + " = " + a.Local.String(); got != want {
				t.Errorf("%s is %s, want %s", accessString, got, want)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	inner := packed(t, "inner", field("x", u32))
	root := packed(t, "md_desc", field("a", u32), field("words", array(u32, 2)), field("structs", array(inner, 2)), field("none", array(u32, 0)), field("last", u32))
	good := record{binary.LittleEndian, root, "0:0", reloc.ByteOffset, "xdp", 0, 1}
	if _, err := reloc.Read(good.object(t)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want   string
		change func(*record)
	}{
		{"the object has no such section", func(r *record) { r.section = "tc" }},
		{"points outside the section, which has 8 bytes", func(r *record) { r.offset = 8 }},
		{"points outside the section, which has 8 bytes", func(r *record) { r.offset = 0xfffffff8 }},
		{"points between two instructions", func(r *record) { r.offset = 4 }},
		{"unknown kind 13", func(r *record) { r.kind = 13 }},
		{"unknown kind 4294967295", func(r *record) { r.kind = 0xffffffff }},
		{"type 999", func(r *record) { r.typeID = 999 }},
		{"struct md_desc has no member number 5", func(r *record) { r.access = "0:5" }},
		{"unsigned int[2] has no element number 3", func(r *record) { r.access = "0:1:3" }},
		{"unsigned int[2] has no element number 2", func(r *record) { r.access, r.kind = "0:1:2", reloc.FieldExists }},
		{"unsigned int[2] has no element number 2", func(r *record) { r.access, r.kind = "0:1:2", reloc.ByteSize }},
		{"struct inner[2] has no element number 2", func(r *record) { r.access = "0:2:2:0" }},
		{"unsigned int[0] has no element number 0", func(r *record) { r.access = "0:3:0" }},
		{"unsigned int has no members and no elements", func(r *record) { r.access = "0:0:0" }},
		{`access string "" is not numbers`, func(r *record) { r.access = "" }},
		{`access string "0:" is not numbers`, func(r *record) { r.access = "0:" }},
		{`access string "0:-1" is not numbers`, func(r *record) { r.access = "0:-1" }},
		{`access string "0:4294967295" is not numbers`, func(r *record) { r.access = "0:4294967295" }},
		{"has more than 64 numbers", func(r *record) { r.access = strings.Repeat("0:", 64) + "0" }},
		{"offset or size of 256 MiB or more", func(r *record) { r.access = "2000000000:0" }},
		{`with access string "0:0" instead of "0"`, func(r *record) { r.kind = reloc.TypeSize }},
		{"which is no enumeration", func(r *record) { r.kind = reloc.EnumValue }},
	} {
		bad := good
		test.change(&bad)
		accesses, err := reloc.Read(bad.object(t))
		if err == nil || !strings.Contains(err.Error(), test.want) || accesses != nil {
			t.Errorf("got %v, want an error about %q", err, test.want)
		}
	}
}

// An object that records nothing is told from a damaged one.
func TestReadWithoutRecords(t *testing.T) {
	order := binary.LittleEndian
	code, types := make([]byte, reloc.InstructionSize), marshal(t, order, u32)
	for _, test := range []struct {
		sections map[string][]byte
		want     error
	}{
		{map[string][]byte{"xdp": code}, reloc.ErrNoBTF},
		{map[string][]byte{"xdp": code, ".BTF": types}, reloc.ErrNoBTFExt},
	} {
		if _, err := reloc.Read(writeELF(t, order, test.sections)); !errors.Is(err, test.want) {
			t.Errorf("got %v, want %v", err, test.want)
		}
	}

	if _, err := reloc.Read(writeELF(t, order, map[string][]byte{
		"xdp": code, ".BTF": marshal(t, binary.BigEndian, u32), ".BTF.ext": {},
	})); err == nil || !strings.Contains(err.Error(), "differ in byte order") {
		t.Errorf("big-endian BTF in a little-endian object: %v", err)
	}
}

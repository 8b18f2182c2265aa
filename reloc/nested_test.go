package reloc_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/reloc"
)

// Whose the records of nested.c are, and what they come to, by what the layout's
// descriptor has.
func TestAdopt(t *testing.T) {
	id, gone := field("id", u16), field("gone", u16)
	kept := packed(t, "fw_kept", id, gone)
	passed := packed(t, "fw_passed", id)
	enum := func(name, value string) *btf.Enum {
		return &btf.Enum{Name: name, Size: 4, Values: []btf.EnumValue{{Name: value, Value: 9}}}
	}
	unreached := []btf.Member{field("header", packed(t, "fw_header", field("pad", u16), field("proto", u16))), field("unused", enum("unused", "UNUSED"))}
	members := func(m ...btf.Member) []btf.Member { return append(slices.Clone(unreached), m...) }
	const theirs, exists = "theirs", "unsigned short at 0"

	for _, test := range []struct {
		name   string
		layout []btf.Member
		want   map[string]string // by access; what is not there is theirs
	}{
		{"nothing", members(field("x", u32)), nil},
		{"as in the program, elsewhere",
			members(field("tail", array(kept, 4)), field("color", enum("color___2", "BLUE")), field("read", packed(t, "", field("inner", u32))),
				field("passed", array(passed, 2)), field("alias", packed(t, "fw_alias", id)), field("kept", kept)),
			map[string]string{
				"byte_off kept->id": exists, "byte_off kept->gone": "unsigned short at 2", "field_exists kept->gone": "unsigned short at 2",
				"byte_off passed->id": exists, "byte_off read->inner": "unsigned int at 0", "enumval_value BLUE": "9",
				"byte_off alias->id": exists, "type_size alias": "2", "type_exists alias": "1",
			}},
		{"an array without elements", members(field("tail", array(kept, 0))), map[string]string{
			"byte_off kept->id": exists, "byte_off kept->gone": "unsigned short at 2", "field_exists kept->gone": "unsigned short at 2",
		}},
		{"a member missing", members(field("kept", packed(t, "kept", id))), map[string]string{
			"byte_off kept->id":       "error: struct kept is nested, as md->kept, where the layout keeps it in another way, and nothing tells whether this is there or in a copy",
			"byte_off kept->gone":     "not there: struct kept has no field gone",
			"field_exists kept->gone": "not there: struct kept has no field gone",
		}},
		{"an integer for the enumeration", members(field("color", u32)), nil},
		{"an enumeration without a name", members(field("anonymous", enum("", "ANONYMOUS"))), map[string]string{"enumval_value ANONYMOUS": "9"}},
		{"another enumeration", members(field("color", enum("hue", "BLUE"))), nil},
	} {
		for _, end := range []string{"el", "eb"} {
			t.Run(test.name+"/"+end, func(t *testing.T) {
				recorded := readNested(t, end)
				layout := layoutOf(t, recorded.order, packed(t, "md_desc", test.layout...))
				want := make(map[string]string)
				for _, a := range recorded.Accesses {
					if a.RootName() != "md_desc___nested" {
						want[a.Kind.String()+" "+a.Path] = theirs
					}
				}
				want["enumval_value ANONYMOUS"] = "not there: layout test has no enum {...} at md->anonymous"
				want["enumval_value BLUE"] = "not there: layout test has no enum color at md->color"
				want["enumval_value UNUSED"] = "9"
				maps.Copy(want, test.want)
				checkAdopted(t, recorded, layout, want)
			})
		}
	}
}

type nestedRecords struct {
	*reloc.Recorded
	order binary.ByteOrder
}

func readNested(t *testing.T, end string) nestedRecords {
	t.Helper()
	in := readFile(t, "testdata/nested-"+end+".o")
	object, err := elfobj.Parse(in)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := reloc.ReadObject(in)
	if err != nil {
		t.Fatal(err)
	}
	return nestedRecords{recorded, object.Order}
}

func isDescriptor(name string) bool { return strings.HasPrefix(name, reloc.Descriptor) }

func checkAdopted(t *testing.T, recorded nestedRecords, layout *reloc.Layout, want map[string]string) {
	t.Helper()
	if err := recorded.Adopt(layout, isDescriptor); err != nil {
		t.Fatal(err)
	}
	for _, a := range recorded.Accesses {
		if isDescriptor(a.RootName()) {
			continue
		}
		got := "theirs"
		if a.Adopted() {
			resolution, err := a.Resolve(layout)
			if got = resolution.String(); err != nil {
				got = "error: " + err.Error()
			}
		}
		if key := a.Kind.String() + " " + a.Path; got != want[key] {
			t.Errorf("%s: %s, want %s", key, got, want[key])
		}
	}
}

// The same struct lies at many places in the layout, each time as another type: there
// is an end to them.
func TestAdoptManyTypes(t *testing.T) {
	recorded := readNested(t, "el")
	var types []btf.Type
	for n := range 200 {
		id := field("id", u16)
		types = append(types, packed(t, fmt.Sprint("md_desc___", n),
			field("pad", array(u8, uint32(n))), field("kept", packed(t, fmt.Sprint("kept", n), id)), field("tail", array(packed(t, fmt.Sprint("tail", n), id), 1))))
	}
	err := recorded.Adopt(layoutOf(t, binary.LittleEndian, types...), isDescriptor)
	if want := "layout test has more than 256 different types where the program has struct kept"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Each struct has two of the next: there is an end to them, too.
func TestAdoptManyMembers(t *testing.T) {
	nested := packed(t, "nested", field("id", u32))
	for n := range 17 {
		nested = packed(t, fmt.Sprint("nested", n), field("a", nested), field("b", nested))
	}
	order := binary.LittleEndian
	recorded := reloc.Recorded{Accesses: []reloc.Access{
		access(t, order, packed(t, "md_desc", field("nested", nested)), "0:0", reloc.ByteOffset),
		access(t, order, packed(t, "other", field("id", u32)), "0:0", reloc.ByteOffset),
	}}
	err := recorded.Adopt(layoutOf(t, order, packed(t, "md_desc", field("id", u32))), isDescriptor)
	if want := "more than 65536 members are nested in what the program accesses"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

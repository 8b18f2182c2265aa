package rewrite_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/rewrite"
)

// An object that was rewritten for a driver passes for that driver's alone, whatever else
// has its fields at the places, or no fields at all.
func TestDriverMark(t *testing.T) {
	veth := driverAccessors(t, "veth", "")
	other, fewer, without := *veth, *veth, *veth
	other.Name = "rvu-nicvf"
	fewer.Fields = maps.Clone(veth.Fields)
	delete(fewer.Fields, "csum")
	without.Fields = maps.Clone(veth.Fields)
	delete(without.Fields, "mark")
	area := func(source string) func([]byte) ([]byte, error) {
		layout := parseLayout(t, "area-el", costCompile(t, "clang-19", source, "el", "v3"))
		return func(object []byte) ([]byte, error) {
			out, _, err := rewrite.Rewrite(object, layout, rewrite.Options{})
			return out, err
		}
	}
	driver := func(accessors *rewrite.Accessors) func([]byte) ([]byte, error) {
		return func(object []byte) ([]byte, error) {
			out, _, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{accessors}, rewrite.Options{})
			return out, err
		}
	}
	// The fields of veth one after the other, in the order of their names.
	alike := area("struct md_desc { unsigned csum, csum_status, hash, hash_type, pad, mark; } layout;")
	alikeApart := area("struct md_desc { unsigned long long csum, csum_status, hash, hash_type; unsigned mark; } layout;")
	program := driverProgram + "check(MARK, md->mark); check(HASH, md->hash);" + driverEnd
	tested := driverProgram + "check(MARK, want[MARK]);" + driverEnd
	for _, test := range []struct {
		name, source  string
		first, second func([]byte) ([]byte, error)
		refused       string
	}{
		{"the same", program, driver(veth), driver(veth), ""},
		{"the same, nothing read", tested, driver(veth), driver(veth), ""},
		{"the same, by another name", strings.Replace(program, "struct md_desc *md;", "typedef struct md_desc meta_t; const meta_t *md;", 1), driver(veth), driver(veth), ""},
		{"a kernel with fewer fields", program, driver(veth), driver(&fewer), ""},
		{"a kernel without the field", program, driver(veth), driver(&without), "md->mark is u32, and in driver veth it is not there"},
		{"another driver", program, driver(veth), driver(&other), "the object was rewritten for driver veth, and not for driver rvu-nicvf"},
		{"another driver, nothing read", tested, driver(&other), driver(veth), "the object was rewritten for driver rvu_nicvf, and not for driver veth"},
		{"an area", program, driver(veth), alike, "the object was rewritten for driver veth, and not for layout area"},
		{"an area, nothing read", tested, driver(veth), alike, "the object was rewritten for driver veth, and not for layout area"},
		{"from an area", program, alike, driver(veth), "the object was rewritten for a layout of the metadata area, and not for driver veth"},
		{"from an area like it", program, alikeApart, driver(veth), "the object was rewritten for a layout of the metadata area, and not for driver veth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			once, err := test.first(costCompile(t, "clang-19", driverHeader+test.source, "el", "v3"))
			if err != nil {
				t.Fatal(explained(err))
			}
			twice, err := test.second(once)
			switch {
			case test.refused == "" && err != nil:
				t.Fatal(explained(err))
			case test.refused == "" && !bytes.Equal(once, twice):
				t.Error("it is another object")
			case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
				t.Errorf("got %v, want %q", err, test.refused)
			}
		})
	}
}

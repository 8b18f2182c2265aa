package nic_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/nic"
)

// Unions, arrays over several lines, bit-fields that share bytes, names that are too long,
// what is unused, and an end within a line.
func TestByteMap(t *testing.T) {
	for source, want := range map[string]string{
		"struct md_desc { __u8 format; __u32 hash; union { __u64 both; struct { __u16 low; }; }; };": `
   0       1       2       3       4       5       6       7
  +-------+-----------------------+-------------------------------+
0 |format |. . . . . . . . . . . .|hash                           |
  +-------+-------+---------------+-------------------------------+
8 |both/low       |both                                           |
  +---------------+-----------------------------------------------+
`,
		"struct md_desc { __u16 kind; __u8 data[19]; struct { __u8 a : 3, middle : 2; } flags; __be16 end; } __attribute__((packed));": `
    0       1       2       3       4       5       6       7
   +---------------+-----------------------------------------------+
 0 |kind           |data                                           |
   +---------------+                                               |
 8 |                                                               |
   |                                       +-------+---------------+
16 |                                       |flags.~|end            |
   +---------------------------------------+-------+---------------+
`,
		"struct md_desc { __u32 a : 4, b : 14, c : 6; };": `
   0       1       2       3
  +-------+-------+-------+-------+
0 |a,b    |b      |b,c    |. . . .|
  +-------+-------+-------+-------+
`,
		"struct md_desc { __u8 sevenab, eightabc; __be16 fifteen_letters, sixteen__letters; };": `
   0       1       2       3       4       5
  +-------+-------+---------------+---------------+
0 |sevenab|eighta~|fifteen_letters|sixteen__lette~|
  +-------+-------+---------------+---------------+
`,
		"struct md_desc { __u64 a[2]; __u16 b; } __attribute__((packed));": `
    0       1       2       3       4       5       6       7
   +---------------------------------------------------------------+
 0 |a                                                              |
   |                                                               |
 8 |                                                               |
   +---------------+-----------------------------------------------+
16 |b              |
   +---------------+
`,
	} {
		layout := compileLayout(t, "#include <linux/types.h>\n"+source+"\nstruct md_desc layout;\n", "bpf")
		descriptors, err := nic.Descriptors(layout)
		if err != nil || len(descriptors) != 1 {
			t.Fatal(descriptors, err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), descriptors[0].ByteMap()); diff != "" {
			t.Errorf("%s\n(-want +got)\n%s", source, diff)
		}
	}
}

// Every field of a layout is told of, once, at the place where the compiler has it.
func TestDescriptors(t *testing.T) {
	for name, want := range map[string]string{
		"bitfield": "rx_timestamp __u64 0-7, hash __u32 8-11, hash_type __u32 bits 96-104, mark __u32 bits 105-124, csum __u32 16-19, csum_status __u32 20-23, " +
			"vlan_tci __u16 24-25, vlan_proto __be16 26-27, ptype __u32 28-31, reserved __u32 32-35",
		"nests": "inner.vid __u16 0-1, inner.prio __u16 2-3, inner.marks __u8[4] 4-7, spare __u32 8-11, color enum color 12-15, " +
			"chunks struct {...}[3] 16-27, hash __be32 28-31, tags struct fw_tag[4] 32-63",
		"two":  "mark __u32 0-3, hash __u32 4-7; hash __u32 0-3, mark __u32 4-7",
		"none": "no struct md_desc",
	} {
		layout, err := nic.OpenLayout(filepath.Join("../testdata/layouts", name+"-el.o"), "")
		if err != nil {
			t.Fatal(err)
		}
		descriptors, err := nic.Descriptors(layout)
		var all []string
		for _, d := range descriptors {
			var fields []string
			for _, f := range d.Fields {
				fields = append(fields, fmt.Sprint(f.Path, " ", f.Type, " ", f.Where()))
			}
			all = append(all, strings.Join(fields, ", "))
		}
		if got := strings.Join(all, "; "); got != want && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %s, %v\ninstead of %s", name, got, err, want)
		}
	}
}

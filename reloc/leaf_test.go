package reloc_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// A copy is of the members and elements that have bits in it, and each is where
// the layout has the same name or index.
func TestLeaves(t *testing.T) {
	box := packed(t, "box", field("width", u32), field("height", u16), field("depth", u8))
	small := packed(t, "box", field("depth", u32), field("width", u16), field("height", u16))
	for name, test := range map[string]struct {
		local, target btf.Type
		first         int64
		size          uint32
		want          string
	}{
		"other order": {box, small, 0, 7, ".width@0=4 .height@4=6 .depth@6=0"},
		"some of it":  {box, small, 3, 2, ".width@0=4 .height@4=6"},
		"the same":    {box, packed(t, "box", field("width", u32), field("height", u16), field("depth", u8)), 4, 1, "@0=0"},
		"padding": {
			&btf.Struct{Name: "gap", Size: 8, Members: []btf.Member{field("a", u8)}},
			&btf.Struct{Name: "gap", Size: 2, Members: []btf.Member{field("a", u8)}}, 4, 4, "",
		},
		"array":           {array(u32, 4), array(u16, 4), 4, 8, "[1]@4=2 [2]@8=4"},
		"longer array":    {array(u32, 2), array(u32, 4), 0, 8, "[0]@0=0 [1]@4=4"},
		"shorter array":   {array(u32, 4), array(u32, 2), 8, 8, "unsigned int[2] has no element 2"},
		"array of arrays": {array(array(u8, 2), 2), array(array(u16, 2), 2), 2, 2, "[1][0]@2=4 [1][1]@3=6"},
		"array of structs": {
			array(box, 2), array(small, 2), 7, 4, "[1].width@7=12",
		},
		"missing":       {box, packed(t, "box", field("width", u16)), 4, 1, "struct box has no field height"},
		"not asked for": {box, packed(t, "box", field("width", u16)), 0, 4, ".width@0=0"},
		"other type": {
			box, packed(t, "box", field("width", array(u32, 1))), 0, 4,
			"width of struct box is unsigned int[1], which is no unsigned int",
		},
		"anonymous": {
			packed(t, "outer", field("", packed(t, "", field("a", u8), field("b", u8)))),
			packed(t, "outer", field("b", u8), field("", packed(t, "", field("a", u16)))), 0, 2, ".a@0=1 .b@1=0",
		},
		"union of one": {
			packed(t, "outer", field("", union(t, "", field("a", u32)))),
			packed(t, "outer", field("a", u16)), 0, 4, ".a@0=0",
		},
		"union that agrees": {
			packed(t, "outer", field("", union(t, "", field("a", u32), field("b", array(u8, 4)))), field("c", u8)),
			packed(t, "outer", field("c", u8), field("", union(t, "", field("b", array(u8, 4)), field("a", u32)))), 0, 4, ".b@0=1",
		},
		"union that does not": {
			packed(t, "outer", field("", union(t, "", field("a", u32), field("b", s32)))),
			packed(t, "outer", field("a", u32), field("b", s32)), 0, 4,
			"nothing tells which member of union {...} is meant, and the layout keeps them in different ways",
		},
		"inner name": {
			packed(t, "outer", field("inner", box)), packed(t, "outer", field("inner", packed(t, "box", field("height", u8)))), 0, 4,
			".inner: struct box has no field width",
		},
		"bit-fields": {
			&btf.Struct{Name: "bits", Size: 4, Members: []btf.Member{bits("a", u32, 0, 5), bits("", u32, 5, 4), bits("b", u32, 9, 3)}},
			&btf.Struct{Name: "bits", Size: 4, Members: []btf.Member{bits("b", u32, 0, 3), bits("a", u32, 3, 9)}}, 0, 4, ".a@bit 0=bit 3 .b@bit 9=bit 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range orders {
				a := access(t, order, packed(t, "md_desc", field("x", test.local)), "0:0", reloc.ByteOffset)
				resolution, err := a.Resolve(layoutOf(t, order, packed(t, "md_desc", field("x", test.target))))
				if err != nil || !resolution.Exists {
					t.Fatalf("%s: %v: %s", order, err, &resolution)
				}
				leaves, why, err := reloc.Leaves(a.Local.Field, resolution.Field, test.first, test.size, order)
				if err != nil {
					t.Fatal(err)
				}
				got := why
				if why == "" {
					got = spellLeaves(leaves)
				}
				if got != test.want {
					t.Errorf("%s: got  %s\nwant %s", order, got, test.want)
				}
			}
		})
	}
}

func spellLeaves(leaves []reloc.Leaf) string {
	place := func(f *reloc.Field) string {
		if f.IsBitField() {
			return fmt.Sprintf("bit %d", f.BitOffset)
		}
		return fmt.Sprint(f.Offset)
	}
	var spelled []string
	for _, leaf := range leaves {
		spelled = append(spelled, fmt.Sprintf("%s@%s=%s", leaf.Path, place(leaf.Local), place(leaf.Target)))
	}
	return strings.Join(spelled, " ")
}

// Types that no compiler makes end the search.
func TestLeavesOfTypesWithoutEnd(t *testing.T) {
	order := orders[0]
	endless := func(name string, typ btf.Type) *btf.Struct {
		s := &btf.Struct{Name: "endless", Size: 8}
		s.Members = []btf.Member{field(name, s), field("b", s), field("c", typ)}
		return s
	}
	for _, name := range []string{"", "a"} {
		a := access(t, order, packed(t, "md_desc", field("x", endless(name, u32))), "0:0", reloc.ByteOffset)
		resolution, err := a.Resolve(layoutOf(t, order, packed(t, "md_desc", field("x", endless(name, s32)))))
		if err != nil {
			continue
		}
		if leaves, why, err := reloc.Leaves(a.Local.Field, resolution.Field, 0, 8, order); err == nil && why == "" {
			t.Errorf("%d leaves", len(leaves))
		}
	}
}

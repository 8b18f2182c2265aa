package reloc_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// member returns the access to the first member, and what is inside it.
func member(tb testing.TB, order binary.ByteOrder, path string, field btf.Member) reloc.Access {
	tb.Helper()
	return access(tb, order, packed(tb, "md_desc___mine", field), path, reloc.ByteOffset)
}

// Where a field called "x" is found, by its type in the program and what the
// layout has; "" if it is not there.
func TestResolveField(t *testing.T) {
	deep := func(typ btf.Type) btf.Type { // anonymous, within anonymous, within anonymous
		return union(t, "", field("", packed(t, "", field("", union(t, "", field("pad", u16), field("x", typ))))))
	}
	chain := &btf.Typedef{Name: "nic_reg", Type: &btf.Const{Type: &btf.Volatile{Type: &btf.Typedef{Name: "nic_word", Type: u32}}}}
	one, other := &btf.Enum{Name: "one", Size: 4}, &btf.Enum{Name: "other", Size: 4}
	function := &btf.FuncProto{Return: u32}

	for _, test := range []struct {
		name   string
		path   string // access string
		local  btf.Type
		layout []btf.Member
		want   string
	}{
		{"moved", "0:0", u32, []btf.Member{field("pad", u64), field("x", u32)}, "unsigned int at 8"},
		{"missing", "0:0", u32, []btf.Member{field("y", u32)}, ""},
		{"a name's beginning", "0:0", u32, []btf.Member{field("x1", u32)}, ""},
		{"in an anonymous struct", "0:0", u32, []btf.Member{field("pad", u32), field("", packed(t, "", field("p", u8), field("x", u32)))}, "unsigned int at 5"},
		{"several anonymous ones deep", "0:0", u32, []btf.Member{field("pad", u64), field("", deep(u32))}, "unsigned int at 8"},
		{"not in a named struct", "0:0", u32, []btf.Member{field("rx", packed(t, "", field("x", u32)))}, ""},
		{"first of two in anonymous unions", "0:0", u32, []btf.Member{field("", deep(u64)), field("", deep(u32))}, "unsigned long long at 0"},
		{"behind typedefs and modifiers", "0:0", u32, []btf.Member{field("pad", u8), field("x", chain)}, "nic_reg at 1"},
		{"behind typedefs in the program", "0:0", chain, []btf.Member{field("pad", u8), field("x", u32)}, "unsigned int at 1"},

		{"integer of another width", "0:0", u32, []btf.Member{field("x", u8)}, "unsigned char at 0"},
		{"integer of another sign", "0:0", u32, []btf.Member{field("x", s64)}, "long long at 0"},
		{"integer, not a pointer", "0:0", u64, []btf.Member{field("x", pointer(u32))}, ""},
		{"integer, not a float", "0:0", u32, []btf.Member{field("x", float)}, ""},
		{"integer, not a struct", "0:0", u32, []btf.Member{field("x", packed(t, "", field("y", u32)))}, ""},
		{"integer, not an array", "0:0", u32, []btf.Member{field("x", array(u32, 1))}, ""},
		{"integer for an enum", "0:0", u32, []btf.Member{field("x", one)}, "enum one at 0"},
		{"enum for an integer", "0:0", one, []btf.Member{field("x", u32)}, "unsigned int at 0"},
		{"pointer to another type", "0:0", pointer(u32), []btf.Member{field("x", pointer(function))}, "function * at 0"},
		{"enum of the same name", "0:0", one, []btf.Member{field("x", &btf.Enum{Name: "one___nic", Size: 1})}, "enum one___nic at 0"},
		{"enum of another name", "0:0", one, []btf.Member{field("x", other)}, ""},
		{"anonymous enum", "0:0", one, []btf.Member{field("x", &btf.Enum{Size: 2})}, "enum {...} at 0"},
		{"union for a struct", "0:0", packed(t, "a", field("y", u32)), []btf.Member{field("x", union(t, "b", field("y", u32)))}, "union b at 0"},

		{"in a nested struct", "0:0:0", packed(t, "", field("q", u16)), []btf.Member{field("x", packed(t, "nic_rx", field("p", u8), field("q", u16)))}, "unsigned short at 1"},
		{"missing in a nested struct", "0:0:0", packed(t, "", field("q", u16)), []btf.Member{field("x", packed(t, "nic_rx", field("p", u8)))}, ""},
		{"in an anonymous struct of the program only", "0:0:0", packed(t, "", field("q", u16)), []btf.Member{field("x", packed(t, "", field("", packed(t, "", field("q", u16)))))}, "unsigned short at 0"},

		{"array element", "0:0:2", array(u32, 4), []btf.Member{field("pad", u8), field("x", array(u32, 3))}, "unsigned int at 9"},
		{"element of another size", "0:0:2", array(u32, 4), []btf.Member{field("x", array(u16, 8))}, "unsigned short at 4"},
		{"element out of range", "0:0:3", array(u32, 4), []btf.Member{field("x", array(u32, 3))}, ""},
		{"element of another type", "0:0:2", array(u32, 4), []btf.Member{field("x", array(pointer(u32), 4))}, ""},
		{"element of no array", "0:0:2", array(u32, 4), []btf.Member{field("x", u32)}, ""},
		{"element of an array of arrays", "0:0:1:1", array(array(u8, 2), 2), []btf.Member{field("x", array(array(u8, 4), 4))}, "unsigned char at 5"},
		{"flexible array at the end", "0:0:9", array(u32, 10), []btf.Member{field("pad", u64), field("x", array(u32, 0))}, "unsigned int at 44"},
		{"empty array in the middle", "0:0:0", array(u32, 10), []btf.Member{field("x", array(u32, 0)), field("pad", u64)}, ""},
		{"flexible array in the program", "0:0:3", array(u32, 0), []btf.Member{field("x", array(u32, 4))}, "unsigned int at 12"},
		{"one past the end", "0:0:4", array(u32, 4), []btf.Member{field("pad", u8), field("x", array(u32, 4))}, "unsigned int[0] at 17"},
		{"one past the end, of structs", "0:0:2", array(packed(t, "in", field("q", u16)), 2), []btf.Member{field("x", array(packed(t, "out", field("q", u16)), 2))}, "struct out[0] at 4"},
		{"one past the end, longer", "0:0:4", array(u32, 4), []btf.Member{field("x", array(u32, 5))}, ""},
		{"one past the end, shorter", "0:0:4", array(u32, 4), []btf.Member{field("x", array(u32, 3))}, ""},
		{"one past the end, flexible", "0:0:4", array(u32, 4), []btf.Member{field("pad", u8), field("x", array(u32, 0))}, ""},
		{"one past the end, narrower", "0:0:4", array(u32, 4), []btf.Member{field("x", array(u16, 4))}, ""},
		{"one past the end, byte order", "0:0:4", array(&btf.Typedef{Name: "__le32", Type: u32}, 4), []btf.Member{field("x", array(be32, 4))}, ""},
		{"one past the end, no array", "0:0:4", array(u32, 4), []btf.Member{field("x", u32)}, ""},
		{"one past the end, missing", "0:0:4", array(u32, 4), []btf.Member{field("y", array(u32, 4))}, ""},
		{"flexible in the program, out of range", "0:0:4", array(u32, 0), []btf.Member{field("x", array(u32, 4))}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, order := range orders {
				a := member(t, order, test.path, field("x", test.local))
				got, err := a.Resolve(layoutOf(t, order, packed(t, "md_desc___nic", test.layout...)))
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case test.want == "":
					if got.Exists || !got.Poison || got.Missing == "" || got.Field != nil {
						t.Errorf("%s: %s; want it not to be there", order, got.String())
					}
				case !got.Exists || got.String() != test.want || got.Value != uint64(got.Field.Offset):
					t.Errorf("%s: %s, value %d, want %s", order, got.String(), got.Value, test.want)
				}
			}
		})
	}
}

// What a path crosses in the program only: anonymous structs make no step.
func TestResolveThroughTheProgramsAnonymousStructs(t *testing.T) {
	root := packed(t, "md_desc", field("pad", u32), field("", union(t, "", field("", packed(t, "", field("p", u8), field("x", u32))))))
	a := access(t, binary.LittleEndian, root, "0:1:0:1", reloc.ByteOffset)
	got, err := a.Resolve(layoutOf(t, binary.LittleEndian, packed(t, "md_desc", field("p", u64), field("x", u32))))
	if err != nil || got.String() != "unsigned int at 8" || a.Path != "md->x" {
		t.Errorf("%s: %s, %v", a.Path, got.String(), err)
	}
}

// What each kind of record comes to for a field, a type or an enumerator that
// is not there.
func TestResolveMissing(t *testing.T) {
	local := packed(t, "md_desc", field("x", u32))
	enum := &btf.Enum{Name: "md_desc", Size: 4, Values: []btf.EnumValue{{Name: "X", Value: 1}}}
	withoutField := packed(t, "md_desc", field("y", u32))
	withoutValue := &btf.Enum{Name: "md_desc", Size: 4, Values: []btf.EnumValue{{Name: "Y", Value: 1}}}
	otherName := packed(t, "descriptor", field("x", u32))
	declared := &btf.Fwd{Name: "md_desc"}
	otherKind := union(t, "md_desc", field("x", u32))

	const zero, poison = false, true
	for _, test := range []struct {
		kind   reloc.Kind
		root   btf.Type
		access string
		lacks  btf.Type
		want   bool
	}{
		{reloc.ByteOffset, local, "0:0", withoutField, poison},
		{reloc.ByteSize, local, "0:0", withoutField, poison},
		{reloc.FieldExists, local, "0:0", withoutField, zero},
		{reloc.Signed, local, "0:0", withoutField, poison},
		{reloc.LeftShift, local, "0:0", withoutField, poison},
		{reloc.RightShift, local, "0:0", withoutField, poison},
		{reloc.TargetTypeID, local, "0", otherName, zero},
		{reloc.TypeExists, local, "0", otherName, zero},
		{reloc.TypeSize, local, "0", otherName, zero},
		{reloc.EnumExists, enum, "0", withoutValue, zero},
		{reloc.EnumValue, enum, "0", withoutValue, poison},
		{reloc.TypeMatches, local, "0", withoutField, zero},
	} {
		a := access(t, binary.LittleEndian, test.root, test.access, test.kind)
		for _, lacks := range []btf.Type{test.lacks, otherName, declared, otherKind} {
			got, err := a.Resolve(layoutOf(t, binary.LittleEndian, lacks))
			if err != nil {
				t.Error(err)
			}
			if got.Exists || got.Poison != test.want || got.Value != 0 || got.Missing == "" {
				t.Errorf("%s in %s: %+v", test.kind, reloc.TypeString(lacks), got)
			}
		}
	}
}

func TestResolveEnumerator(t *testing.T) {
	local := &btf.Enum{Name: "status", Size: 4, Values: []btf.EnumValue{{Name: "GOOD", Value: 1}, {Name: "BAD___mine", Value: 2}}}
	for _, test := range []struct {
		name   string
		access string
		layout *btf.Enum
		want   uint64
	}{
		{"other value", "0", &btf.Enum{Name: "status", Size: 4, Values: []btf.EnumValue{{Name: "BAD"}, {Name: "GOOD", Value: 7}}}, 7},
		{"flavours", "1", &btf.Enum{Name: "status___nic", Size: 4, Values: []btf.EnumValue{{Name: "GOOD"}, {Name: "BAD___nic", Value: 9}}}, 9},
		{"negative", "0", &btf.Enum{Name: "status", Size: 4, Signed: true, Values: []btf.EnumValue{{Name: "GOOD", Value: math.MaxUint64}}}, math.MaxUint64},
		{"unsigned above 2^31", "0", &btf.Enum{Name: "status", Size: 4, Values: []btf.EnumValue{{Name: "GOOD", Value: 0xffffffff}}}, 0xffffffff},
		{"64 bits", "0", &btf.Enum{Name: "status", Size: 8, Values: []btf.EnumValue{{Name: "GOOD", Value: 0x123456789abcdef0}}}, 0x123456789abcdef0},
		{"64 bits, negative", "0", &btf.Enum{Name: "status", Size: 8, Signed: true, Values: []btf.EnumValue{{Name: "GOOD", Value: 1 << 63}}}, 1 << 63},
	} {
		for _, order := range orders {
			a := access(t, order, local, test.access, reloc.EnumValue)
			got, err := a.Resolve(layoutOf(t, order, test.layout))
			if err != nil || !got.Exists || got.Value != test.want {
				t.Errorf("%s, %s: %#x, %v, want %#x", test.name, order, got.Value, err, test.want)
			}
		}
	}
}

// The same from clang: an enum64 and a negative enumerator.
func TestResolveClangsEnumerators(t *testing.T) {
	for layout, want := range map[string]map[string]uint64{
		"wide":      {"MD_CSUM_NONE": 0, "MD_CSUM_UNNECESSARY": 0x80000000, "MD_CSUM_COMPLETE": 0x123456789abcdef0},
		"packed":    {"MD_CSUM_NONE": math.MaxUint64, "MD_CSUM_UNNECESSARY": 0, "MD_CSUM_COMPLETE": 1},
		"reordered": {"MD_CSUM_NONE": 4, "MD_CSUM_UNNECESSARY": 2, "MD_CSUM_COMPLETE": 1},
		"flavour":   {"MD_CSUM_NONE": 7, "MD_CSUM_UNNECESSARY": 6, "MD_CSUM_COMPLETE": 5},
	} {
		for _, endian := range []string{"-el", "-eb"} {
			for _, access := range readAccesses(t, "../testdata/programs/kinds"+endian+".o") {
				if access.Kind != reloc.EnumValue {
					continue
				}
				got, err := access.Resolve(readLayout(t, layout+endian))
				if err != nil || got.Value != want[access.Path] {
					t.Errorf("%s: %s is %#x, %v, want %#x", layout+endian, access.Path, got.Value, err, want[access.Path])
				}
			}
		}
	}
}

func TestByteOrder(t *testing.T) {
	typedef := func(name string, typ btf.Type) btf.Type { return &btf.Typedef{Name: name, Type: typ} }
	for _, test := range []struct {
		typ  btf.Type
		want reloc.Order
	}{
		{u16, reloc.Native},
		{typedef("__u16", u16), reloc.Native},
		{typedef("__be16", typedef("__u16", u16)), reloc.BigEndian},
		{typedef("__be32", u32), reloc.BigEndian},
		{typedef("__be64", u64), reloc.BigEndian},
		{typedef("__le16", u16), reloc.LittleEndian},
		{typedef("__le32", u32), reloc.LittleEndian},
		{typedef("__le64", u64), reloc.LittleEndian},
		{typedef("nic_ethertype", &btf.Const{Type: typedef("nic_be", &btf.Volatile{Type: typedef("__be16", u16)})}), reloc.BigEndian},
		{pointer(typedef("__be16", u16)), reloc.Native},
		{array(typedef("__be16", u16), 2), reloc.Native},
	} {
		for _, order := range orders {
			a := member(t, order, "0:0", field("x", test.typ))
			if got := a.Local.Field.Order; got != test.want {
				t.Errorf("%s is %s, want %s", reloc.TypeString(test.typ), got, test.want)
			}
			if got, want := a.Local.Field.Swapped(order), test.want != reloc.Native && (test.want == reloc.BigEndian) != (order == binary.BigEndian); got != want {
				t.Errorf("%s is swapped on %s: %t", reloc.TypeString(test.typ), order, got)
			}
		}
	}
}

func function(result btf.Type, parameters ...btf.Type) *btf.FuncProto {
	proto := &btf.FuncProto{Return: result}
	for _, typ := range parameters {
		proto.Params = append(proto.Params, btf.FuncParam{Type: typ})
	}
	return proto
}

// type_matches looks at the members, type_exists does not.
func TestTypeMatches(t *testing.T) {
	self := &btf.Struct{Name: "md_desc", Size: 8}
	self.Members = []btf.Member{field("next", pointer(self))}
	for _, test := range []struct {
		name          string
		local, layout []btf.Member
		want          bool
	}{
		{"equal", []btf.Member{field("x", u32)}, []btf.Member{field("x", u32)}, true},
		{"reordered, and more", []btf.Member{field("x", u32), field("y", u8)}, []btf.Member{field("y", u8), field("z", u8), field("x", u32)}, true},
		{"behind a typedef", []btf.Member{field("x", u32)}, []btf.Member{field("x", &btf.Typedef{Name: "nic_word", Type: u32})}, true},
		{"of another name", []btf.Member{field("x", u32)}, []btf.Member{field("x", &btf.Int{Name: "nic_word", Size: 4})}, false},
		{"missing", []btf.Member{field("x", u32)}, []btf.Member{field("y", u32)}, false},
		{"narrower", []btf.Member{field("x", u32)}, []btf.Member{field("x", &btf.Int{Name: "unsigned int", Size: 2})}, false},
		{"signed", []btf.Member{field("x", u32)}, []btf.Member{field("x", &btf.Int{Name: "unsigned int", Size: 4, Encoding: btf.Signed})}, false},
		{"longer array", []btf.Member{field("x", array(u32, 2))}, []btf.Member{field("x", array(u32, 3))}, false},
		{"array of the same length", []btf.Member{field("x", array(u32, 2))}, []btf.Member{field("x", array(u32, 2))}, true},
		{"enumerator missing", []btf.Member{field("x", &btf.Enum{Name: "e", Size: 4, Values: []btf.EnumValue{{Name: "A"}}})},
			[]btf.Member{field("x", &btf.Enum{Name: "e", Size: 4, Values: []btf.EnumValue{{Name: "B"}}})}, false},
		{"enumerator of another value", []btf.Member{field("x", &btf.Enum{Name: "e", Size: 4, Values: []btf.EnumValue{{Name: "A"}}})},
			[]btf.Member{field("x", &btf.Enum{Name: "e", Size: 4, Values: []btf.EnumValue{{Name: "B"}, {Name: "A", Value: 3}}})}, true},
		{"pointer to a struct of the same name", []btf.Member{field("x", pointer(packed(t, "s", field("a", u8))))},
			[]btf.Member{field("x", pointer(packed(t, "s", field("b", u8))))}, true},
		{"pointer to another struct", []btf.Member{field("x", pointer(packed(t, "s", field("a", u8))))},
			[]btf.Member{field("x", pointer(packed(t, "r", field("a", u8))))}, false},
		{"pointer to itself", self.Members, self.Members, true},
		{"function of the same type", []btf.Member{field("x", pointer(function(u32, u8)))}, []btf.Member{field("x", pointer(function(u32, u8)))}, true},
		{"function that returns something else", []btf.Member{field("x", pointer(function(u32, u8)))}, []btf.Member{field("x", pointer(function(u8, u8)))}, false},
		{"function of another parameter", []btf.Member{field("x", pointer(function(u32, u8)))}, []btf.Member{field("x", pointer(function(u32, u32)))}, false},
		{"function of more parameters", []btf.Member{field("x", pointer(function(u32, u8)))}, []btf.Member{field("x", pointer(function(u32, u8, u8)))}, false},
	} {
		a := access(t, binary.LittleEndian, packed(t, "md_desc", test.local...), "0", reloc.TypeMatches)
		got, err := a.Resolve(layoutOf(t, binary.LittleEndian, packed(t, "md_desc", test.layout...)))
		if err != nil || got.Exists != test.want || (got.Value == 1) != test.want {
			t.Errorf("%s: matches: %t, %v", test.name, got.Exists, err)
		}

		a = access(t, binary.LittleEndian, packed(t, "md_desc", test.local...), "0", reloc.TypeExists)
		if got, err := a.Resolve(layoutOf(t, binary.LittleEndian, packed(t, "md_desc", test.layout...))); err != nil || !got.Exists {
			t.Errorf("%s: exists: %t, %v", test.name, got.Exists, err)
		}
	}
}

// The same from clang, with the header's own types.
func TestTypeMatchesClang(t *testing.T) {
	for layout, want := range map[string]map[string]bool{
		"exact":     {"struct md_desc": true, "enum md_csum_status": true},
		"reordered": {"struct md_desc": true, "enum md_csum_status": true, "struct md_desc___kinds": true},
		"narrow":    {"struct md_desc": false, "enum md_csum_status": false, "struct md_desc___kinds": false},
		"wide":      {"struct md_desc": false, "enum md_csum_status": false},
		"sparse":    {"struct md_desc": false, "enum md_csum_status": false},
		"flavour":   {"enum md_csum_status": true},
	} {
		for _, endian := range []string{"-el", "-eb"} {
			for _, access := range readAccesses(t, "../testdata/programs/kinds"+endian+".o") {
				expected, ok := want[access.Path]
				if access.Kind != reloc.TypeMatches || !ok {
					continue
				}
				got, err := access.Resolve(readLayout(t, layout+endian))
				if err != nil || got.Exists != expected {
					t.Errorf("%s: %s matches: %t, %v", layout+endian, access.Path, got.Exists, err)
				}
			}
		}
	}
}

// Of flavours that are equal in all but their names, one counts.
func TestEqualCopies(t *testing.T) {
	inner := func() btf.Type { return packed(t, "", field("p", u8), field("x", be32)) }
	a := member(t, binary.LittleEndian, "0:0", field("x", u32))
	id := access(t, binary.LittleEndian, packed(t, "md_desc", field("x", u32)), "0", reloc.TargetTypeID)
	layout := layoutOf(t, binary.LittleEndian, packed(t, "md_desc", field("", inner())), packed(t, "md_desc", field("", inner())), packed(t, "md_desc___3", field("", inner())))

	if got, err := a.Resolve(layout); err != nil || got.String() != "__be32 at 1" {
		t.Errorf("%s, %v", got.String(), err)
	}
	// Their IDs differ, but there is one candidate only.
	if got, err := id.Resolve(layout); err != nil || got.Value != 1 {
		t.Errorf("type ID %d, %v, want that of the first", got.Value, err)
	}
	// Values of enumerations are asked for, so that other ones make another type.
	status := func(values ...btf.EnumValue) btf.Type {
		return packed(t, "md_desc", field("x", &btf.Enum{Name: "status", Size: 4, Values: values}))
	}
	for _, test := range []struct {
		other btf.Type
		want  error
	}{
		{status(btf.EnumValue{Name: "GOOD", Value: 1}), nil},
		{status(btf.EnumValue{Name: "GOOD", Value: 2}), reloc.ErrAmbiguous},
		{status(btf.EnumValue{Name: "FINE", Value: 1}), reloc.ErrAmbiguous},
		{status(btf.EnumValue{Name: "GOOD", Value: 1}, btf.EnumValue{Name: "BAD"}), reloc.ErrAmbiguous},
	} {
		layout := layoutOf(t, binary.LittleEndian, status(btf.EnumValue{Name: "GOOD", Value: 1}), test.other)
		if _, err := id.Resolve(layout); !errors.Is(err, test.want) {
			t.Errorf("%v: %v, want %v", test.other, err, test.want)
		}
	}
}

// An enumeration is kept as the integer of its size and sign.
func TestEnumRepresentation(t *testing.T) {
	order := binary.LittleEndian
	for _, test := range []struct {
		layout btf.Type
		want   bool
	}{
		{&btf.Enum{Name: "status", Size: 4}, true},
		{&btf.Enum{Name: "status", Size: 4, Values: []btf.EnumValue{{Name: "A", Value: math.MaxInt32}}}, true},
		{&btf.Enum{Name: "status", Size: 4, Values: []btf.EnumValue{{Name: "A", Value: math.MaxUint32}}}, false}, // or -1
		{&btf.Enum{Name: "status", Size: 4, Signed: true}, false},
		{&btf.Enum{Name: "status", Size: 2}, false},
		{packed(t, "status", field("y", u32)), false},
	} {
		a := member(t, order, "0:0", field("x", u32))
		there := member(t, order, "0:0", field("x", test.layout))
		if got := reloc.SameRepresentation(a.Local.Field, there.Local.Field, order); got != test.want {
			t.Errorf("%v: %t, want %t", test.layout, got, test.want)
		}
	}
}

func TestTwins(t *testing.T) {
	for _, access := range readAccesses(t, "../testdata/programs/fields-el.o") {
		if got, err := access.Resolve(readLayout(t, "twins-el")); err != nil || (access.Path == "md->hash" && !got.Exists) {
			t.Errorf("%s: %s, %v", access.Path, got.String(), err)
		}
	}
}

// Candidates may differ as long as they agree on the access.
func TestDisagreement(t *testing.T) {
	for _, test := range []struct {
		name string
		x, y btf.Type // what the two candidates have
		want bool
	}{
		{"equal", packed(t, "md_desc___a", field("x", u32), field("y", u8)), packed(t, "md_desc___b", field("x", u32), field("z", u16)), true},
		{"offset", packed(t, "md_desc___a", field("p", u32), field("x", u32)), packed(t, "md_desc___b", field("x", u32)), false},
		{"width", packed(t, "md_desc___a", field("x", u16)), packed(t, "md_desc___b", field("x", u32)), false},
		{"sign", packed(t, "md_desc___a", field("x", s32)), packed(t, "md_desc___b", field("x", u32)), false},
		{"byte order", packed(t, "md_desc___a", field("x", be32)), packed(t, "md_desc___b", field("x", u32)), false},
		{"bit-field or not", packed(t, "md_desc___a", bits("x", u32, 0, 32)), packed(t, "md_desc___b", field("x", u32)), false},
		{"bits", packed(t, "md_desc___a", bits("x", u32, 3, 5)), packed(t, "md_desc___b", bits("x", u32, 4, 5)), false},
		{"one lacks it", packed(t, "md_desc___a", field("x", u32)), packed(t, "md_desc___b", field("y", u32)), false},
	} {
		a := member(t, binary.LittleEndian, "0:0", field("x", u32))
		got, err := a.Resolve(layoutOf(t, binary.LittleEndian, test.x, test.y))
		if errors.Is(err, reloc.ErrAmbiguous) == test.want || (err == nil) != test.want {
			t.Errorf("%s: %s, %v", test.name, got.String(), err)
		}
	}
}

func TestDisagreementLists(t *testing.T) {
	layout := readLayout(t, "two-el")
	for _, access := range readAccesses(t, "../testdata/programs/fields-el.o") {
		if access.Path != "md->hash" || access.Kind != reloc.ByteOffset {
			continue
		}
		_, err := access.Resolve(layout)
		if !errors.Is(err, reloc.ErrAmbiguous) || !strings.Contains(err.Error(), "struct md_desc___a says __u32 at 4; struct md_desc___b says __u32 at 0") {
			t.Errorf("got %v", err)
		}
	}
}

// Types that are not copies of each other are all compared, so there is an end to
// them.
func TestTooManyCandidates(t *testing.T) {
	var types []btf.Type
	for n := range 30_000 {
		types = append(types, packed(t, "md_desc", field(fmt.Sprint("x", n), u32)))
	}
	_, err := layoutOf(t, binary.LittleEndian, types...).SizeOf("md_desc")
	if err == nil || !strings.Contains(err.Error(), "layout test has more than 256 different types named md_desc") {
		t.Errorf("got %v", err)
	}
}

func TestOtherByteOrder(t *testing.T) {
	little, big := layoutOf(t, binary.LittleEndian, packed(t, "md_desc", field("x", u32))), layoutOf(t, binary.BigEndian, packed(t, "md_desc", field("x", u32)))
	for _, test := range []struct {
		order  binary.ByteOrder
		layout *reloc.Layout
		want   string
	}{
		{binary.LittleEndian, big, "-target bpfeb"},
		{binary.BigEndian, little, "-target bpfel"},
	} {
		a := member(t, test.order, "0:0", field("x", u32))
		if _, err := a.Resolve(test.layout); !errors.Is(err, reloc.ErrByteOrder) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.order, err)
		}
	}
}

func TestSizeOf(t *testing.T) {
	layout := layoutOf(t, binary.LittleEndian, packed(t, "md_desc___nic", field("x", u32)), &btf.Fwd{Name: "declared"},
		&btf.Func{Name: "called", Type: &btf.FuncProto{Return: u32}, Linkage: btf.GlobalFunc})
	for name, want := range map[string]uint32{"called": 0, "md_desc": 4, "md_desc___nic": 0, "md": 0, "declared": 0, "x": 0} {
		if got, err := layout.SizeOf(name); got != want || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

// Types of a module refer to those of vmlinux, which it is split from, by ID,
// and so do its strings.
func TestSplitLayout(t *testing.T) {
	const structInfo = 4<<24 | 1 // kind, number of members
	order := binary.BigEndian
	base := marshal(t, order, packed(t, "nic_word", field("value", u32))) // IDs 1 and 2
	strings := order.Uint32(base[20:])
	module, err := binary.Append(nil, order, []uint32{
		0xeb9f0100, 24, 0, 24, 24, uint32(len("md_desc\x00rx\x00")),
		strings, structInfo, 12, // struct md_desc, 12 bytes
		strings + uint32(len("md_desc\x00")), 1, 8 * 8, // rx: type 1, at bit 64
	})
	if err != nil {
		t.Fatal(err)
	}
	module = append(module, "md_desc\x00rx\x00"...)

	layout, err := reloc.NewLayout("module", module, base)
	if err != nil {
		t.Fatal(err)
	}
	value := access(t, order, packed(t, "md_desc", field("rx", packed(t, "", field("value", u32)))), "0:0:0", reloc.ByteOffset)
	if got, err := value.Resolve(layout); err != nil || got.String() != "unsigned int at 8" {
		t.Errorf("%s, %v", got.String(), err)
	}
	id := access(t, order, packed(t, "md_desc", field("rx", u32)), "0", reloc.TargetTypeID)
	if got, err := id.Resolve(layout); err != nil || got.Value != 3 {
		t.Errorf("type ID %d, %v, want the first one after the base", got.Value, err)
	}

	for name, bad := range map[string][2][]byte{
		"without its base":              {module, nil},
		"cut short":                     {module[:20], base},
		"with a base cut short":         {module, base[:20]},
		"with a base of another order":  {module, marshal(t, binary.LittleEndian, u32)},
		"with types beyond the strings": {module[:len(module)-1], base},
	} {
		if layout, err := reloc.NewLayout("module", bad[0], bad[1]); err == nil || layout != nil {
			t.Errorf("%s: read", name)
		}
	}

	beyond := bytes.Clone(module)
	beyond[24+4*4+3] = 4 // the type of rx
	if layout, err := reloc.NewLayout("module", beyond, base); !errors.Is(err, reloc.ErrWrongBase) || layout != nil {
		t.Errorf("a type that is nowhere: %v, %v", layout, err)
	}
	for name, base := range map[string][]byte{
		"other types":   marshal(t, order, packed(t, "nic_word", field("value", packed(t, "nic_pair", field("pair", u32))))),
		"fewer types":   marshal(t, order, u32),
		"other strings": marshal(t, order, packed(t, "nic_words", field("value", u32))),
		"another order": marshal(t, binary.LittleEndian, packed(t, "nic_word", field("value", u32))),
	} {
		layout, err := reloc.NewLayout("module", module, base)
		if !errors.Is(err, reloc.ErrWrongBase) || layout != nil {
			t.Errorf("%s: %v, %v", name, layout, err)
		}
	}
}

// Goroutines may share layouts that share their base.
func TestSplitLayoutsShared(t *testing.T) {
	order := binary.LittleEndian
	base := newLayout(t, "base", marshal(t, order, packed(t, "nic_word", field("value", u32))))
	empty, err := binary.Append(nil, order, []uint32{0x1eb9f, 24, 0, 0, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		split, err := base.Split("split", empty)
		if err != nil {
			t.Fatal(err)
		}
		for _, layout := range []*reloc.Layout{base, split, split} {
			wait.Go(func() {
				if size, err := layout.SizeOf("nic_word"); err != nil || size != 4 {
					t.Errorf("%s: %d, %v", layout.Name(), size, err)
				}
			})
		}
	}
	wait.Wait()
}

// Compilers that know no enum64 never say that an enumeration is signed.
func TestEnumOfUnknownSign(t *testing.T) {
	enum := func(signed bool, values ...uint64) *btf.Enum {
		e := &btf.Enum{Name: "e", Size: 4, Signed: signed}
		for i, value := range values {
			e.Values = append(e.Values, btf.EnumValue{Name: string(rune('A' + i)), Value: value})
		}
		return e
	}
	for _, test := range []struct {
		name string
		typ  *btf.Enum
		want bool
	}{
		{"small values", enum(false, 0, 1, 1<<31-1), false},
		{"a value with the highest bit", enum(false, 0, 1<<32-100), true},
		{"declared signed", enum(true, 0, 1<<64-100), false},
	} {
		a := access(t, binary.LittleEndian, packed(t, "md_desc", field("x", test.typ)), "0:0", reloc.ByteOffset)
		if got := a.Local.Field.SignUnknown; got != test.want {
			t.Errorf("%s: sign unknown: %t", test.name, got)
		}
	}
}

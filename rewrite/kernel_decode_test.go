package rewrite_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// kernelField is where a field lies in a little-endian descriptor, found by
// walking BTF: the second opinion that what programs read is compared with.
type kernelField struct {
	bit, bits  uint32 // from the start of the descriptor, and how many
	signed     bool
	isBitField bool
}

// kernelTypes returns the types of an object.
func kernelTypes(t *testing.T, object []byte) *btf.Spec {
	t.Helper()
	types, err := btf.LoadSpecFromReader(bytes.NewReader(sectionData(t, object, ".BTF")))
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// kernelFlavours returns the types of a name, flavours included.
func kernelFlavours(t *testing.T, types *btf.Spec, name string) []btf.Type {
	t.Helper()
	var flavours []btf.Type
	for typ, err := range types.All() {
		if err != nil {
			t.Fatal(err)
		}
		if found := typ.TypeName(); found == name || strings.HasPrefix(found, name+"___") {
			flavours = append(flavours, typ)
		}
	}
	return flavours
}

// kernelFind looks for a field of any of several types. Its path is spelled as
// in the names of result variables: "rx__queue", "words__2".
func kernelFind(roots []btf.Type, path string) (kernelField, bool) {
	for _, root := range roots {
		if field, ok := kernelFindIn(root, path); ok {
			return field, true
		}
	}
	return kernelField{}, false
}

func kernelFindIn(root btf.Type, path string) (kernelField, bool) {
	at := btf.Member{Type: root}
	for step := range strings.SplitSeq(path, "__") {
		next, ok := kernelStep(at, step)
		if !ok {
			return kernelField{}, false
		}
		at = next
	}
	return kernelDescribe(at), true
}

// kernelStep goes to a member or an element of what is at a place.
func kernelStep(at btf.Member, step string) (btf.Member, bool) {
	if array, ok := btf.UnderlyingType(at.Type).(*btf.Array); ok {
		return kernelElement(at, array, step)
	}
	for _, member := range kernelMembers(at.Type) {
		member.Offset += at.Offset
		if member.Name == step {
			return member, true
		}
		if member.Name == "" {
			if found, ok := kernelStep(member, step); ok {
				return found, true
			}
		}
	}
	return btf.Member{}, false
}

func kernelElement(at btf.Member, array *btf.Array, step string) (btf.Member, bool) {
	index, err := strconv.ParseUint(step, 10, 32)
	size, sizeErr := btf.Sizeof(array.Type)
	if err != nil || sizeErr != nil || index >= uint64(array.Nelems) {
		return btf.Member{}, false
	}
	return btf.Member{Type: array.Type, Offset: at.Offset + btf.Bits(index*uint64(size)*8)}, true
}

func kernelMembers(typ btf.Type) []btf.Member {
	switch typ := btf.UnderlyingType(typ).(type) {
	case *btf.Struct:
		return typ.Members
	case *btf.Union:
		return typ.Members
	}
	return nil
}

func kernelDescribe(at btf.Member) kernelField {
	field := kernelField{bit: uint32(at.Offset), bits: uint32(at.BitfieldSize)}
	integer := btf.UnderlyingType(at.Type).(*btf.Int)
	field.signed = integer.Encoding == btf.Signed
	field.isBitField = field.bits > 0
	if !field.isBitField {
		field.bits = integer.Size * 8
	}
	return field
}

// read returns the field of a descriptor, extended to 64 bits.
func (f kernelField) read(descriptor []byte) uint64 {
	var value uint64
	for i := range f.bits {
		at := f.bit + i
		bit := descriptor[at/8] >> (at % 8) & 1
		value |= uint64(bit) << i
	}
	return f.convert(value)
}

// write puts the low-order bits of a value into the field.
func (f kernelField) write(descriptor []byte, value uint64) {
	for i := range f.bits {
		at := f.bit + i
		descriptor[at/8] &^= 1 << (at % 8)
		descriptor[at/8] |= byte(value>>i&1) << (at % 8)
	}
}

// convert converts a value to the field's type and then to 64 bits, as C does
// in an assignment.
func (f kernelField) convert(value uint64) uint64 {
	unused := 64 - f.bits
	if f.signed {
		return uint64(int64(value<<unused) >> unused)
	}
	return value << unused >> unused
}

// The decoder itself, on a layout that has everything.
func TestKernelDecode(t *testing.T) {
	types := kernelTypes(t, readFile(t, testdata+"/layouts/narrow"+kernelEndian+".o"))
	roots := kernelFlavours(t, types, "md_desc")

	descriptor := make([]byte, 44)
	for i := range descriptor {
		descriptor[i] = byte(0x90 + i)
	}
	// By hand, from the C of the layout.
	for path, expected := range map[string]uint64{
		"rx_timestamp": 0x97969594,
		"vlan_proto":   0x9f9e,
		"words__3":     0xa7a6,
		"tag__5":       0xad,
		"rx__queue":    0xb0,
		"flow":         0xb3b2,
		"l3_ok":        0xb5 & 1,
		"queue_prio":   0xb5 >> 1,
		"delta":        0xfffffffffffffff6, // the low 5 bits of 0xb6
		"skew":         0xffffffffbbbab9b8,
	} {
		field, ok := kernelFind(roots, path)
		if !ok {
			t.Errorf("%s is not found", path)
			continue
		}
		if got := field.read(descriptor); got != expected {
			t.Errorf("%s: %#x, expected %#x", path, got, expected)
		}
	}
	for _, path := range []string{"none", "words__4", "words__x", "rx__none"} {
		if _, ok := kernelFind(roots, path); ok {
			t.Errorf("%s is found", path)
		}
	}
}

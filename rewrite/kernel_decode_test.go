package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// kernelField is where a field lies in a descriptor of the machine's byte order, found by
// walking BTF: the second opinion that what programs read is compared with.
type kernelField struct {
	bit, bits  uint32 // from the start of the descriptor, and how many
	signed     bool
	isBitField bool
	network    bool // whether its bytes are in network byte order
	little     bool // whether they are in the other one, whatever the machine
	boolean    bool
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
	field.isBitField = field.bits > 0
	field.network, field.little = kernelHasOrder(at.Type, "__be"), kernelHasOrder(at.Type, "__le")
	size := uint32(0)
	switch typ := btf.UnderlyingType(at.Type).(type) {
	case *btf.Int:
		size, field.signed, field.boolean = typ.Size, typ.Encoding == btf.Signed, typ.Encoding == btf.Bool
	case *btf.Enum:
		size, field.signed = typ.Size, typ.Signed
	}
	if !field.isBitField {
		field.bits = size * 8
	}
	return field
}

// kernelHasOrder reports whether a type is one of a byte order, such as __be16, __be32 or
// __be64 if that is "__be", or a typedef of it.
func kernelHasOrder(typ btf.Type, order string) bool {
	typedef, ok := btf.As[*btf.Typedef](typ)
	return ok && (strings.HasPrefix(typedef.Name, order) || kernelHasOrder(typedef.Type, order))
}

// in returns how a machine of a byte order keeps the field.
func (f kernelField) in(order binary.ByteOrder) numberIn {
	swapped := f.network
	if order == binary.BigEndian {
		swapped = f.little
	}
	return numberIn{order, int(f.bit), int(f.bits), f.signed, f.boolean, swapped}
}

// read returns the number in the field of a descriptor, extended to 64 bits.
func (f kernelField) read(descriptor []byte) uint64 { return f.in(machineOrder).read(descriptor) }

// write puts a number, converted, into the field.
func (f kernelField) write(descriptor []byte, value uint64) {
	f.in(machineOrder).write(descriptor, value)
}

// convert converts a number to the field's type and what that looks like to 64
// bits, as C does in an assignment to and from the field.
func (f kernelField) convert(value uint64) uint64 {
	n := f.in(machineOrder)
	return n.convert(n.swap(value))
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
	for path, number := range map[string]struct{ little, big uint64 }{
		"rx_timestamp": {0x97969594, 0x94959697},
		"vlan_proto":   {0x9e9f, 0x9e9f},
		"words__3":     {0xa7a6, 0xa6a7},
		"tag__5":       {0xad, 0xad},
		"rx__queue":    {0xb0, 0xb0},
		"flow":         {0xb3b2, 0xb2b3},
		"l3_ok":        {0xb5 & 1, 0xb5 >> 7},
		"queue_prio":   {0xb5 >> 1, 0xb5 & 0x7f},
		"delta":        {0xfffffffffffffff6, 0xfffffffffffffff6}, // the low 5 bits of 0xb6, and the high ones
		"skew":         {0xffffffffbbbab9b8, 0xffffffffb8b9babb},
	} {
		expected := number.little
		if bigEndian {
			expected = number.big
		}
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

package reloc

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// Class says how the bytes of a field are to be read.
type Class uint8

// The classes of field.
const (
	Integer   Class = iota // an integer or an enumeration
	Bool                   // one byte, 0 or 1
	Pointer                // 8 bytes
	Float                  // not for BPF to read
	Aggregate              // struct, union or array
)

var classNames = [...]string{"integer", "bool", "pointer", "float", "aggregate"}

// String returns the class in words.
func (c Class) String() string { return classNames[c] }

// MarshalText returns the same as String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Order is the byte order that a field's typedef declares.
type Order uint8

// The byte orders.
const (
	Native       Order = iota // of the machine that the program runs on
	BigEndian                 // __be16, __be32, __be64
	LittleEndian              // __le16, __le32, __le64
)

var orderNames = [...]string{"native", "big-endian", "little-endian"}

// String returns the byte order in words.
func (o Order) String() string { return orderNames[o] }

// MarshalText returns the same as String.
func (o Order) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// orderTypedefs are those of include/uapi/linux/types.h.
var orderTypedefs = map[string]Order{
	"__be16": BigEndian, "__be32": BigEndian, "__be64": BigEndian,
	"__le16": LittleEndian, "__le32": LittleEndian, "__le64": LittleEndian,
}

// Field is what lies at the end of a path: where, how large, and what it means.
//
// For a bit-field, Offset and Size are those of the bytes to load, as libbpf
// computes them: the declared type's size at its own alignment, doubled until
// the bits fit. If no 8 bytes hold them, Size is 0. The bits are counted as BTF
// does, from the lowest in little endian, from the highest in big endian.
type Field struct {
	Type   string `json:"type"`   // as C spells it
	Offset uint32 `json:"offset"` // in bytes from the start of the root type
	Size   uint32 `json:"size"`   // in bytes
	Class  Class  `json:"class"`
	Signed bool   `json:"signed,omitempty"`

	// SignUnknown is set for an enumeration of which the compiler did not say
	// whether it is signed, and which has a value that could be negative: those
	// that know no enum64 yet, such as clang 14, never say so.
	SignUnknown bool `json:"signUnknown,omitempty"`

	Order     Order  `json:"order"`
	BitOffset uint32 `json:"bitOffset,omitempty"` // from the start of the root type; set for a bit-field only
	BitSize   uint32 `json:"bitSize,omitempty"`   // 0 for all but a bit-field

	typ btf.Type

	// The struct or union that a bit-field is a member of, and its offset in bytes
	// from the start of the root type.
	record       btf.Type
	recordOffset uint32
}

// IsBitField reports whether the field is one.
func (f *Field) IsBitField() bool { return f.BitSize > 0 }

// IsRecord reports whether the field is a struct or union, or an array of such.
func (f *Field) IsRecord() bool {
	typ := btf.UnderlyingType(f.typ)
	for range maxDepth {
		array, ok := typ.(*btf.Array)
		if !ok {
			break
		}
		typ = btf.UnderlyingType(array.Type)
	}
	return is[*btf.Struct](typ) || is[*btf.Union](typ)
}

// String describes the field for messages, such as "__be16 at 12" or
// "unsigned int:3 at bit 67".
func (f *Field) String() string {
	if f.IsBitField() {
		return fmt.Sprintf("%s:%d at bit %d", f.Type, f.BitSize, f.BitOffset)
	}
	return fmt.Sprintf("%s at %d", f.Type, f.Offset)
}

// location is where a path leads within a type.
type location struct {
	bits     uint64 // from the start of the root type
	typ      btf.Type
	bitfield uint32 // its size in bits if the field is one

	// The struct or union that it is a member of, and where that starts.
	record     btf.Type
	recordBits uint64
}

// maxBits bounds offsets and sizes, so that sums of them fit in 32 bits. No
// instruction reaches further than its 16-bit offset anyway.
const maxBits = 1 << 31

var errTooFar = errors.New("offset or size of 256 MiB or more")

// field works out size, sign and byte order at a location.
func (loc *location) field() (*Field, error) {
	underlying := btf.UnderlyingType(loc.typ)
	size, err := btf.Sizeof(underlying)
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", TypeString(loc.typ), err)
	}
	if loc.bits/8+uint64(size) > maxBits/8 {
		return nil, errTooFar
	}
	f := &Field{
		Type:   TypeString(loc.typ),
		Offset: uint32(loc.bits / 8),
		Size:   uint32(size),
		Order:  byteOrder(loc.typ),
		typ:    loc.typ,
	}
	f.Class, f.Signed = classify(underlying)
	f.SignUnknown = signUnknown(underlying)
	if loc.bitfield == 0 {
		return f, nil
	}

	f.BitOffset, f.BitSize = uint32(loc.bits), loc.bitfield
	f.record, f.recordOffset = btf.UnderlyingType(loc.record), uint32(loc.recordBits/8)
	f.placeUnit()
	return f, nil
}

// placeUnit finds the bytes to load for a bit-field
// (bpf_core_calc_field_relo of libbpf).
func (f *Field) placeUnit() {
	for f.Size > 0 {
		f.Offset = f.BitOffset / 8 / f.Size * f.Size
		if f.BitOffset+f.BitSize <= (f.Offset+f.Size)*8 {
			return
		}
		if f.Size *= 2; f.Size > 8 {
			f.Size = 0
		}
	}
	f.Offset = f.BitOffset / 8
}

// classify looks at a type that is no typedef and no modifier.
func classify(typ btf.Type) (class Class, signed bool) {
	switch typ := typ.(type) {
	case *btf.Int:
		if typ.Encoding&btf.Bool != 0 {
			return Bool, false
		}
		return Integer, typ.Encoding&btf.Signed != 0
	case *btf.Enum:
		return Integer, typ.Signed
	case *btf.Pointer:
		return Pointer, false
	case *btf.Float:
		return Float, false
	default:
		return Aggregate, false
	}
}

func signUnknown(typ btf.Type) bool {
	enum, ok := typ.(*btf.Enum)
	if !ok || enum.Signed || enum.Size > 4 {
		return false
	}
	return slices.ContainsFunc(enum.Values, func(v btf.EnumValue) bool { return v.Value > math.MaxInt32 })
}

// byteOrder finds the typedef that declares a byte order.
func byteOrder(typ btf.Type) Order {
	for range maxDepth {
		if typedef, ok := typ.(*btf.Typedef); ok {
			if order, ok := orderTypedefs[typedef.Name]; ok {
				return order
			}
		}
		next, ok := peel(typ)
		if !ok {
			return Native
		}
		typ = next
	}
	return Native
}

// peel takes one typedef or modifier off a type.
func peel(typ btf.Type) (btf.Type, bool) {
	switch typ := typ.(type) {
	case *btf.Typedef:
		return typ.Type, true
	case *btf.Const:
		return typ.Type, true
	case *btf.Volatile:
		return typ.Type, true
	case *btf.Restrict:
		return typ.Type, true
	case *btf.TypeTag:
		return typ.Type, true
	}
	return nil, false
}

// TypeString spells a type as C does, without its members: "struct rx",
// "__be16", "__u8[4]", "const char *".
func TypeString(typ btf.Type) string { return typeString(typ, maxDepth) }

func typeString(typ btf.Type, depth int) string {
	if depth == 0 {
		return "..."
	}
	inner := func(typ btf.Type) string { return typeString(typ, depth-1) }
	switch typ := typ.(type) {
	case *btf.Struct:
		return tagged("struct", typ.Name)
	case *btf.Union:
		return tagged("union", typ.Name)
	case *btf.Enum:
		return tagged("enum", typ.Name)
	case *btf.Fwd:
		return tagged(typ.Kind.String(), typ.Name)
	case *btf.Array:
		element := inner(typ.Type)
		if first := strings.IndexByte(element, '['); first > 0 {
			return fmt.Sprintf("%s[%d]%s", element[:first], typ.Nelems, element[first:])
		}
		return fmt.Sprintf("%s[%d]", element, typ.Nelems)
	case *btf.Pointer:
		return inner(typ.Target) + " *"
	case *btf.Const:
		return "const " + inner(typ.Type)
	case *btf.Volatile:
		return "volatile " + inner(typ.Type)
	case *btf.Restrict:
		return inner(typ.Type)
	case *btf.TypeTag:
		return inner(typ.Type)
	case *btf.Void:
		return "void"
	case *btf.FuncProto:
		return "function"
	}
	if name := typ.TypeName(); name != "" {
		return name
	}
	return "a type without a name" // which C has not
}

func tagged(keyword, name string) string {
	if name == "" {
		name = "{...}"
	}
	return keyword + " " + name
}

// FieldOf returns a type as a field that starts at 0: what a function returns, say. It is
// an error if the type has no size.
func FieldOf(typ btf.Type) (*Field, error) { return (&location{typ: typ}).field() }

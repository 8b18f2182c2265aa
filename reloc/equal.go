package reloc

import (
	"encoding/binary"

	"github.com/cilium/ebpf/btf"
)

// SameRepresentation reports whether the bytes of two fields, or their bits,
// mean the same on a machine of the given byte order: whatever reads or writes
// the one does so with the other, as long as it stays within it.
func SameRepresentation(a, b *Field, order binary.ByteOrder) bool {
	if a.BitSize != b.BitSize {
		return false
	}
	c := comparison{native: nativeOrder(order), seen: make(map[typePair]bool)}
	return c.equal(a.typ, b.typ)
}

// SameBits is SameRepresentation but for signs: C converts a number to one of the
// same width and the other sign by leaving its bits as they are.
func SameBits(a, b *Field, order binary.ByteOrder) bool {
	if a.BitSize != b.BitSize {
		return false
	}
	c := comparison{native: nativeOrder(order), anySign: true, seen: make(map[typePair]bool)}
	return c.equal(a.typ, b.typ)
}

// SameElements reports whether two fields are arrays of elements that have the
// same bits on a machine of the given byte order, as SameBits has it, and b has as
// many as a or more: whatever is at an index of a is at the same one of b.
func SameElements(a, b *Field, order binary.ByteOrder) bool {
	here, isArray := btf.UnderlyingType(a.typ).(*btf.Array)
	there, isArrayToo := btf.UnderlyingType(b.typ).(*btf.Array)
	if !isArray || !isArrayToo || here.Nelems > there.Nelems {
		return false
	}
	c := comparison{native: nativeOrder(order), anySign: true, seen: make(map[typePair]bool)}
	return c.equal(here.Type, there.Type)
}

// equalCopies reports whether two named types are copies of one: equal in all
// but their own names and what they point to.
func equalCopies(a, b btf.Type) bool {
	c := comparison{enumerators: true, seen: make(map[typePair]bool)}
	return c.equal(a, b)
}

func nativeOrder(order binary.ByteOrder) Order {
	if order == binary.BigEndian {
		return BigEndian
	}
	return LittleEndian
}

// Swapped reports whether the field's bytes are in another order than those of
// a machine of the given byte order.
func (f *Field) Swapped(order binary.ByteOrder) bool {
	return f.Order != Native && f.Order != nativeOrder(order)
}

// comparison compares two types member by member.
type comparison struct {
	native      Order // what a field without a declared byte order has
	enumerators bool  // whether they count
	anySign     bool  // whether signs don't
	seen        map[typePair]bool
}

func (c *comparison) equal(a, b btf.Type) bool {
	if c.order(a) != c.order(b) {
		return false
	}
	a, b = btf.UnderlyingType(a), btf.UnderlyingType(b)
	if a == b {
		return true
	}
	if !sameKind(a, b) {
		return !c.enumerators && c.sameNumber(a, b)
	}
	pair := typePair{a, b}
	if c.seen[pair] {
		return true // or a difference was found already, and ends the comparison
	}
	c.seen[pair] = true

	switch a := a.(type) {
	case *btf.Int:
		b := b.(*btf.Int)
		return a.Size == b.Size && c.encoding(a) == c.encoding(b)
	case *btf.Enum:
		return c.equalEnums(a, b.(*btf.Enum))
	case *btf.Float:
		return a.Size == b.(*btf.Float).Size
	case *btf.Pointer:
		return true
	case *btf.Array:
		b := b.(*btf.Array)
		return a.Nelems == b.Nelems && c.equal(a.Type, b.Type)
	case *btf.Struct:
		b := b.(*btf.Struct)
		return a.Size == b.Size && c.equalMembers(a.Members, b.Members)
	case *btf.Union:
		b := b.(*btf.Union)
		return a.Size == b.Size && c.equalMembers(a.Members, b.Members)
	}
	return false
}

// sameNumber reports whether an integer and an enumeration are of the same size and
// sign.
func (c *comparison) sameNumber(a, b btf.Type) bool {
	if !isNumber(a) || !isNumber(b) || typeSize(a) != typeSize(b) {
		return false
	}
	class, signed := classify(a)
	otherClass, otherSigned := classify(b)
	sameSign := signed == otherSigned && !signUnknown(a) && !signUnknown(b)
	return class == otherClass && (sameSign || c.anySign)
}

// encoding returns what counts of that of an integer.
func (c *comparison) encoding(typ *btf.Int) btf.IntEncoding {
	if c.anySign {
		return typ.Encoding &^ (btf.Signed | btf.Char)
	}
	return typ.Encoding
}

// order returns the byte order that a type's typedefs declare, or else the
// machine's.
func (c *comparison) order(typ btf.Type) Order {
	if order := byteOrder(typ); order != Native {
		return order
	}
	return c.native
}

func (c *comparison) equalEnums(a, b *btf.Enum) bool {
	if a.Size != b.Size || a.Signed != b.Signed && !c.anySign {
		return false
	}
	if !c.enumerators {
		return true
	}
	if len(a.Values) != len(b.Values) {
		return false
	}
	for i := range a.Values {
		if a.Values[i] != b.Values[i] {
			return false
		}
	}
	return true
}

func (c *comparison) equalMembers(a, b []btf.Member) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Offset != b[i].Offset || a[i].BitfieldSize != b[i].BitfieldSize {
			return false
		}
		if !c.equal(a[i].Type, b[i].Type) {
			return false
		}
	}
	return true
}

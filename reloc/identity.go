package reloc

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// absent is the identity of what is not there.
const absent = "absent"

// Identity returns what a resolution of the access is, in a word of letters, digits
// and underscores that C takes for a name: the same for two layouts exactly if the
// access means the same in both, whatever their types are called. Of a field that is
// its place and its representation, as SameRepresentation compares it; of everything
// else that is asked the answer.
//
//	u32_at_20  u16be_at_12  9_bits_of_u32_at_bit_96  struct_at_136_like_0f3a…  is_32  absent
func (a *Access) Identity(r *Resolution) string {
	switch {
	case !r.Exists:
		return absent
	case a.Kind != ByteOffset:
		return fmt.Sprintf("is_%d", r.Value)
	}
	w := describer{native: nativeOrder(a.path.order), known: make(map[btf.Type]string)}
	what := w.describe(r.Field.typ)
	if r.Field.IsBitField() {
		return fmt.Sprintf("%d_bits_of_%s_at_bit_%d", r.Field.BitSize, what, r.Field.BitOffset)
	}
	what, like, isAggregate := strings.Cut(what, likeness)
	if isAggregate {
		like = likeness + like
	}
	return fmt.Sprintf("%s_at_%d%s", what, r.Field.Offset, like)
}

// likeness comes before the hash of what an aggregate is made of.
const likeness = "_like_"

// SpellIdentity returns an identity for people: "u32 at 20", "32", "not there".
func SpellIdentity(identity string) string {
	if identity == absent {
		return "not there"
	}
	identity, _, _ = strings.Cut(strings.TrimPrefix(identity, "is_"), likeness)
	return strings.ReplaceAll(identity, "_", " ")
}

// describer describes the representation of types.
type describer struct {
	native Order // what a field without a declared byte order has
	known  map[btf.Type]string
}

// describe returns the same word for two types exactly if a comparison takes them for
// equal, but for one enumeration of known and one of unknown sign.
func (d *describer) describe(typ btf.Type) string {
	order := ""
	if declared := byteOrder(typ); declared != Native && declared != d.native {
		order = map[Order]string{BigEndian: "be", LittleEndian: "le"}[declared]
	}
	typ = btf.UnderlyingType(typ)
	if word, ok := d.known[typ]; ok {
		return word + order
	}
	d.known[typ] = "loop" // which C has not
	word := d.word(typ)
	d.known[typ] = word
	return word + order
}

func (d *describer) word(typ btf.Type) string {
	bits := uint64(typeSize(typ)) * 8
	class, signed := classify(typ)
	switch {
	case class == Aggregate:
		return d.aggregate(typ)
	case class == Bool:
		return fmt.Sprintf("bool%d", bits)
	case class == Pointer:
		return "pointer"
	case class == Float:
		return fmt.Sprintf("f%d", bits)
	case signUnknown(typ):
		return fmt.Sprintf("enum%d", bits)
	case signed:
		return fmt.Sprintf("s%d", bits)
	}
	return fmt.Sprintf("u%d", bits)
}

func (d *describer) aggregate(typ btf.Type) string {
	var kind string
	hash := sha256.New()
	switch typ := typ.(type) {
	case *btf.Array:
		kind = "array"
		fmt.Fprintln(hash, typ.Nelems, d.describe(typ.Type))
	case *btf.Struct:
		kind = "struct"
		fmt.Fprintln(hash, typ.Size)
	case *btf.Union:
		kind = "union"
		fmt.Fprintln(hash, typ.Size)
	default:
		return "other" // no field is of such a type
	}
	for _, member := range members(typ) {
		fmt.Fprintln(hash, member.Name, member.Offset, member.BitfieldSize, d.describe(member.Type))
	}
	return fmt.Sprintf("%s%s%016x", kind, likeness, binary.BigEndian.Uint64(hash.Sum(nil)))
}

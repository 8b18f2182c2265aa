package nic

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// BTF says where the members of a struct are, and not what makes a compiler put them
// there: padding, which has no name, and attributes. Both are found again by placing the
// members as C does for BPF, and for every machine whose types are of the same sizes
// (the System V ABI; ItaniumRecordLayoutBuilder in clang's RecordLayoutBuilder.cpp).

// placing is how a struct or union is to be declared.
type placing struct {
	packed  bool   // __attribute__((packed))
	aligned uint32 // __attribute__((aligned(N))), 0 without
	align   uint32 // in bytes, what comes of it
	filler  uint64 // bits of an unnamed bit-field that makes a union as long as it is, 0 without
}

// attributes returns them as C has them between the closing brace and what follows.
func (p placing) attributes() string {
	switch {
	case p.packed && p.aligned != 0:
		return fmt.Sprintf(" __attribute__((packed, aligned(%d)))", p.aligned)
	case p.packed:
		return " __attribute__((packed))"
	case p.aligned != 0:
		return fmt.Sprintf(" __attribute__((aligned(%d)))", p.aligned)
	}
	return ""
}

// maxRecord bounds how much padding is written for BTF that nobody can mean.
const maxRecord = 1 << 16

// placer finds out how records are to be declared.
type placer struct {
	known map[btf.Type]placing
}

// of returns how a struct or union is to be declared, without attributes if its members
// are where C puts them without.
//
// Returns an error for one that C can't declare.
func (p *placer) of(record btf.Type) (placing, error) {
	if found, ok := p.known[record]; ok {
		return found, nil
	}
	if size, err := btf.Sizeof(record); err != nil || size > maxRecord {
		return placing{}, fmt.Errorf("%s has more than %d bytes, which no packet has in front of it", reloc.TypeString(record), maxRecord)
	}
	align := uint32(1)
	for _, member := range membersOf(record) {
		of, err := p.alignOf(member.Type)
		if err != nil {
			return placing{}, err
		}
		align = max(align, of)
	}
	found, err := p.place(record, align)
	if err != nil {
		return placing{}, fmt.Errorf("%s: %w", reloc.TypeString(record), err)
	}
	p.known[record] = found
	return found, nil
}

func (p *placer) place(record btf.Type, align uint32) (placing, error) {
	if union, ok := record.(*btf.Union); ok {
		return placeUnion(union, align)
	}
	natural, packed := placing{align: align}, placing{packed: true, align: 1}
	if p.fits(record.(*btf.Struct), natural) == nil {
		return natural, nil
	}
	return packed, p.fits(record.(*btf.Struct), packed)
}

// fits wants the members of a struct to be where C can put them, with padding, if it is
// declared so.
func (p *placer) fits(s *btf.Struct, so placing) error {
	at := uint64(0)
	for i := range s.Members {
		member := &s.Members[i]
		offset := uint64(member.Offset)
		if offset < at {
			return fmt.Errorf("member %s is at bit %d, where another one is: C has no such struct", member.Name, offset)
		}
		placed, size, err := p.next(member, offset, so.packed)
		if err != nil {
			return err
		}
		if placed != offset {
			return fmt.Errorf("member %s is at bit %d, and no bit-field: C has no such struct", member.Name, offset)
		}
		at = offset + size
	}
	if end := uint64(s.Size) * 8; at > end || s.Size%so.align != 0 {
		return fmt.Errorf("it has %d bytes, and its members end at bit %d: C has no such struct", s.Size, at)
	}
	return nil
}

// next returns the bit at which C puts a member behind what ends at a bit, and how many
// bits it has.
func (p *placer) next(member *btf.Member, at uint64, packed bool) (placed, size uint64, err error) {
	bits, err := bitsOf(member)
	if err != nil {
		return 0, 0, err
	}
	of, err := p.alignOf(member.Type)
	if err != nil {
		return 0, 0, err
	}
	if packed {
		of = 1
	}
	align := uint64(of) * 8
	isBitfield := member.BitfieldSize > 0
	if isBitfield && (packed || at%align+bits <= align) { // its type is as long as it is aligned
		return at, bits, nil
	}
	return roundUp(at, align), bits, nil
}

// bitsOf returns how many bits a member has. Bit-fields are refused that C can't declare.
func bitsOf(member *btf.Member) (uint64, error) {
	size, err := btf.Sizeof(member.Type)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", member.Name, err)
	}
	room, bits := uint64(size)*8, uint64(member.BitfieldSize)
	if bits == 0 {
		return room, nil
	}
	switch typ := btf.UnderlyingType(member.Type).(type) {
	case *btf.Int:
		if typ.Encoding&btf.Bool != 0 {
			room = 1
		}
	case *btf.Enum:
	default:
		return 0, fmt.Errorf("bit-field %s is of type %s: C has no such bit-field", member.Name, reloc.TypeString(member.Type))
	}
	if bits > room {
		return 0, fmt.Errorf("bit-field %s has %d bits, and its type %d: C has no such bit-field", member.Name, bits, room)
	}
	return bits, nil
}

// maxFiller is how many bits a bit-field can have: those of an unsigned __int128.
const maxFiller = 128

// placeUnion finds out how a union is to be declared, by its size.
func placeUnion(union *btf.Union, align uint32) (placing, error) {
	longest := uint64(0)
	for i := range union.Members {
		member := &union.Members[i]
		bits, err := bitsOf(member)
		if err != nil {
			return placing{}, err
		}
		if member.Offset != 0 {
			return placing{}, fmt.Errorf("member %s is at bit %d: C has no such union", member.Name, member.Offset)
		}
		longest = max(longest, bits)
	}
	size := uint64(union.Size) * 8
	switch {
	case roundUp(longest, uint64(align)*8) == size:
		return placing{align: align}, nil
	case roundUp(longest, 8) == size:
		return placing{packed: true, align: 1}, nil
	}
	for to := uint32(2); to <= union.Size; to *= 2 {
		if roundUp(longest, uint64(to)*8) == size {
			return placing{packed: to < align, aligned: to, align: to}, nil
		}
	}
	if size > longest && size <= maxFiller {
		return placing{packed: true, align: 1, filler: size}, nil
	}
	return placing{}, fmt.Errorf("it has %d bytes, and its longest member %d bits: C has no such union", union.Size, longest)
}

// alignOf returns to how many bytes C aligns a type, as it is declared here.
func (p *placer) alignOf(typ btf.Type) (uint32, error) {
	switch typ := btf.UnderlyingType(typ).(type) {
	case *btf.Struct, *btf.Union:
		found, err := p.of(typ)
		return found.align, err
	case *btf.Array:
		return p.alignOf(typ.Type)
	default:
		size, err := btf.Sizeof(typ)
		if err != nil {
			return 0, fmt.Errorf("size of %s: %w", reloc.TypeString(typ), err)
		}
		return max(uint32(size), 1), nil
	}
}

// padding returns how many bits each unnamed bit-field in front of a member has, or at the
// end of a struct, for which nothing is to be placed: nil where C leaves the room by itself.
// Their types are no larger than the struct is aligned to, and so align nothing.
func padding(from, to uint64, align uint32) (bits []uint64) {
	for from < to {
		width := min(8-from%8, to-from)
		for unit := uint64(min(align, 8)) * 8; unit > width; unit /= 2 {
			if from%unit == 0 && from+unit <= to {
				width = unit
			}
		}
		bits = append(bits, width)
		from += width
	}
	return bits
}

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// membersOf returns the members of a struct or union, nil for other types.
func membersOf(typ btf.Type) []btf.Member {
	switch typ := typ.(type) {
	case *btf.Struct:
		return typ.Members
	case *btf.Union:
		return typ.Members
	}
	return nil
}

// unit returns the size in bytes of the largest type that pads a struct without aligning it.
func (p placing) unit() uint32 {
	if p.packed {
		return 8
	}
	return p.align
}

package reloc_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// What the records of BPF_CORE_READ_BITFIELD come to has to give the value that
// the bits have, wherever they are: load byte_sz bytes at byte_off, shift left
// by lshift_u64 and right, with the sign if signed, by rshift_u64.
func TestBitFields(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, order := range orders {
		for _, typ := range []*btf.Int{u8, s8, u16, u32, s32, u64, s64} {
			width := typ.Size * 8
			for range 200 {
				size := 1 + random.Uint32N(width)
				unit := random.Uint32N(4)
				offset := unit*width + random.Uint32N(width-size+1)
				checkBitField(t, order, typ, offset, size, random)
			}
		}
	}
}

// In a packed struct a bit-field can cross the units of its type. Wider loads
// reach it, as long as it lies within 8 bytes at their own alignment.
func TestBitFieldsAcrossUnits(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, order := range orders {
		for offset := range uint32(64) {
			for size := uint32(1); size <= 8; size++ {
				if offset+size <= 64 {
					checkBitField(t, order, u8, offset, size, random)
				}
			}
		}
		if _, err := reloc.Read(bitFieldObject(t, order, u8, 60, 8, reloc.ByteSize)); err == nil {
			t.Errorf("%s: a bit-field across 8 bytes has a size", order)
		}
		accesses, err := reloc.Read(bitFieldObject(t, order, u8, 60, 8, reloc.ByteOffset))
		if err != nil || accesses[0].Local.Field.Size != 0 {
			t.Errorf("%s: a bit-field across 8 bytes has bytes to load: %v", order, err)
		}
	}
}

func bitFieldObject(t *testing.T, order binary.ByteOrder, typ btf.Type, offset, size uint32, kind reloc.Kind) []byte {
	root := packed(t, "md_desc", bits("x", typ, offset, size))
	return record{order, root, "0:0", kind, "xdp", 0, 1}.object(t)
}

func checkBitField(t *testing.T, order binary.ByteOrder, typ *btf.Int, offset, size uint32, random *rand.Rand) {
	t.Helper()
	root := packed(t, "md_desc", bits("x", typ, offset, size))
	layout := layoutOf(t, order, root)
	value := func(kind reloc.Kind) uint64 {
		a := access(t, order, packed(t, "md_desc", bits("pad", u8, 0, 3), bits("x", typ, 3, 1)), "0:1", kind)
		got, err := a.Resolve(layout)
		if err != nil {
			t.Fatal(err)
		}
		return got.Value
	}

	area := make([]byte, 64)
	for i := range area {
		area[i] = byte(random.Uint32())
	}
	signed := typ.Encoding == btf.Signed
	if (value(reloc.Signed) == 1) != signed {
		t.Errorf("%s: signed: %t", typ.Name, !signed)
	}
	loaded := load(order, area, value(reloc.ByteOffset), value(reloc.ByteSize)) << value(reloc.LeftShift)
	got := loaded >> value(reloc.RightShift)
	if signed {
		got = uint64(int64(loaded) >> value(reloc.RightShift))
	}
	if want := bitsOf(order, area, offset, size, signed); got != want {
		t.Errorf("%s: %s:%d at bit %d: %#x, want %#x", order, typ.Name, size, offset, got, want)
	}
}

// load is what the macro does with byte_off and byte_sz.
func load(order binary.ByteOrder, area []byte, offset, size uint64) uint64 {
	switch at := area[offset:]; size {
	case 1:
		return uint64(at[0])
	case 2:
		return uint64(order.Uint16(at))
	case 4:
		return uint64(order.Uint32(at))
	default:
		return order.Uint64(at)
	}
}

// bitsOf picks a bit-field out of memory bit by bit. BTF counts bits from the
// lowest of the first byte in little endian, from its highest in big endian,
// and a field's first bit is then its lowest or its highest.
func bitsOf(order binary.ByteOrder, area []byte, offset, size uint32, signed bool) uint64 {
	var value uint64
	for i := range size {
		at := offset + i
		if order == binary.BigEndian {
			value = value<<1 | uint64(area[at/8]>>(7-at%8)&1)
		} else {
			value |= uint64(area[at/8]>>(at%8)&1) << i
		}
	}
	if signed && value>>(size-1) == 1 {
		value |= ^uint64(0) << size
	}
	return value
}

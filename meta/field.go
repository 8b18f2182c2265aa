package meta

import (
	"encoding/binary"
	"fmt"

	"github.com/xdp-load/xdp-load/reloc"
)

// field is one to read: a number in one of the sizes that a load has, or bits among some
// bytes.
type field struct {
	offset, bytes int
	big           bool // big-endian

	// Of the bytes as one number, the field is what is left after both shifts, the second
	// of which extends its sign if it has one.
	left, right uint8
	signed      bool
}

// newField says how a field of a layout is read.
func newField(at *reloc.Field, order binary.ByteOrder) (field, error) {
	if at.Class != reloc.Integer && at.Class != reloc.Bool {
		return field{}, fmt.Errorf("%w: it is %s, and no number", ErrDoesNotFit, at.Type)
	}
	if at.SignUnknown {
		return field{}, fmt.Errorf("%w: the layout does not say whether %s is signed", ErrDoesNotFit, at.Type)
	}
	host := reloc.LittleEndian
	if order == binary.BigEndian {
		host = reloc.BigEndian
	}
	if at.IsBitField() {
		if at.Order != reloc.Native && at.Order != host {
			return field{}, fmt.Errorf("%w: bits of a %s, which is in another byte order", ErrDoesNotFit, at.Type)
		}
		return bitField(at, host)
	}
	if at.Order != reloc.Native {
		host = at.Order
	}
	unused := uint8(64 - 8*at.Size)
	return field{offset: int(at.Offset), bytes: int(at.Size), big: host == reloc.BigEndian, left: unused, right: unused, signed: at.Signed}, nil
}

// bitField finds the bytes that a bit-field is in, and where among them.
func bitField(at *reloc.Field, order reloc.Order) (field, error) {
	first, last := at.BitOffset/8, (at.BitOffset+at.BitSize-1)/8
	n := last - first + 1
	if n > 8 {
		return field{}, fmt.Errorf("%w: its %d bits are in %d bytes, and at most 8 are read", ErrDoesNotFit, at.BitSize, n)
	}
	above := 64 - at.BitOffset%8 - at.BitSize // bits above it in a number of 64
	if order == reloc.BigEndian {
		above = 64 - 8*n + at.BitOffset%8
	}
	return field{offset: int(first), bytes: int(n), big: order == reloc.BigEndian, left: uint8(above), right: uint8(64 - at.BitSize), signed: at.Signed}, nil
}

// isPlain reports whether the field is all of its bytes, unsigned, as most are.
func (f *field) isPlain() bool {
	return !f.signed && f.bytes&(f.bytes-1) == 0 && int(f.right) == 64-8*f.bytes
}

// load returns the number, whatever it is.
func (f *field) load(front []byte) (value uint64) {
	for i := range f.bytes {
		at := f.offset + i
		if !f.big {
			at = f.offset + f.bytes - 1 - i
		}
		value = value<<8 | uint64(front[at])
	}
	value <<= f.left
	if f.signed {
		return uint64(int64(value) >> f.right)
	}
	return value >> f.right
}

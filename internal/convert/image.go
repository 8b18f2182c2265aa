// Package convert makes the instructions that move a number between two representations
// of it: as the program declares it, and as the layout keeps it.
//
// It is pure: what is known of the code around an instruction comes in as Registers.
package convert

import (
	"encoding/binary"

	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// Image is a number as it lies in the bytes that one load or store moves: which
// bits of the register they are, and how they are to be read.
type Image struct {
	Offset  int64  // of the bytes, from the start of the root type
	Width   uint32 // in bytes: 1, 2, 4 or 8
	Shift   int    // of the number's lowest bit within the bytes; negative if they hold only its upper part
	Bits    int    // of the number
	Signed  bool
	Swapped bool // the bytes are in the other order than the machine's
	Boolean bool // the number is 0 or 1, and everything else counts as 1
	Alone   bool // beside the number are copies of its sign, or zeros
}

// LocalImage is what an instruction of the program moves: the bytes of a field,
// or those around a bit-field. offset is the instruction's, from the start of
// the root type.
func LocalImage(field *reloc.Field, offset int64, width uint32, order binary.ByteOrder) Image {
	img := FieldImage(field, order)
	img.Offset, img.Width = offset, width
	first := int64(field.Offset) * 8
	if field.IsBitField() {
		first = int64(field.BitOffset)
	}
	img.Shift = LowestBit(first-offset*8, img.Bits, width, order)
	return img
}

// FieldImage returns the image of a field but for what depends on the bytes moved.
func FieldImage(field *reloc.Field, order binary.ByteOrder) Image {
	bits := field.BitSize
	if !field.IsBitField() {
		bits = field.Size * 8
	}
	return Image{
		Bits:    int(bits),
		Signed:  field.Signed,
		Swapped: field.Swapped(order) && !field.IsBitField(),
		Boolean: field.Class == reloc.Bool,
	}
}

// NumberImage returns the image of a field's number in a register, with anything above.
func NumberImage(field *reloc.Field, order binary.ByteOrder) Image {
	img := FieldImage(field, order)
	img.Width = 8
	if img.Swapped {
		img.Width = uint32(img.Bits / 8)
	}
	return img
}

// LowestBit converts the position of a field's first bit, counted as BTF does
// from the lowest in little endian and from the highest in big endian, to that
// of its lowest bit in a register.
func LowestBit(first int64, bits int, width uint32, order binary.ByteOrder) int {
	if order == binary.BigEndian {
		return int(width)*8 - int(first) - bits
	}
	return int(first)
}

// TargetImage chooses the bytes to load for a field: all of a plain one, and of
// a bit-field the fewest that hold it, aligned if there are such.
func TargetImage(field *reloc.Field, size uint32, order binary.ByteOrder) (Image, error) {
	img := FieldImage(field, order)
	if !field.IsBitField() {
		img.Offset, img.Width = int64(field.Offset), field.Size
		return img, nil
	}

	first, last := field.BitOffset/8, (field.BitOffset+field.BitSize-1)/8
	for _, aligned := range []bool{true, false} {
		for width := uint32(1); width <= 8; width *= 2 {
			start := first
			if aligned {
				start = first / width * width
			} else if start+width > size && size >= width {
				start = size - width
			}
			if start+width <= last || start+width > size {
				continue
			}
			img.Offset, img.Width = int64(start), width
			img.Shift = LowestBit(int64(field.BitOffset)-int64(start)*8, img.Bits, width, order)
			return img, nil
		}
	}
	return img, refuse.Because(refuse.SameType, "the bit-field %s of the layout spans more bytes than one load reads", field)
}

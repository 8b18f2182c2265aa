package rewrite

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// image is a number as it lies in the bytes that one load or store moves: which
// bits of the register they are, and how they are to be read.
type image struct {
	offset  int64  // of the bytes, from the start of the root type
	width   uint32 // in bytes: 1, 2, 4 or 8
	shift   int    // of the number's lowest bit within the bytes; negative if they hold only its upper part
	bits    int    // of the number
	signed  bool
	swapped bool // the bytes are in the other order than the machine's
	boolean bool // the number is 0 or 1, and everything else counts as 1
	alone   bool // beside the number are copies of its sign, or zeros
}

// localImage is what an instruction of the program moves: the bytes of a field,
// or those around a bit-field. offset is the instruction's, from the start of
// the root type.
func localImage(field *reloc.Field, offset int64, width uint32, order binary.ByteOrder) image {
	img := fieldImage(field, order)
	img.offset, img.width = offset, width
	first := int64(field.Offset) * 8
	if field.IsBitField() {
		first = int64(field.BitOffset)
	}
	img.shift = lowestBit(first-offset*8, img.bits, width, order)
	return img
}

// fieldImage fills in what does not depend on the bytes moved.
func fieldImage(field *reloc.Field, order binary.ByteOrder) image {
	bits := field.BitSize
	if !field.IsBitField() {
		bits = field.Size * 8
	}
	return image{
		bits:    int(bits),
		signed:  field.Signed,
		swapped: field.Swapped(order) && !field.IsBitField(),
		boolean: field.Class == reloc.Bool,
	}
}

// lowestBit converts the position of a field's first bit, counted as BTF does
// from the lowest in little endian and from the highest in big endian, to that
// of its lowest bit in a register.
func lowestBit(first int64, bits int, width uint32, order binary.ByteOrder) int {
	if order == binary.BigEndian {
		return int(width)*8 - int(first) - bits
	}
	return int(first)
}

// targetImage chooses the bytes to load for a field: all of a plain one, and of
// a bit-field the fewest that hold it, aligned if there are such.
func targetImage(field *reloc.Field, size uint32, order binary.ByteOrder) (image, error) {
	img := fieldImage(field, order)
	if !field.IsBitField() {
		img.offset, img.width = int64(field.Offset), field.Size
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
			img.offset, img.width = int64(start), width
			img.shift = lowestBit(int64(field.BitOffset)-int64(start)*8, img.bits, width, order)
			return img, nil
		}
	}
	return img, refuse(remedySameType, "the bit-field %s of the layout spans more bytes than one load reads", field)
}

// sequence collects instructions.
type sequence struct {
	instructionSet int          // 4, or less
	insns          Instructions // never nil: none at all is an edit too
	order          binary.ByteOrder
	from, to       int64 // bytes of the root type that are the field's, and can be read
}

func (p *planner) sequence(access *reloc.Access, resolution *reloc.Resolution) *sequence {
	from, to := resolution.Field.Offset, resolution.Field.Offset+resolution.Field.Size
	// The program may have checked for no more than its own type's size.
	to = min(to, access.Local.TypeSize, resolution.TypeSize)
	return &sequence{insns: Instructions{}, order: p.order, instructionSet: p.instructionSet(), from: int64(from), to: int64(to)}
}

func (s *sequence) emit(ins ...asm.Instruction) { s.insns = append(s.insns, ins...) }

// swap reverses the low-order bytes of a register and clears the others. It is
// one of the conversions to big and little endian, whichever is not the
// machine's own.
func (s *sequence) swap(reg asm.Register, width uint32) {
	if width == 1 {
		return
	}
	other := asm.BE
	if s.order == binary.BigEndian {
		other = asm.LE
	}
	s.emit(asm.HostTo(other, reg, sizes[width]))
}

func (s *sequence) shiftLeft(reg asm.Register, by int)  { s.shift(asm.LSh, reg, by) }
func (s *sequence) shiftRight(reg asm.Register, by int) { s.shift(asm.RSh, reg, by) }

func (s *sequence) shift(op asm.ALUOp, reg asm.Register, by int) {
	if by > 0 {
		s.emit(op.Imm(reg, int32(by)))
	}
}

// shiftIn is shift in a register of 4 or 8 bytes, of which the first clears what
// is above.
func (s *sequence) shiftIn(op asm.ALUOp, reg asm.Register, by int, size uint32) {
	switch {
	case by <= 0:
	case size == 4:
		s.emit(op.Imm32(reg, int32(by)))
	default:
		s.emit(op.Imm(reg, int32(by)))
	}
}

// extend copies the highest of the low-order bits of a register to those above
// it, up to its size of 4 or 8 bytes; above 4 it clears.
func (s *sequence) extend(reg asm.Register, bits int, size uint32) {
	op, ok := map[int]asm.ALUOp{8: asm.MovSX8, 16: asm.MovSX16, 32: asm.MovSX32}[bits]
	switch {
	case !ok || s.instructionSet < 4 || bits >= int(size)*8:
		s.shiftIn(asm.LSh, reg, int(size)*8-bits, size)
		s.shiftIn(asm.ArSh, reg, int(size)*8-bits, size)
	case size == 4:
		s.emit(op.Reg32(reg, reg))
	default:
		s.emit(op.Reg(reg, reg))
	}
}

// keepLow clears all but the low-order bits of a register.
func (s *sequence) keepLow(reg asm.Register, bits int) {
	switch {
	case bits >= 64:
	case bits == 32:
		s.emit(asm.Mov.Reg32(reg, reg))
	case bits < 32:
		s.emit(asm.And.Imm(reg, int32(1)<<bits-1))
	default:
		s.shiftLeft(reg, 64-bits)
		s.shiftRight(reg, 64-bits)
	}
}

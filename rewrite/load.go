package rewrite

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// load emits what leaves in the destination register of ins, a load of the local
// image, the number that C gets when it converts the target's to the local type.
// Bits that belong to the neighbours of a local bit-field are of no interest to
// the program and left as they come.
func (s *sequence) load(ins asm.Instruction, local, target image) error {
	extends := ins.OpCode.Mode() == asm.MemSXMode
	if target.whole() && !local.boolean && local.shift == 0 && local.bits < target.bits && loadable(uint32(local.bits/8)) && local.bits%8 == 0 {
		target = target.slice(0, local.bits, s.order)
	}
	before, shortest := s.insns, Instructions(nil)
	for _, from := range s.around(target) {
		s.insns = nil
		if err := s.loadFrom(ins, local, from, extends); err != nil {
			return err
		}
		if shortest == nil || len(s.insns) < len(shortest) {
			shortest = s.insns
		}
	}
	s.insns = append(before, shortest...)
	return nil
}

// around returns the image, and those of more bytes of the field in which its
// highest bit is theirs: a sign need not be brought there then.
func (s *sequence) around(img image) []image {
	images := []image{img}
	isForeign := img.swapped && img.width > 1
	if isForeign || img.shift+img.bits < int(img.width)*8 {
		return images
	}
	for width := max(img.width*2, 4); width <= 8; width *= 2 {
		wide := img
		wide.width, wide.shift, wide.swapped = width, int(width)*8-img.bits, false
		if s.order == binary.LittleEndian {
			wide.offset -= int64(width - img.width)
		}
		if wide.offset%int64(width) == 0 && wide.offset >= s.from && wide.offset+int64(width) <= max(img.offset+int64(img.width), s.to) {
			images = append(images, wide)
		}
	}
	return images
}

// loadFrom is load of bytes that are chosen.
func (s *sequence) loadFrom(ins asm.Instruction, local, target image, extends bool) error {
	by, isShift := foreignShift(target, local)
	signed := s.extendsLoad(local, target, extends)
	ins.OpCode = asm.LoadMemOp(sizes[target.width])
	if signed {
		ins.OpCode = asm.LoadMemSXOp(sizes[target.width])
	}
	if err := s.emitMemory(ins, target); err != nil {
		return err
	}
	switch {
	case signed:
		s.cutExtended(ins.Dst, local, extends)
	case isShift && !target.signed && !extends && by >= 0:
		s.shiftLeft(ins.Dst, by)
	default:
		s.convert(ins.Dst, local, target, extends)
	}
	return nil
}

// convert turns a register that holds the target image into the local one.
func (s *sequence) convert(reg asm.Register, local, from image, extends bool) {
	switch {
	case from.swapped && local.alone && local.signed && local.width == 8 && from.bits == local.bits:
		s.swap(reg, 8) // to where its sign is the register's
		from.width, from.shift = 8, 64-from.bits
	case from.swapped && !local.boolean:
		s.swap(reg, from.width)
	}
	switch {
	case local.boolean && !from.boolean:
		s.truth(reg, &from)
	case from.boolean && from.whole() && !local.boolean:
		from = truthValue
	}
	if !local.swapped {
		s.place(reg, from, local, extends)
		return
	}
	s.foreign(reg, local, from)
	if extends {
		s.extend(reg, local.bits, 8)
	}
}

// foreign is place for a number that is to be in foreign byte order: the swap
// clears what is above it.
func (s *sequence) foreign(reg asm.Register, local, from image) {
	number := local
	number.width = max(number.width, 4)
	if from.bits >= local.bits {
		s.shiftRight(reg, from.shift)
	} else {
		s.place(reg, from, number, false)
	}
	s.swap(reg, local.width)
}

// extendsLoad reports whether to load the target with its sign extended, if the
// instruction set has such loads.
func (s *sequence) extendsLoad(local, target image, extends bool) bool {
	switch {
	case s.instructionSet < 4 && !extends, !target.whole(), target.width == 8, target.swapped, target.boolean, local.boolean, local.shift != 0:
		return false
	case local.swapped:
		return target.signed && target.bits < local.bits && !extends
	case target.bits == local.bits:
		return extends || (local.alone && local.signed)
	}
	return target.signed && target.bits < local.bits && (local.whole() || local.alone)
}

// cutExtended takes from a register that holds the number, extended to all of
// it, what the local image has.
func (s *sequence) cutExtended(reg asm.Register, local image, extends bool) {
	switch {
	case local.swapped:
		s.swap(reg, local.width)
	case local.alone && !local.signed:
		s.keepLow(reg, local.bits)
	case !extends:
		s.keepLow(reg, int(local.width)*8)
	}
}

// whole reports whether the bytes are the number and nothing else.
func (img image) whole() bool { return img.shift == 0 && img.bits == int(img.width)*8 }

// emitMemory emits a load or store of an image's bytes.
func (s *sequence) emitMemory(ins asm.Instruction, img image) error {
	ins, err := setSpan(ins, img.offset, img.width)
	s.emit(ins)
	return err
}

// place moves a number within a register from where one image has it to where
// another has it, extending or truncating it as C does. Above the bytes of from
// the register is zero.
func (s *sequence) place(reg asm.Register, from, to image, extends bool) {
	kept := min(from.bits, to.bits)
	if (from.signed && from.bits < to.bits) || ((extends || to.alone && to.signed) && from.bits >= to.bits) {
		s.placeSigned(reg, from, to, kept, extends)
		return
	}

	right := from.shift - to.shift
	clean := from.alone && kept == from.bits || from.shift+kept >= int(from.width)*8 // nothing is above the number
	neighboursFit := !to.alone && kept == to.bits && to.shift+to.bits < int(to.width)*8 && int(from.width)*8-right <= int(to.width)*8
	switch {
	case clean || neighboursFit:
		s.shiftRight(reg, right)
		s.shiftLeft(reg, -right)
	case right == 0 && to.shift+kept <= 32:
		s.keepLow(reg, to.shift+kept)
	case to.shift == 0 && kept <= 32:
		s.shiftRight(reg, right)
		s.keepLow(reg, kept)
	default:
		s.shiftLeft(reg, 64-from.shift-kept)
		s.shiftRight(reg, 64-to.shift-kept)
	}
}

// placeSigned is place for a number whose sign fills the bits above it: those of
// the bytes of to, or of the whole register if extends is set.
func (s *sequence) placeSigned(reg asm.Register, from, to image, kept int, extends bool) {
	if to.alone && !to.signed && to.bits > 32 {
		s.shiftLeft(reg, 64-from.shift-kept)
		s.shift(asm.ArSh, reg, to.bits-kept)
		s.shiftRight(reg, 64-to.bits)
		return
	}
	size := uint32(8)
	if !extends && to.width == 4 && from.width <= 4 {
		size = 4
	}
	if from.shift == 0 && to.shift == 0 {
		s.extend(reg, kept, size)
	} else {
		s.shiftIn(asm.LSh, reg, int(size)*8-from.shift-kept, size)
		s.shiftIn(asm.ArSh, reg, int(size)*8-to.shift-kept, size)
	}
	bits := 64
	switch {
	case to.alone && !to.signed:
		bits = to.bits
	case !extends && size > to.width:
		bits = int(to.width) * 8
	}
	if kept == 1 && size == 8 && to.shift == 0 {
		s.keepOnes(reg, bits)
		return
	}
	s.keepLow(reg, bits)
}

// truthValue is what C guarantees of a bool.
var truthValue = image{width: 1, bits: 1, alone: true}

// trustsBool reports whether the program has a bool of the layout as fewer bits
// than it has. A number that is neither 0 nor 1, which breaks C's rules, is then
// more than what the program can read otherwise.
func trustsBool(local, target *reloc.Field) bool {
	return local != nil && target != nil && local.IsBitField() && target.Class == reloc.Bool && !target.IsBitField()
}

// keepOnes clears all but the low-order bits of a register that is 0 or -1, by a
// shift. For a logical and the verifier goes on with either value
// (maybe_fork_scalars of kernel/bpf/verifier.c), so that a program with n of them
// has 2 to the power of n states.
func (s *sequence) keepOnes(reg asm.Register, bits int) { s.shiftRight(reg, 64-bits) }

// truth makes 1 of every number but 0, as C does for bool.
func (s *sequence) truth(reg asm.Register, img *image) {
	s.shiftRight(reg, img.shift)
	if img.shift+img.bits < int(img.width)*8 {
		s.keepLow(reg, img.bits)
	}
	if img.bits == 1 {
		*img = image{width: 1, bits: 8, boolean: true}
		return
	}
	s.emit(asm.Instruction{OpCode: asm.JEq.Op(asm.ImmSource), Dst: reg, Offset: 1}, asm.Mov.Imm(reg, 1))
	*img = image{width: 1, bits: 8, boolean: true}
}

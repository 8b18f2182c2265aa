package rewrite

import "github.com/cilium/ebpf/asm"

// load emits what leaves in the destination register of ins, a load of the local
// image, the number that C gets when it converts the target's to the local type.
// Bits that belong to the neighbours of a local bit-field are of no interest to
// the program and left as they come.
func (s *sequence) load(ins asm.Instruction, local, target image) error {
	reg := ins.Dst
	extends := ins.OpCode.Mode() == asm.MemSXMode
	local, target, err := visible(local, target)
	if err != nil {
		return err
	}
	if target.whole() && !local.boolean && local.shift == 0 && local.bits < target.bits && loadable(uint32(local.bits/8)) && local.bits%8 == 0 {
		target = target.narrowed(uint32(local.bits/8), s.order)
	}

	from := target
	if by, ok := foreignShift(target, local); ok && !target.signed && !extends && by >= 0 {
		ins.OpCode = asm.LoadMemOp(sizes[target.width])
		err := s.emitMemory(ins, target)
		s.shiftLeft(reg, by)
		return err
	}
	switch {
	case target.whole() && !target.swapped && target.signed && local.whole() && !local.swapped &&
		target.bits < local.bits && (extends || (s.instructionSet >= 4 && local.bits == 64)):
		// The instruction set has the whole conversion.
		ins.OpCode = asm.LoadMemSXOp(sizes[target.width])
		return s.emitMemory(ins, target)
	case extends && target.whole() && local.whole() && !target.swapped && !local.swapped && target.bits == local.bits:
		return s.emitMemory(ins, target)
	}
	ins.OpCode = asm.LoadMemOp(sizes[target.width])
	if err := s.emitMemory(ins, target); err != nil {
		return err
	}
	if target.swapped {
		s.swap(reg, target.width)
	}
	if local.boolean && !target.boolean {
		s.truth(reg, &from)
	}
	switch {
	case local.swapped && from.bits >= local.bits:
		s.shiftRight(reg, from.shift)
	case local.swapped && local.width < 4:
		number := local // the swap clears what is above
		number.width = 4
		s.place(reg, from, number, false)
	default:
		s.place(reg, from, local, extends && !local.swapped)
	}
	if local.swapped {
		s.swap(reg, local.width)
		if extends {
			s.shiftLeft(reg, 64-local.bits)
			s.shift(asm.ArSh, reg, 64-local.bits)
		}
	}
	return nil
}

// whole reports whether the bytes are the number and nothing else.
func (img image) whole() bool { return img.shift == 0 && img.bits == int(img.width)*8 }

var errPart = refuse(remedySameType, "the instruction moves a part of the field only, and the layout keeps the field in another way")

// visible cuts both images to the part of the number that the local bytes hold.
func visible(local, target image) (image, image, error) {
	if local.shift < 0 {
		hidden := -local.shift
		if local.swapped || target.swapped || hidden >= target.bits || hidden >= local.bits {
			return local, target, errPart
		}
		local.shift, local.bits = 0, local.bits-hidden
		target.shift, target.bits = target.shift+hidden, target.bits-hidden
	}
	if beyond := local.shift + local.bits - int(local.width)*8; beyond > 0 {
		if local.swapped || beyond >= local.bits {
			return local, target, errPart
		}
		local.bits -= beyond
	}
	return local, target, nil
}

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
	if (from.signed && from.bits < to.bits) || (extends && from.bits >= to.bits) {
		s.placeSigned(reg, from, to, kept, extends)
		return
	}

	right := from.shift - to.shift
	clean := from.shift+kept >= int(from.width)*8 // nothing is above the number
	neighboursFit := kept == to.bits && to.shift+to.bits < int(to.width)*8 && int(from.width)*8-right <= int(to.width)*8
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
	if !extends && to.width == 4 && from.width <= 4 {
		s.emit(asm.LSh.Imm32(reg, int32(32-from.shift-kept)), asm.ArSh.Imm32(reg, int32(32-to.shift-kept)))
		return
	}
	s.shiftLeft(reg, 64-from.shift-kept)
	s.shift(asm.ArSh, reg, 64-to.shift-kept)
	if !extends && to.width < 8 {
		s.keepLow(reg, int(to.width)*8)
	}
}

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

package rewrite

import (
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"
)

// registers tells what a sequence may use at one instruction.
type registers interface {
	// spare returns a register to overwrite that is none of those in use. If the
	// program has none to spare there, restore has to be called at the end of
	// the sequence, and gives the register its value back.
	spare(s *sequence, inUse ...asm.Register) (reg asm.Register, restore func(), err error)
	// dead reports whether nothing reads a register after the instruction.
	dead(reg asm.Register) bool
	// constant returns the number that a register holds, if it always holds the
	// same.
	constant(reg asm.Register) (int64, bool)
	// extended reports whether a register is known to hold a number that is
	// sign- or zero-extended from so many bits.
	extended(reg asm.Register, bits int, signed bool) bool
}

// store emits what writes the number that the program stores as the local image
// to the target's, converted as C does.
func (s *sequence) store(ins asm.Instruction, local, target image, regs registers) (string, error) {
	note := truncationNote(local, target)
	if ins.OpCode.Class() == asm.StClass {
		return s.storeConstant(ins, local, target, regs)
	}
	if value, ok := regs.constant(ins.Src); ok && s.betterConstant(ins.Src, value, local, target, regs) {
		constant := asm.Instruction{OpCode: asm.StoreImmOp(ins.OpCode.Size()), Dst: ins.Dst, Offset: ins.Offset, Constant: value}
		return s.storeConstant(constant, local, target, regs)
	}
	if target.whole() {
		return note, s.storeWhole(ins, local, target, regs)
	}
	return note, s.storeBits(ins, local, target, regs)
}

// storeWhole writes a number to bytes of its own.
func (s *sequence) storeWhole(ins asm.Instruction, local, target image, regs registers) error {
	if !s.needsChange(ins.Src, local, target, regs) {
		return s.emitMemory(ins, target)
	}
	value, restore, err := s.copyOf(ins, regs)
	if err != nil {
		return err
	}
	if by, ok := foreignShift(local, target); ok {
		s.shiftLeft(value, by)
		s.shiftRight(value, -by)
	} else {
		s.number(value, local, target, regs.extended(ins.Src, local.bits, local.signed))
		if target.swapped {
			s.swap(value, target.width)
		}
	}
	ins.Src = value
	err = s.emitMemory(ins, target)
	restore()
	return err
}

// foreignShift returns by how much to the left to shift an unsigned number in
// foreign byte order to make it the target's, if a shift is all it takes: its
// low-order bytes are the high-order ones of a register. A single byte has no
// order.
func foreignShift(local, target image) (int, bool) {
	foreign := func(img image) bool { return img.whole() && (img.swapped || img.width == 1) }
	ok := foreign(local) && foreign(target) && target.boolean == local.boolean && (!local.signed || target.bits <= local.bits)
	return target.bits - local.bits, ok
}

// needsChange reports whether the register can't be stored as it is.
func (s *sequence) needsChange(reg asm.Register, local, target image, regs registers) bool {
	return local.swapped || target.swapped || local.shift != 0 || (target.boolean && !local.boolean) ||
		(target.bits > local.bits && !regs.extended(reg, local.bits, local.signed))
}

// copyOf returns a register with the value to store that may be changed: the
// instruction's own if nobody reads it afterwards.
func (s *sequence) copyOf(ins asm.Instruction, regs registers) (asm.Register, func(), error) {
	if regs.dead(ins.Src) && ins.Src != ins.Dst {
		return ins.Src, func() {}, nil
	}
	value, restore, err := regs.spare(s, ins.Dst, ins.Src)
	if err == nil {
		s.emit(asm.Mov.Reg(value, ins.Src))
	}
	return value, restore, err
}

// number turns a register that holds the local image into the plain number, as
// wide as the target needs it.
func (s *sequence) number(value asm.Register, local, target image, extended bool) {
	if local.swapped && !target.boolean {
		s.swap(value, local.width)
		extended = !local.signed
	}
	from := local
	from.width = 8 // what is above is unknown
	to := image{width: 8, bits: max(local.bits, target.bits)}
	switch {
	case target.boolean && !local.boolean:
		s.truth(value, &from)
	case target.bits <= local.bits:
		s.shiftRight(value, local.shift)
	case extended && local.shift == 0:
	case target.width == 4 && local.signed && local.shift+local.bits <= 32:
		if local.shift == 0 {
			s.extend(value, local.bits, 4)
			break
		}
		s.emit(asm.LSh.Imm32(value, int32(32-local.shift-local.bits)), asm.ArSh.Imm32(value, int32(32-local.bits)))
	default:
		s.place(value, from, to, false)
	}
}

// storeBits writes a number among others: it reads the bytes, replaces the bits
// and writes the bytes back.
func (s *sequence) storeBits(ins asm.Instruction, local, target image, regs registers) error {
	value, restore, err := s.copyOf(ins, regs)
	if err != nil {
		return err
	}
	if fits(ins.Src, local, target, regs) {
		s.shiftLeft(value, target.shift)
	} else {
		s.position(value, local, target, regs.extended(ins.Src, local.bits, local.signed))
	}
	err = s.replaceBits(ins, value, target, regs)
	restore()
	return err
}

// replaceBits writes bits that are in their place in a register.
func (s *sequence) replaceBits(ins asm.Instruction, value asm.Register, target image, regs registers) error {
	around, restore, err := regs.spare(s, ins.Dst, ins.Src, value)
	if err != nil {
		return err
	}
	if err := s.loadAround(ins, around, target); err != nil {
		return err
	}
	if err := s.clearBits(around, target, regs, ins.Dst, ins.Src, value, around); err != nil {
		return err
	}
	s.emit(asm.Or.Reg(around, value))
	ins.Src = around
	err = s.emitMemory(ins, target)
	restore()
	return err
}

// storePlaced writes what is the target's number already, and in its place.
func (s *sequence) storePlaced(ins asm.Instruction, target image, regs registers) error {
	if target.whole() {
		return s.emitMemory(ins, target)
	}
	return s.replaceBits(ins, ins.Src, target, regs)
}

// fits reports whether a register is known to hold the number as the target's
// bits, and nothing else.
func fits(reg asm.Register, local, target image, regs registers) bool {
	bits := min(local.bits, target.bits)
	isPlain := local.shift == 0 && !local.swapped && (local.boolean || !target.boolean)
	isPositive := !local.signed || bits < local.bits
	return isPlain && isPositive && regs.extended(reg, bits, false)
}

// position turns a register that holds the local image into the bits of the
// target's bytes, with zeros beside them. Above the bytes it leaves what comes.
func (s *sequence) position(value asm.Register, local, target image, extended bool) {
	from := local
	switch {
	case target.boolean && !local.boolean:
		s.number(value, local, target, extended)
		from, extended = image{bits: 1}, true
	case local.swapped && target.bits <= 8:
		from.shift, from.bits, extended = local.bits-8, 8, false // the last byte comes first
	case local.swapped:
		s.swap(value, local.width)
		extended = !local.signed
	}
	kept := min(from.bits, target.bits)
	switch {
	case extended && from.shift == 0 && !from.signed && from.bits <= target.bits:
		s.shiftLeft(value, target.shift)
	case !from.signed || from.bits >= target.bits:
		s.move(value, from.shift, kept, target)
	case extended && from.shift == 0:
		s.move(value, 0, target.bits, target)
	default:
		s.fill(value, from, target)
	}
}

// move brings bits of a register to where the target has them.
func (s *sequence) move(value asm.Register, at, bits int, target image) {
	right, mask := at-target.shift, image{bits: bits, shift: target.shift}.mask()
	switch {
	case at == 0 && target.shift+bits == int(target.width)*8:
		s.shiftLeft(value, target.shift)
	case target.width <= 4 || mask <= math.MaxInt32:
		s.shiftRight(value, right)
		s.shiftLeft(value, -right)
		s.emit(asm.And.Imm(value, int32(mask)))
	case at == 0 || target.shift == 0:
		s.shiftLeft(value, 64-at-bits)
		s.shiftRight(value, 64-target.shift-bits)
	default: // something else is below the bits, too
		s.shiftLeft(value, 64-at-bits)
		s.shiftRight(value, 64-bits)
		s.shiftLeft(value, target.shift)
	}
}

// fill brings a number with a sign to where the target has it, with copies of
// the sign up to the target's highest bit.
func (s *sequence) fill(value asm.Register, from, target image) {
	s.shiftLeft(value, 64-from.shift-from.bits)
	clean := from.shift == 0 || target.shift == 0 // nothing else is below the number
	atTop := target.shift+target.bits == int(target.width)*8
	switch {
	case atTop && clean:
		s.shift(asm.ArSh, value, 64-target.shift-from.bits)
	case atTop:
		s.shift(asm.ArSh, value, 64-from.bits)
		s.shiftLeft(value, target.shift)
	case clean:
		s.shift(asm.ArSh, value, target.bits-from.bits)
		s.shiftRight(value, 64-target.shift-target.bits)
	default:
		s.shift(asm.ArSh, value, target.bits-from.bits)
		s.shiftRight(value, 64-target.bits)
		s.shiftLeft(value, target.shift)
	}
}

// storeConstant writes a constant.
func (s *sequence) storeConstant(ins asm.Instruction, local, target image, regs registers) (string, error) {
	value := converted(ins.Constant, local, target)
	note := ""
	if stored := cut(value, target); stored != value && target.bits < local.bits {
		note = fmt.Sprintf("stores %d, which is what the %d bits hold of %d", stored, target.bits, value)
	}
	if !target.whole() {
		return note, s.storeConstantBits(ins, uint64(value), target, regs)
	}
	value = target.bytes(value)
	if fitsImmediate(value) {
		ins.Constant = value
		return note, s.emitMemory(ins, target)
	}
	reg, restore, err := regs.spare(s, ins.Dst)
	if err != nil {
		return "", err
	}
	s.emit(asm.LoadImm(reg, value, asm.DWord))
	err = s.emitMemory(asm.StoreMem(ins.Dst, 0, reg, asm.DWord), target)
	restore()
	return note, err
}

// cut returns what is left of a number in an image.
func cut(value int64, img image) int64 {
	unused := 64 - img.bits
	if img.signed {
		return value << unused >> unused
	}
	return int64(uint64(value) << unused >> unused)
}

// converted returns the number that C converts a constant to.
func converted(immediate int64, local, target image) int64 {
	value := constant(immediate, local)
	if target.boolean && value != 0 {
		return 1
	}
	return value
}

// bytes returns what a register holds for the image's bytes to be a number.
func (img image) bytes(value int64) int64 {
	if img.swapped {
		value = int64(swapped(uint64(value), img.width))
	}
	return truncated(value, img.width, true)
}

// fitsImmediate reports whether a number can be part of an instruction.
func fitsImmediate(value int64) bool { return value == int64(int32(value)) }

// betterConstant reports whether what is known to be in a register had better be
// stored as a constant: to change it takes as many instructions or more.
func (s *sequence) betterConstant(reg asm.Register, value int64, local, target image, regs registers) bool {
	value = converted(value, local, target)
	widens := local.signed && target.bits > local.bits
	if !target.whole() {
		bits := uint64(value) & (1<<target.bits - 1) << target.shift
		return target.width <= 4 || fitsImmediate(int64(bits)) || widens || local.swapped
	}
	return s.needsChange(reg, local, target, regs) && (fitsImmediate(target.bytes(value)) || (widens && target.swapped))
}

// constant returns the number that a constant stands for in the local image.
func constant(immediate int64, local image) int64 {
	value := uint64(immediate)
	if local.swapped {
		value = swapped(value, local.width)
	}
	return cut(int64(value>>local.shift), local)
}

// swapped returns the low-order bytes of a number in reverse order.
func swapped(value uint64, width uint32) uint64 {
	var out uint64
	for range width {
		out = out<<8 | value&0xff
		value >>= 8
	}
	return out
}

func (s *sequence) storeConstantBits(ins asm.Instruction, value uint64, target image, regs registers) error {
	around, restore, err := regs.spare(s, ins.Dst)
	if err != nil {
		return err
	}
	if err := s.loadAround(ins, around, target); err != nil {
		return err
	}
	bits := value & (1<<target.bits - 1) << target.shift
	if bits != target.mask() {
		if err := s.clearBits(around, target, regs, ins.Dst, around); err != nil {
			return err
		}
	}
	if bits != 0 {
		if err := s.withConstant(asm.Or, around, int64(bits), target, regs, ins.Dst, around); err != nil {
			return err
		}
	}
	err = s.emitMemory(asm.StoreMem(ins.Dst, 0, around, sizes[target.width]), target)
	restore()
	return err
}

// loadAround loads the bytes that a bit-field is among.
func (s *sequence) loadAround(ins asm.Instruction, around asm.Register, target image) error {
	return s.emitMemory(asm.LoadMem(around, ins.Dst, 0, sizes[target.width]), target)
}

// mask returns the bits of the bytes that are the number's.
func (img image) mask() uint64 { return (1<<img.bits - 1) << img.shift }

func (s *sequence) clearBits(reg asm.Register, img image, regs registers, inUse ...asm.Register) error {
	return s.withConstant(asm.And, reg, int64(^img.mask()), img, regs, inUse...)
}

// withConstant combines a register that holds an image's bytes with a constant,
// by a logical operation.
func (s *sequence) withConstant(op asm.ALUOp, reg asm.Register, value int64, img image, regs registers, inUse ...asm.Register) error {
	switch {
	case img.width <= 4:
		s.emit(op.Imm32(reg, int32(value)))
	case value == int64(int32(value)):
		s.emit(op.Imm(reg, int32(value)))
	default:
		other, restore, err := regs.spare(s, inUse...)
		if err != nil {
			return err
		}
		s.emit(asm.LoadImm(other, value, asm.DWord), op.Reg(reg, other))
		restore()
	}
	return nil
}

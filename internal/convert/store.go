package convert

import (
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"
)

// Registers tells what a sequence may use at one instruction.
type Registers interface {
	// Spare returns a register to overwrite that is none of those in use. If the
	// program has none to spare there, restore has to be called at the end of
	// the sequence, and gives the register its value back.
	Spare(s *Sequence, inUse ...asm.Register) (reg asm.Register, restore func(), err error)
	// Dead reports whether nothing reads a register after the instruction.
	Dead(reg asm.Register) bool
	// Constant returns the number that a register holds, if it always holds the
	// same.
	Constant(reg asm.Register) (int64, bool)
	// Extended reports whether a register is known to hold a number that is
	// sign- or zero-extended from so many bits.
	Extended(reg asm.Register, bits int, signed bool) bool
}

// Store emits what writes the number that the program stores as the local image
// to the target's, converted as C does.
func (s *Sequence) Store(ins asm.Instruction, local, target Image, regs Registers) (string, error) {
	note := TruncationNote(local, target)
	if ins.OpCode.Class() == asm.StClass {
		return s.StoreConstant(ins, local, target, regs)
	}
	if value, ok := regs.Constant(ins.Src); ok && s.betterConstant(ins.Src, value, local, target, regs) {
		constant := asm.Instruction{OpCode: asm.StoreImmOp(ins.OpCode.Size()), Dst: ins.Dst, Offset: ins.Offset, Constant: value}
		return s.StoreConstant(constant, local, target, regs)
	}
	if target.IsWhole() {
		return note, s.storeWhole(ins, local, target, regs)
	}
	return note, s.storeBits(ins, local, target, regs)
}

// storeWhole writes a number to bytes of its own.
func (s *Sequence) storeWhole(ins asm.Instruction, local, target Image, regs Registers) error {
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
		s.number(value, local, target, regs.Extended(ins.Src, local.Bits, local.Signed))
		if target.Swapped {
			s.swap(value, target.Width)
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
func foreignShift(local, target Image) (int, bool) {
	foreign := func(img Image) bool { return img.IsWhole() && (img.Swapped || img.Width == 1) }
	ok := foreign(local) && foreign(target) && target.Boolean == local.Boolean && (!local.Signed || target.Bits <= local.Bits)
	return target.Bits - local.Bits, ok
}

// needsChange reports whether the register can't be stored as it is.
func (s *Sequence) needsChange(reg asm.Register, local, target Image, regs Registers) bool {
	return local.Swapped || target.Swapped || local.Shift != 0 || (target.Boolean && !local.Boolean) ||
		(target.Bits > local.Bits && !regs.Extended(reg, local.Bits, local.Signed))
}

// copyOf returns a register with the value to store that may be changed: the
// instruction's own if nobody reads it afterwards.
func (s *Sequence) copyOf(ins asm.Instruction, regs Registers) (asm.Register, func(), error) {
	if regs.Dead(ins.Src) && ins.Src != ins.Dst {
		return ins.Src, func() {}, nil
	}
	value, restore, err := regs.Spare(s, ins.Dst, ins.Src)
	if err == nil {
		s.Emit(asm.Mov.Reg(value, ins.Src))
	}
	return value, restore, err
}

// number turns a register that holds the local image into the plain number, as
// wide as the target needs it.
func (s *Sequence) number(value asm.Register, local, target Image, extended bool) {
	if local.Swapped && !target.Boolean {
		s.swap(value, local.Width)
		extended = !local.Signed
	}
	from := local
	from.Width = 8 // what is above is unknown
	to := Image{Width: 8, Bits: max(local.Bits, target.Bits)}
	switch {
	case target.Boolean && !local.Boolean:
		s.truth(value, &from)
	case target.Bits <= local.Bits:
		s.shiftRight(value, local.Shift)
	case extended && local.Shift == 0:
	case target.Width == 4 && local.Signed && local.Shift+local.Bits <= 32:
		if local.Shift == 0 {
			s.extend(value, local.Bits, 4)
			break
		}
		s.Emit(asm.LSh.Imm32(value, int32(32-local.Shift-local.Bits)), asm.ArSh.Imm32(value, int32(32-local.Bits)))
	default:
		s.place(value, from, to, false)
	}
}

// storeBits writes a number among others: it reads the bytes, replaces the bits
// and writes the bytes back.
func (s *Sequence) storeBits(ins asm.Instruction, local, target Image, regs Registers) error {
	value, restore, err := s.copyOf(ins, regs)
	if err != nil {
		return err
	}
	if fits(ins.Src, local, target, regs) {
		s.shiftLeft(value, target.Shift)
	} else {
		s.position(value, local, target, regs.Extended(ins.Src, local.Bits, local.Signed))
	}
	err = s.replaceBits(ins, value, target, regs)
	restore()
	return err
}

// replaceBits writes bits that are in their place in a register.
func (s *Sequence) replaceBits(ins asm.Instruction, value asm.Register, target Image, regs Registers) error {
	around, restore, err := regs.Spare(s, ins.Dst, ins.Src, value)
	if err != nil {
		return err
	}
	if err := s.loadAround(ins, around, target); err != nil {
		return err
	}
	if err := s.clearBits(around, target, regs, ins.Dst, ins.Src, value, around); err != nil {
		return err
	}
	s.Emit(asm.Or.Reg(around, value))
	ins.Src = around
	err = s.emitMemory(ins, target)
	restore()
	return err
}

// StorePlaced writes what is the target's number already, and in its place.
func (s *Sequence) StorePlaced(ins asm.Instruction, target Image, regs Registers) error {
	if target.IsWhole() {
		return s.emitMemory(ins, target)
	}
	return s.replaceBits(ins, ins.Src, target, regs)
}

// fits reports whether a register is known to hold the number as the target's
// bits, and nothing else.
func fits(reg asm.Register, local, target Image, regs Registers) bool {
	bits := min(local.Bits, target.Bits)
	isPlain := local.Shift == 0 && !local.Swapped && (local.Boolean || !target.Boolean)
	isPositive := !local.Signed || bits < local.Bits
	return isPlain && isPositive && regs.Extended(reg, bits, false)
}

// position turns a register that holds the local image into the bits of the
// target's bytes, with zeros beside them. Above the bytes it leaves what comes.
func (s *Sequence) position(value asm.Register, local, target Image, extended bool) {
	from := local
	switch {
	case target.Boolean && !local.Boolean:
		s.number(value, local, target, extended)
		from, extended = Image{Bits: 1}, true
	case local.Swapped && target.Bits <= 8:
		from.Shift, from.Bits, extended = local.Bits-8, 8, false // the last byte comes first
	case local.Swapped:
		s.swap(value, local.Width)
		extended = !local.Signed
	}
	kept := min(from.Bits, target.Bits)
	switch {
	case extended && from.Shift == 0 && !from.Signed && from.Bits <= target.Bits:
		s.shiftLeft(value, target.Shift)
	case !from.Signed || from.Bits >= target.Bits:
		s.move(value, from.Shift, kept, target)
	case extended && from.Shift == 0:
		s.move(value, 0, target.Bits, target)
	default:
		s.fill(value, from, target)
	}
}

// move brings bits of a register to where the target has them.
func (s *Sequence) move(value asm.Register, at, bits int, target Image) {
	right, mask := at-target.Shift, Image{Bits: bits, Shift: target.Shift}.Mask()
	switch {
	case at == 0 && target.Shift+bits == int(target.Width)*8:
		s.shiftLeft(value, target.Shift)
	case target.Width <= 4 || mask <= math.MaxInt32:
		s.shiftRight(value, right)
		s.shiftLeft(value, -right)
		s.Emit(asm.And.Imm(value, int32(mask)))
	case at == 0 || target.Shift == 0:
		s.shiftLeft(value, 64-at-bits)
		s.shiftRight(value, 64-target.Shift-bits)
	default: // something else is below the bits, too
		s.shiftLeft(value, 64-at-bits)
		s.shiftRight(value, 64-bits)
		s.shiftLeft(value, target.Shift)
	}
}

// fill brings a number with a sign to where the target has it, with copies of
// the sign up to the target's highest bit.
func (s *Sequence) fill(value asm.Register, from, target Image) {
	s.shiftLeft(value, 64-from.Shift-from.Bits)
	clean := from.Shift == 0 || target.Shift == 0 // nothing else is below the number
	atTop := target.Shift+target.Bits == int(target.Width)*8
	switch {
	case atTop && clean:
		s.shift(asm.ArSh, value, 64-target.Shift-from.Bits)
	case atTop:
		s.shift(asm.ArSh, value, 64-from.Bits)
		s.shiftLeft(value, target.Shift)
	case clean:
		s.shift(asm.ArSh, value, target.Bits-from.Bits)
		s.shiftRight(value, 64-target.Shift-target.Bits)
	default:
		s.shift(asm.ArSh, value, target.Bits-from.Bits)
		s.shiftRight(value, 64-target.Bits)
		s.shiftLeft(value, target.Shift)
	}
}

// StoreConstant writes a constant.
func (s *Sequence) StoreConstant(ins asm.Instruction, local, target Image, regs Registers) (string, error) {
	value := Converted(ins.Constant, local, target)
	note := ""
	if stored := cut(value, target); stored != value && target.Bits < local.Bits {
		note = fmt.Sprintf("stores %d, which is what the %d bits hold of %d", stored, target.Bits, value)
	}
	if !target.IsWhole() {
		return note, s.storeConstantBits(ins, uint64(value), target, regs)
	}
	value = target.Bytes(value)
	if FitsImmediate(value) {
		ins.Constant = value
		return note, s.emitMemory(ins, target)
	}
	reg, restore, err := regs.Spare(s, ins.Dst)
	if err != nil {
		return "", err
	}
	s.Emit(asm.LoadImm(reg, value, asm.DWord))
	err = s.emitMemory(asm.StoreMem(ins.Dst, 0, reg, asm.DWord), target)
	restore()
	return note, err
}

// cut returns what is left of a number in an image.
func cut(value int64, img Image) int64 {
	unused := 64 - img.Bits
	if img.Signed {
		return value << unused >> unused
	}
	return int64(uint64(value) << unused >> unused)
}

// Converted returns the number that C converts a constant to.
func Converted(immediate int64, local, target Image) int64 {
	value := constant(immediate, local)
	if target.Boolean && value != 0 {
		return 1
	}
	return value
}

// Bytes returns what a register holds for the image's bytes to be a number.
func (img Image) Bytes(value int64) int64 {
	if img.Swapped {
		value = int64(swapped(uint64(value), img.Width))
	}
	return truncated(value, img.Width, true)
}

// FitsImmediate reports whether a number can be part of an instruction.
func FitsImmediate(value int64) bool { return value == int64(int32(value)) }

// betterConstant reports whether what is known to be in a register had better be
// stored as a constant: to change it takes as many instructions or more.
func (s *Sequence) betterConstant(reg asm.Register, value int64, local, target Image, regs Registers) bool {
	value = Converted(value, local, target)
	widens := local.Signed && target.Bits > local.Bits
	if !target.IsWhole() {
		bits := uint64(value) & (1<<target.Bits - 1) << target.Shift
		return target.Width <= 4 || FitsImmediate(int64(bits)) || widens || local.Swapped
	}
	return s.needsChange(reg, local, target, regs) && (FitsImmediate(target.Bytes(value)) || (widens && target.Swapped))
}

// constant returns the number that a constant stands for in the local image.
func constant(immediate int64, local Image) int64 {
	value := uint64(immediate)
	if local.Swapped {
		value = swapped(value, local.Width)
	}
	return cut(int64(value>>local.Shift), local)
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

func (s *Sequence) storeConstantBits(ins asm.Instruction, value uint64, target Image, regs Registers) error {
	around, restore, err := regs.Spare(s, ins.Dst)
	if err != nil {
		return err
	}
	if err := s.loadAround(ins, around, target); err != nil {
		return err
	}
	bits := value & (1<<target.Bits - 1) << target.Shift
	if bits != target.Mask() {
		if err := s.clearBits(around, target, regs, ins.Dst, around); err != nil {
			return err
		}
	}
	if bits != 0 {
		if err := s.withConstant(asm.Or, around, int64(bits), target, regs, ins.Dst, around); err != nil {
			return err
		}
	}
	err = s.emitMemory(asm.StoreMem(ins.Dst, 0, around, sizes[target.Width]), target)
	restore()
	return err
}

// loadAround loads the bytes that a bit-field is among.
func (s *Sequence) loadAround(ins asm.Instruction, around asm.Register, target Image) error {
	return s.emitMemory(asm.LoadMem(around, ins.Dst, 0, sizes[target.Width]), target)
}

// Mask returns the bits of the bytes that are the number's.
func (img Image) Mask() uint64 { return (1<<img.Bits - 1) << img.Shift }

func (s *Sequence) clearBits(reg asm.Register, img Image, regs Registers, inUse ...asm.Register) error {
	return s.withConstant(asm.And, reg, int64(^img.Mask()), img, regs, inUse...)
}

// withConstant combines a register that holds an image's bytes with a constant,
// by a logical operation.
func (s *Sequence) withConstant(op asm.ALUOp, reg asm.Register, value int64, img Image, regs Registers, inUse ...asm.Register) error {
	switch {
	case img.Width <= 4:
		s.Emit(op.Imm32(reg, int32(value)))
	case value == int64(int32(value)):
		s.Emit(op.Imm(reg, int32(value)))
	default:
		other, restore, err := regs.Spare(s, inUse...)
		if err != nil {
			return err
		}
		s.Emit(asm.LoadImm(other, value, asm.DWord), op.Reg(reg, other))
		restore()
	}
	return nil
}

// TruncationNote says that a store loses bits, if it does.
func TruncationNote(local, target Image) string {
	if target.Bits >= local.Bits || target.Boolean {
		return ""
	}
	return fmt.Sprintf("stores the low-order %d of %d bits: larger values are truncated", target.Bits, local.Bits)
}

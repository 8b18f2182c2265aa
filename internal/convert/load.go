package convert

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// Load emits what leaves in the destination register of ins, a load of the local
// image, the number that C gets when it converts the target's to the local type.
// Bits that belong to the neighbours of a local bit-field are of no interest to
// the program and left as they come.
func (s *Sequence) Load(ins asm.Instruction, local, target Image) error {
	extends := ins.OpCode.Mode() == asm.MemSXMode
	if target.IsWhole() && !local.Boolean && local.Shift == 0 && local.Bits < target.Bits && Loadable(uint32(local.Bits/8)) && local.Bits%8 == 0 {
		target = target.slice(0, local.Bits, s.Order)
	}
	before, shortest := s.Items, []insn.Item(nil)
	for _, from := range s.around(target) {
		s.Items = nil
		if err := s.loadFrom(ins, local, from, extends); err != nil {
			return err
		}
		if shortest == nil || len(s.Items) < len(shortest) {
			shortest = s.Items
		}
	}
	s.Items = append(before, shortest...)
	return nil
}

// around returns the image, and those of more bytes of the field in which its
// highest bit is theirs: a sign need not be brought there then.
func (s *Sequence) around(img Image) []Image {
	images := []Image{img}
	isForeign := img.Swapped && img.Width > 1
	if isForeign || img.Shift+img.Bits < int(img.Width)*8 {
		return images
	}
	for width := max(img.Width*2, 4); width <= 8; width *= 2 {
		wide := img
		wide.Width, wide.Shift, wide.Swapped = width, int(width)*8-img.Bits, false
		if s.Order == binary.LittleEndian {
			wide.Offset -= int64(width - img.Width)
		}
		if wide.Offset%int64(width) == 0 && wide.Offset >= s.From && wide.Offset+int64(width) <= max(img.Offset+int64(img.Width), s.To) {
			images = append(images, wide)
		}
	}
	return images
}

// loadFrom is Load with the bytes to load already chosen.
func (s *Sequence) loadFrom(ins asm.Instruction, local, target Image, extends bool) error {
	by, isShift := foreignShift(target, local)
	signed := s.extendsLoad(local, target, extends)
	ins.OpCode = asm.LoadMemOp(sizes[target.Width])
	if signed {
		ins.OpCode = asm.LoadMemSXOp(sizes[target.Width])
	}
	if err := s.emitMemory(ins, target); err != nil {
		return err
	}
	switch {
	case signed:
		s.cutExtended(ins.Dst, local, extends)
	case isShift && !target.Signed && !extends && by >= 0:
		s.shiftLeft(ins.Dst, by)
	default:
		s.convert(ins.Dst, local, target, extends)
	}
	return nil
}

// Number emits what turns a number that is in the destination register of ins into what
// ins, a load of the local image, leaves there.
func (s *Sequence) Number(ins asm.Instruction, local, number Image) {
	extends := ins.OpCode.Mode() == asm.MemSXMode
	if number.Swapped && local.Boolean { // which is not swapped, and that would clear what is above
		s.keepLow(ins.Dst, number.Bits)
	}
	if !local.IsPart() {
		s.convert(ins.Dst, local, number, extends)
		return
	}
	s.convert(ins.Dst, Image{Width: 8, Bits: local.Bits, Boolean: local.Boolean, Alone: true}, number, false)
	if local.Swapped {
		s.swap(ins.Dst, uint32(local.Bits/8))
	}
	s.shiftRight(ins.Dst, -local.Shift)
	s.shiftLeft(ins.Dst, local.Shift)
	if bits := int(local.Width) * 8; extends {
		s.extend(ins.Dst, bits, 8)
	} else {
		s.keepLow(ins.Dst, bits)
	}
}

// convert turns a register that holds the target image into the local one.
func (s *Sequence) convert(reg asm.Register, local, from Image, extends bool) {
	switch {
	case from.Swapped && local.Alone && local.Signed && local.Width == 8 && from.Bits == local.Bits:
		s.swap(reg, 8) // to where its sign is the register's
		from.Width, from.Shift = 8, 64-from.Bits
	case from.Swapped && !local.Boolean:
		s.swap(reg, from.Width)
	}
	switch {
	case local.Boolean && !from.Boolean:
		s.truth(reg, &from)
	case from.Boolean && from.IsWhole() && !local.Boolean:
		from = truthValue
	}
	if !local.Swapped {
		s.place(reg, from, local, extends)
		return
	}
	s.foreign(reg, local, from)
	if extends {
		s.extend(reg, local.Bits, 8)
	}
}

// foreign is place for a number that is to be in foreign byte order: the swap
// clears what is above it.
func (s *Sequence) foreign(reg asm.Register, local, from Image) {
	number := local
	number.Width = max(number.Width, 4)
	if from.Bits >= local.Bits {
		s.shiftRight(reg, from.Shift)
	} else {
		s.place(reg, from, number, false)
	}
	s.swap(reg, local.Width)
}

// extendsLoad reports whether to load the target with its sign extended, if the
// instruction set has such loads.
func (s *Sequence) extendsLoad(local, target Image, extends bool) bool {
	switch {
	case s.InstructionSet < 4 && !extends, !target.IsWhole(), target.Width == 8, target.Swapped, target.Boolean, local.Boolean, local.Shift != 0:
		return false
	case local.Swapped:
		return target.Signed && target.Bits < local.Bits && !extends
	case target.Bits == local.Bits:
		return extends || (local.Alone && local.Signed)
	}
	return target.Signed && target.Bits < local.Bits && (local.IsWhole() || local.Alone)
}

// cutExtended takes from a register that holds the number, extended to all of
// it, what the local image has.
func (s *Sequence) cutExtended(reg asm.Register, local Image, extends bool) {
	switch {
	case local.Swapped:
		s.swap(reg, local.Width)
	case local.Alone && !local.Signed:
		s.keepLow(reg, local.Bits)
	case !extends:
		s.keepLow(reg, int(local.Width)*8)
	}
}

// IsWhole reports whether the bytes are the number and nothing else.
func (img Image) IsWhole() bool { return img.Shift == 0 && img.Bits == int(img.Width)*8 }

// emitMemory emits a load or store of an image's bytes.
func (s *Sequence) emitMemory(ins asm.Instruction, img Image) error {
	ins, err := SetSpan(ins, img.Offset, img.Width)
	s.EmitAs(insn.Field, ins)
	return err
}

// place moves a number within a register from where one image has it to where
// another has it, extending or truncating it as C does. Above the bytes of from
// the register is zero.
func (s *Sequence) place(reg asm.Register, from, to Image, extends bool) {
	kept := min(from.Bits, to.Bits)
	if (from.Signed && from.Bits < to.Bits) || ((extends || to.Alone && to.Signed) && from.Bits >= to.Bits) {
		s.placeSigned(reg, from, to, kept, extends)
		return
	}

	right := from.Shift - to.Shift
	clean := from.Alone && kept == from.Bits || from.Shift+kept >= int(from.Width)*8 // nothing is above the number
	neighboursFit := !to.Alone && kept == to.Bits && to.Shift+to.Bits < int(to.Width)*8 && int(from.Width)*8-right <= int(to.Width)*8
	switch {
	case clean || neighboursFit:
		s.shiftRight(reg, right)
		s.shiftLeft(reg, -right)
	case right == 0 && to.Shift+kept <= 32:
		s.keepLow(reg, to.Shift+kept)
	case to.Shift == 0 && kept <= 32:
		s.shiftRight(reg, right)
		s.keepLow(reg, kept)
	default:
		s.shiftLeft(reg, 64-from.Shift-kept)
		s.shiftRight(reg, 64-to.Shift-kept)
	}
}

// placeSigned is place for a number whose sign fills the bits above it: those of
// the bytes of to, or of the whole register if extends is set.
func (s *Sequence) placeSigned(reg asm.Register, from, to Image, kept int, extends bool) {
	if to.Alone && !to.Signed && to.Bits > 32 {
		s.shiftLeft(reg, 64-from.Shift-kept)
		s.shift(asm.ArSh, reg, to.Bits-kept)
		s.shiftRight(reg, 64-to.Bits)
		return
	}
	size := uint32(8)
	if !extends && to.Width == 4 && from.Width <= 4 {
		size = 4
	}
	if from.Shift == 0 && to.Shift == 0 {
		s.extend(reg, kept, size)
	} else {
		s.shiftIn(asm.LSh, reg, int(size)*8-from.Shift-kept, size)
		s.shiftIn(asm.ArSh, reg, int(size)*8-to.Shift-kept, size)
	}
	bits := 64
	switch {
	case to.Alone && !to.Signed:
		bits = to.Bits
	case !extends && size > to.Width:
		bits = int(to.Width) * 8
	}
	if kept == 1 && size == 8 && to.Shift == 0 {
		s.keepOnes(reg, bits)
		return
	}
	s.keepLow(reg, bits)
}

// truthValue is what C guarantees of a bool.
var truthValue = Image{Width: 1, Bits: 1, Alone: true}

// TrustsBool reports whether the program has a bool of the layout as fewer bits
// than it has. A number that is neither 0 nor 1, which breaks C's rules, is then
// more than what the program can read otherwise.
func TrustsBool(local, target *reloc.Field) bool {
	return local != nil && target != nil && local.IsBitField() && target.Class == reloc.Bool && !target.IsBitField()
}

// keepOnes clears all but the low-order bits of a register that is 0 or -1, by a
// shift. For a logical and the verifier goes on with either value
// (maybe_fork_scalars of kernel/bpf/verifier.c), so that a program with n of them
// has 2 to the power of n states.
func (s *Sequence) keepOnes(reg asm.Register, bits int) { s.shiftRight(reg, 64-bits) }

// truth makes 1 of every number but 0, as C does for bool.
func (s *Sequence) truth(reg asm.Register, img *Image) {
	s.shiftRight(reg, img.Shift)
	if img.Shift+img.Bits < int(img.Width)*8 {
		s.keepLow(reg, img.Bits)
	}
	if img.Bits == 1 {
		*img = Image{Width: 1, Bits: 8, Boolean: true}
		return
	}
	s.EmitAs(insn.Jump, asm.Instruction{OpCode: asm.JEq.Op(asm.ImmSource), Dst: reg, Offset: 1})
	s.Emit(asm.Mov.Imm(reg, 1))
	*img = Image{Width: 1, Bits: 8, Boolean: true}
}

package convert

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"
)

// Part is what an instruction moves that moves fewer bytes than the program's
// field has: a stretch of the bits of its number. The layout's field may have
// the same bits elsewhere, only some of them, or none.
type Part struct {
	Low, Bits int  // of the number, counted from its lowest bit
	Swapped   bool // the bytes are in the other order than the machine's
}

// image returns what a register holds of a part at its low-order end, with
// anything above.
func (p Part) image() Image {
	if bytes := uint32(p.Bits / 8); p.Bits%8 == 0 && Loadable(bytes) {
		return Image{Width: bytes, Bits: p.Bits, Swapped: p.Swapped}
	}
	return Image{Width: 8, Bits: p.Bits}
}

// loaded is image with zeros above.
func (p Part) loaded() Image {
	img := p.image()
	img.Alone = img.Bits < int(img.Width)*8
	return img
}

// PartOf returns the part of a field that the bytes of its image hold.
func PartOf(img Image) Part {
	first := max(0, -img.Shift) // in the field's own bytes, as the machine reads them
	p := Part{Low: first, Bits: min(int(img.Width)*8-max(0, img.Shift), img.Bits-first)}
	if img.Swapped {
		p.Low, p.Swapped = img.Bits-first-p.Bits, p.Bits > 8
	}
	return p
}

// IsPart reports whether the bytes lack some of the number's bits.
func (img Image) IsPart() bool { return img.Shift < 0 || img.Shift+img.Bits > int(img.Width)*8 }

// loadPart emits what leaves a part of the number in the destination register of
// ins, a load of as many bytes.
func (s *Sequence) loadPart(ins asm.Instruction, p Part, target Image) error {
	switch {
	case p.Low < target.Bits:
		return s.Load(ins, p.loaded(), target.slice(p.Low, min(p.Bits, target.Bits-p.Low), s.Order))
	case target.Signed:
		return s.Load(ins, p.loaded(), target.sign(s.Order))
	}
	s.Emit(asm.Mov.Imm(ins.Dst, 0))
	return nil
}

// storePart emits what puts a part into the program's number and converts that
// to the target's. What the program's number has beyond the part is what the
// target holds.
func (s *Sequence) storePart(ins asm.Instruction, p Part, local, target Image, regs Registers) error {
	if p.Low >= target.Bits {
		return nil
	}
	there := target.slice(p.Low, min(p.Bits, target.Bits-p.Low), s.Order)
	extends := target.Bits > local.Bits
	if there.Swapped && !there.IsWhole() || extends && (local.Signed || !target.IsWhole() || local.Bits%8 != 0) {
		return s.replacePart(ins, p, local, target, regs)
	}
	if _, err := s.Store(ins, p.image(), there, regs); err != nil {
		return err
	}
	return s.clearAbove(ins.Dst, local.Bits, target)
}

// clearAbove clears the bytes of a plain number above its low-order bits.
func (s *Sequence) clearAbove(base asm.Register, bits int, target Image) error {
	for bits < target.Bits {
		size := bits & -bits // aligned, if the number is
		above := target.slice(bits, size, s.Order)
		if err := s.emitMemory(asm.Instruction{OpCode: asm.StoreImmOp(sizes[above.Width]), Dst: base}, above); err != nil {
			return err
		}
		bits += size
	}
	return nil
}

// replacePart loads the target's number as the program's, puts the part into it
// and stores it.
func (s *Sequence) replacePart(ins asm.Instruction, p Part, local, target Image, regs Registers) error {
	inUse := []asm.Register{ins.Dst}
	if ins.OpCode.Class() == asm.StXClass {
		inUse = append(inUse, ins.Src)
	}
	number, restoreNumber, err := regs.Spare(s, inUse...)
	if err != nil {
		return err
	}
	inUse = append(inUse, number)
	changed, restoreChanged, err := regs.Spare(s, inUse...)
	if err != nil {
		return err
	}

	whole := Image{Width: 8, Bits: local.Bits, Alone: true}
	if err := s.Load(asm.LoadMem(number, ins.Dst, 0, asm.DWord), whole, target); err != nil {
		return err
	}
	switch {
	case ins.OpCode.Class() == asm.StXClass:
		s.Emit(asm.Mov.Reg(changed, ins.Src))
	case FitsImmediate(ins.Constant):
		s.Emit(asm.Mov.Imm(changed, int32(ins.Constant)))
	default:
		s.Emit(asm.LoadImm(changed, ins.Constant, asm.DWord))
	}
	s.exchange(number, changed, p)
	whole.Signed = local.Signed
	ins = asm.StoreMem(ins.Dst, 0, number, asm.DWord)
	own := &ownRegister{Registers: regs, own: number, keep: number}
	if !local.Signed {
		own.bits = local.Bits
	}
	_, err = s.Store(ins, whole, target, own)
	restoreChanged()
	restoreNumber()
	return err
}

// exchange puts a part, which is at the low-order end of a register, into the
// number in another: what differs between the two is flipped there.
func (s *Sequence) exchange(number, changed asm.Register, p Part) {
	if p.Swapped {
		s.swap(changed, uint32(p.Bits/8))
	}
	s.shiftLeft(changed, p.Low)
	s.Emit(asm.Xor.Reg(changed, number))
	s.shiftRight(changed, p.Low)
	s.keepLow(changed, p.Bits)
	s.shiftLeft(changed, p.Low)
	s.Emit(asm.Xor.Reg(number, changed))
}

// ownRegister are the registers that a sequence may use, of which it has put
// a number into one itself.
type ownRegister struct {
	Registers
	own  asm.Register
	bits int // of the number, above which are zeros; 0 if other bits may be there
	keep asm.Register
}

// Spare keeps the register that others are still to be made from.
func (r *ownRegister) Spare(s *Sequence, inUse ...asm.Register) (asm.Register, func(), error) {
	return r.Registers.Spare(s, append(inUse, r.keep)...)
}

func (r *ownRegister) Dead(reg asm.Register) bool {
	return reg == r.own || r.Registers.Dead(reg)
}

func (r *ownRegister) Constant(reg asm.Register) (int64, bool) {
	if reg == r.own {
		return 0, false
	}
	return r.Registers.Constant(reg)
}

func (r *ownRegister) Extended(reg asm.Register, bits int, signed bool) bool {
	if reg == r.own {
		return !signed && 0 < r.bits && r.bits <= bits
	}
	return r.Registers.Extended(reg, bits, signed)
}

// slice returns the image of some of the number's bits: of their own bytes, where
// they have any.
func (img Image) slice(low, bits int, order binary.ByteOrder) Image {
	own := img.IsWhole() && low%8 == 0 && bits%8 == 0 && Loadable(uint32(bits/8))
	img.Signed = img.Signed && low+bits == img.Bits
	if !own {
		img.Shift, img.Bits = img.Shift+low, bits
		return img
	}
	before := low / 8
	if (order == binary.BigEndian) != img.Swapped {
		before = (img.Bits - low - bits) / 8
	}
	img.Offset += int64(before)
	img.Width, img.Bits = uint32(bits/8), bits
	img.Swapped = img.Swapped && bits > 8
	return img
}

// sign returns the image of the number's highest bit.
func (img Image) sign(order binary.ByteOrder) Image {
	if img.IsWhole() {
		img = img.slice(img.Bits-8, 8, order)
	}
	return img.slice(img.Bits-1, 1, order)
}

// MovesSame reports whether the bytes of two images have the same bits of a number,
// or none.
func (img Image) MovesSame(other Image) bool {
	return img.Shift == other.Shift || PartOf(img).Bits <= 0 && PartOf(other).Bits <= 0
}

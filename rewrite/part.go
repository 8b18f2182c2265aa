package rewrite

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// part is what an instruction moves that moves fewer bytes than the program's
// field has: a stretch of the bits of its number. The layout's field may have
// the same bits elsewhere, only some of them, or none.
type part struct {
	low, bits int  // of the number, counted from its lowest bit
	swapped   bool // the bytes are in the other order than the machine's
}

// image returns what a register holds of a part at its low-order end, with
// anything above.
func (p part) image() image {
	if bytes := uint32(p.bits / 8); p.bits%8 == 0 && loadable(bytes) {
		return image{width: bytes, bits: p.bits, swapped: p.swapped}
	}
	return image{width: 8, bits: p.bits}
}

// loaded is image with zeros above.
func (p part) loaded() image {
	img := p.image()
	img.alone = img.bits < int(img.width)*8
	return img
}

// partOf returns the part of a field that the bytes of its image hold.
func partOf(img image) part {
	first := max(0, -img.shift) // in the field's own bytes, as the machine reads them
	p := part{low: first, bits: min(int(img.width)*8-max(0, img.shift), img.bits-first)}
	if img.swapped {
		p.low, p.swapped = img.bits-first-p.bits, p.bits > 8
	}
	return p
}

// isPart reports whether the bytes lack some of the number's bits.
func (img image) isPart() bool { return img.shift < 0 || img.shift+img.bits > int(img.width)*8 }

// convertedPart returns what a load or store of a part of a number becomes.
func (p *planner) convertedPart(q question, ins asm.Instruction, local, target image, slot int) (Instructions, string, error) {
	s := p.sequence(q.access, q.resolution)
	moved := piece{partOf(local), max(0, local.shift), local, target, q.access.Path}
	if ins.OpCode.Class() == asm.LdXClass {
		if err := p.checkSign(q, ins, moved.part, target, slot); err != nil {
			return nil, "", err
		}
		err := s.loadAmong(ins, &moved, p.registersAt(q.access, slot))
		return s.insns, "", err
	}
	if moved.bits <= 0 {
		return s.insns, "", nil
	}
	if target.boolean {
		return nil, "", refuse("store the field as a whole", "the instruction %q stores a part of %s, and the layout's %s holds whether it is 0 as a whole",
			insn.Spell(ins), q.access.Local.Field, q.resolution.Field)
	}
	err := s.storeAmong(ins, &moved, p.registersAt(q.access, slot))
	return s.insns, truncationNote(local, target), err
}

// loadAmong emits what leaves a piece in its place in the destination register of
// ins, with anything beside it that are no bits of the number.
func (s *sequence) loadAmong(ins asm.Instruction, pc *piece, regs registers) error {
	switch {
	case pc.bits <= 0:
		return s.gather(ins, nil, regs)
	case pc.at == 0:
		return s.loadPart(ins, pc.part, pc.target)
	}
	return s.gather(ins, []piece{*pc}, regs)
}

// storeAmong emits what stores a piece of what ins stores.
func (s *sequence) storeAmong(ins asm.Instruction, pc *piece, regs registers) error {
	if pc.at == 0 {
		return s.storePart(ins, pc.part, pc.local, pc.target, regs)
	}
	return s.scatter(ins, []piece{*pc}, func() registers { return regs })
}

// checkSign refuses to load a part that is nothing but copies of the layout's
// sign, which is in another part, where the function may have stored the field
// before: to clang the parts have nothing to do with each other, and it may store
// the one before it loads the rest of what was there.
func (p *planner) checkSign(q question, ins asm.Instruction, part part, target image, slot int) error {
	if part.low < target.bits || !target.signed || !p.storedBefore(q, slot) {
		return nil
	}
	return refuse("declare the field in the program as wide as the layout's, or aligned", "the instruction %q loads a part of %s, of which the layout's %s has the sign only, and the function may store it before",
		insn.Spell(ins), q.access.Local.Field, q.resolution.Field)
}

// storedBefore reports whether a store to any of the layout's bytes of an access,
// by this name or another one, can come before a slot of its function.
func (p *planner) storedBefore(to question, slot int) bool {
	fn := p.function(to.access)
	if fn.err != nil {
		return true
	}
	overlaps := func(q question) bool {
		if q.resolution.Poison {
			return false
		}
		first, end := layoutBytes(to.resolution.Field)
		otherFirst, otherEnd := layoutBytes(q.resolution.Field)
		return first < otherEnd && otherFirst < end
	}
	for at, store := range fn.stores {
		if overlaps(store) && fn.flow.Leads(at, slot) {
			return true
		}
	}
	reached, err := p.reachedAnyway(to.access)
	for offset, q := range fn.offsets {
		if !overlaps(q) {
			continue
		}
		if err != nil || slices.ContainsFunc(reached.accesses[offset], func(use flow.Access) bool {
			return fn.section.isStore(use.Slot) && fn.flow.Leads(use.Slot, slot)
		}) {
			return true
		}
	}
	return false
}

// layoutBytes returns the bytes that have a bit of a field, the end exclusive.
func layoutBytes(field *reloc.Field) (first, end uint32) {
	if field.IsBitField() {
		return field.BitOffset / 8, (field.BitOffset + field.BitSize + 7) / 8
	}
	return field.Offset, field.Offset + field.Size
}

// isStore reports whether an instruction writes to memory.
func (s *section) isStore(slot int) bool {
	ins := s.read(slot)
	return ins.Class() == insn.ClassST || ins.Class() == insn.ClassSTX
}

// loadPart emits what leaves a part of the number in the destination register of
// ins, a load of as many bytes.
func (s *sequence) loadPart(ins asm.Instruction, p part, target image) error {
	switch {
	case p.low < target.bits:
		return s.load(ins, p.loaded(), target.slice(p.low, min(p.bits, target.bits-p.low), s.order))
	case target.signed:
		return s.load(ins, p.loaded(), target.sign(s.order))
	}
	s.emit(asm.Mov.Imm(ins.Dst, 0))
	return nil
}

// storePart emits what puts a part into the program's number and converts that
// to the target's. What the program's number has beyond the part is what the
// target holds.
func (s *sequence) storePart(ins asm.Instruction, p part, local, target image, regs registers) error {
	if p.low >= target.bits {
		return nil
	}
	there := target.slice(p.low, min(p.bits, target.bits-p.low), s.order)
	extends := target.bits > local.bits
	if there.swapped && !there.whole() || extends && (local.signed || !target.whole() || local.bits%8 != 0) {
		return s.replacePart(ins, p, local, target, regs)
	}
	if _, err := s.store(ins, p.image(), there, regs); err != nil {
		return err
	}
	return s.clearAbove(ins.Dst, local.bits, target)
}

// clearAbove clears the bytes of a plain number above its low-order bits.
func (s *sequence) clearAbove(base asm.Register, bits int, target image) error {
	for bits < target.bits {
		size := bits & -bits // aligned, if the number is
		above := target.slice(bits, size, s.order)
		if err := s.emitMemory(asm.Instruction{OpCode: asm.StoreImmOp(sizes[above.width]), Dst: base}, above); err != nil {
			return err
		}
		bits += size
	}
	return nil
}

// replacePart loads the target's number as the program's, puts the part into it
// and stores it.
func (s *sequence) replacePart(ins asm.Instruction, p part, local, target image, regs registers) error {
	inUse := []asm.Register{ins.Dst}
	if ins.OpCode.Class() == asm.StXClass {
		inUse = append(inUse, ins.Src)
	}
	number, restoreNumber, err := regs.spare(s, inUse...)
	if err != nil {
		return err
	}
	inUse = append(inUse, number)
	changed, restoreChanged, err := regs.spare(s, inUse...)
	if err != nil {
		return err
	}

	whole := image{width: 8, bits: local.bits, alone: true}
	if err := s.load(asm.LoadMem(number, ins.Dst, 0, asm.DWord), whole, target); err != nil {
		return err
	}
	switch {
	case ins.OpCode.Class() == asm.StXClass:
		s.emit(asm.Mov.Reg(changed, ins.Src))
	case fitsImmediate(ins.Constant):
		s.emit(asm.Mov.Imm(changed, int32(ins.Constant)))
	default:
		s.emit(asm.LoadImm(changed, ins.Constant, asm.DWord))
	}
	s.exchange(number, changed, p)
	whole.signed = local.signed
	ins = asm.StoreMem(ins.Dst, 0, number, asm.DWord)
	own := &ownRegister{registers: regs, own: number, keep: number}
	if !local.signed {
		own.bits = local.bits
	}
	_, err = s.store(ins, whole, target, own)
	restoreChanged()
	restoreNumber()
	return err
}

// exchange puts a part, which is at the low-order end of a register, into the
// number in another: what differs between the two is flipped there.
func (s *sequence) exchange(number, changed asm.Register, p part) {
	if p.swapped {
		s.swap(changed, uint32(p.bits/8))
	}
	s.shiftLeft(changed, p.low)
	s.emit(asm.Xor.Reg(changed, number))
	s.shiftRight(changed, p.low)
	s.keepLow(changed, p.bits)
	s.shiftLeft(changed, p.low)
	s.emit(asm.Xor.Reg(number, changed))
}

// ownRegister are the registers that a sequence may use, of which it has put
// a number into one itself.
type ownRegister struct {
	registers
	own  asm.Register
	bits int // of the number, above which are zeros; 0 if other bits may be there
	keep asm.Register
}

// spare keeps the register that others are still to be made from.
func (r *ownRegister) spare(s *sequence, inUse ...asm.Register) (asm.Register, func(), error) {
	return r.registers.spare(s, append(inUse, r.keep)...)
}

func (r *ownRegister) dead(reg asm.Register) bool {
	return reg == r.own || r.registers.dead(reg)
}

func (r *ownRegister) constant(reg asm.Register) (int64, bool) {
	if reg == r.own {
		return 0, false
	}
	return r.registers.constant(reg)
}

func (r *ownRegister) extended(reg asm.Register, bits int, signed bool) bool {
	if reg == r.own {
		return !signed && 0 < r.bits && r.bits <= bits
	}
	return r.registers.extended(reg, bits, signed)
}

// slice returns the image of some of the number's bits: of their own bytes, where
// they have any.
func (img image) slice(low, bits int, order binary.ByteOrder) image {
	own := img.whole() && low%8 == 0 && bits%8 == 0 && loadable(uint32(bits/8))
	img.signed = img.signed && low+bits == img.bits
	if !own {
		img.shift, img.bits = img.shift+low, bits
		return img
	}
	before := low / 8
	if (order == binary.BigEndian) != img.swapped {
		before = (img.bits - low - bits) / 8
	}
	img.offset += int64(before)
	img.width, img.bits = uint32(bits/8), bits
	img.swapped = img.swapped && bits > 8
	return img
}

// sign returns the image of the number's highest bit.
func (img image) sign(order binary.ByteOrder) image {
	if img.whole() {
		img = img.slice(img.bits-8, 8, order)
	}
	return img.slice(img.bits-1, 1, order)
}

func truncationNote(local, target image) string {
	if target.bits >= local.bits || target.boolean {
		return ""
	}
	return fmt.Sprintf("stores the low-order %d of %d bits: larger values are truncated", target.bits, local.bits)
}

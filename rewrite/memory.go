package rewrite

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// patchMemory edits a load or store of a field.
func (p *planner) patchMemory(edit *Edit, ins asm.Instruction) error {
	local, target := edit.Access.Local.Field, edit.Resolution.Field
	if !local.IsBitField() && width(ins) > local.Size {
		return refuse(remedyReport, "the instruction %q accesses %d bytes, the field %s has %d", insn.Spell(ins), width(ins), local, local.Size)
	}
	if by, ok := p.distance(local, target); ok {
		moved, err := setSpan(ins, int64(ins.Offset)+by, width(ins))
		edit.After = Instructions{moved}
		return err
	}
	return p.convert(edit, ins)
}

// distance returns by how many bytes the target's field is further than the
// local one, if that is all in which they differ.
func (p *planner) distance(local, target *reloc.Field) (int64, bool) {
	plain := !local.IsBitField() && !target.IsBitField()
	return int64(target.Offset) - int64(local.Offset), plain && reloc.SameBits(local, target, p.order)
}

// sameBits returns the offset of the bytes in which the layout keeps a bit-field
// as the program does, if it does: a pair of load and store that replaces the
// bits can then stay as it is.
func (p *planner) sameBits(local image, resolution *reloc.Resolution) (int64, bool) {
	target := resolution.Field
	first := int64(target.BitOffset) - int64(local.shift)
	if p.order == binary.BigEndian {
		first = int64(target.BitOffset+target.BitSize) + int64(local.shift) - int64(local.width)*8
	}
	fits := first >= 0 && first%8 == 0 && first/8+int64(local.width) <= int64(resolution.TypeSize)
	return first / 8, fits && target.IsBitField() && int(target.BitSize) == local.bits && !target.Swapped(p.order)
}

// checkConvertible refuses what no sequence of instructions converts.
func checkConvertible(local, target *reloc.Field, ins asm.Instruction) error {
	const differs = "%s: %s in the program, %s in the layout"
	mode := ins.OpCode.Mode()
	switch {
	case !isNumber(local) || !isNumber(target):
		return refuse(remedySameType, differs, "the types differ", local, target)
	case needsSign(local, target):
		return refuse("compile with clang 16 or later", differs, "the types differ, and the compiler did not record whether the enumeration is signed", local, target)
	case mode != asm.MemMode && mode != asm.MemSXMode:
		return refuse(remedySameType, "the instruction %q needs a field of the same type, and the layout has %s", insn.Spell(ins), target)
	}
	return nil
}

// needsSign reports whether the widths of two numbers differ, and of one the sign is
// not known.
func needsSign(local, target *reloc.Field) bool {
	sameWidth := fieldImage(local, nil).bits == fieldImage(target, nil).bits
	return !sameWidth && (local.SignUnknown || target.SignUnknown)
}

// isNumber reports whether a field is a number that loads and stores can move.
func isNumber(f *reloc.Field) bool {
	return (f.Class == reloc.Integer || f.Class == reloc.Bool) && (f.IsBitField() || loadable(f.Size))
}

func loadable(size uint32) bool { return size == 1 || size == 2 || size == 4 || size == 8 }

// convert puts a sequence in place of the instruction that moves the target's
// number where the program wants the local one.
func (p *planner) convert(edit *Edit, ins asm.Instruction) (err error) {
	q := question{&edit.Access, &edit.Resolution}
	if p.assignBits(edit, ins) {
		return nil
	}
	edit.After, edit.Note, err = p.converted(q, ins, int64(ins.Offset), edit.Access.Insn)
	if err != nil || isCopy(q) {
		return err
	}
	switch ins.OpCode.Class() {
	case asm.StXClass:
		p.storeConstantAlone(edit, ins)
		p.storeChoice(edit, ins)
	case asm.LdXClass:
		p.loadWhole(edit, ins)
	}
	return nil
}

// loadWhole makes an edit convert a load together with what comes after it, if
// that takes fewer instructions.
func (p *planner) loadWhole(edit *Edit, ins asm.Instruction) {
	whole, removed := p.convertedWhole(question{&edit.Access, &edit.Resolution}, ins)
	if len(removed) > 0 && whole.Slots() < edit.After.Slots()+slotsOf(removed) {
		edit.After, edit.Others = whole, append(edit.Others, removed...)
	}
}

// converted returns what a load or store at an offset from the start of the root
// type becomes.
func (p *planner) converted(q question, ins asm.Instruction, offset int64, slot int) (Instructions, string, error) {
	if isCopy(q) {
		return p.convertedCopy(q, ins, offset, slot)
	}
	if err := checkConvertible(q.access.Local.Field, q.resolution.Field, ins); err != nil {
		return nil, "", err
	}
	local, target, err := p.images(q, ins, offset, slot)
	if err != nil {
		return nil, "", err
	}
	if q.access.Local.Field.IsBitField() {
		if offset, ok := p.sameBits(local, q.resolution); ok {
			moved, err := setSpan(ins, offset, width(ins))
			return Instructions{moved}, "", err
		}
	}
	if local.isPart() {
		return p.convertedPart(q, ins, local, target, slot)
	}
	s := p.sequence(q.access, q.resolution)
	if ins.OpCode.Class() == asm.LdXClass {
		err = s.load(ins, local, target)
		return s.insns, partNote(local, target), err
	}
	note, err := s.store(ins, local, target, p.registersAt(q.access, slot))
	return s.insns, note, err
}

// images returns what a load or store at an offset from the start of the root
// type moves, and what has to be moved in the layout.
func (p *planner) images(q question, ins asm.Instruction, offset int64, slot int) (local, target image, err error) {
	field := q.access.Local.Field
	if target, err = targetImage(q.resolution.Field, q.resolution.TypeSize, p.order); err != nil {
		return local, target, err
	}
	if field.IsBitField() {
		local, err = p.bitImage(q.access, ins, offset-p.recordedAt(q.access, ins, slot))
		return local, target, err
	}
	return localImage(field, offset, width(ins), p.order), target, nil
}

func partNote(local, target image) string {
	if target.bits <= local.bits || local.boolean {
		return ""
	}
	return fmt.Sprintf("reads the low-order %d of %d bits", local.bits, target.bits)
}

// convertedWhole converts a load together with the instructions after it that
// pick the number out of the bytes and extend it, and takes these out: to do it
// for the layout's bytes is often less work than to make them look like the
// program's. It returns nothing if there are no such instructions.
func (p *planner) convertedWhole(q question, ins asm.Instruction) (Instructions, []Patch) {
	local, target, err := p.images(q, ins, int64(ins.Offset), q.access.Insn)
	if err != nil || local.isPart() {
		return nil, nil
	}
	if local.whole() && !local.signed {
		return nil, nil // a load is all there is
	}
	picked := p.pickedOut(q.access, ins, local)
	if picked == nil {
		return nil, nil
	}
	s := p.sequence(q.access, q.resolution)
	number := image{width: picked.width, bits: local.bits, signed: local.signed, alone: true}
	if err := s.load(ins, number, target); err != nil {
		return nil, nil
	}
	return s.insns, picked.removed
}

// truncated returns the number that the low-order bytes of value are.
func truncated(value int64, bytes uint32, signed bool) int64 {
	unused := 64 - bytes*8
	if signed {
		return value << unused >> unused
	}
	return int64(uint64(value) << unused >> unused)
}

// setSpan gives a load or store its offset and width.
func setSpan(ins asm.Instruction, offset int64, width uint32) (asm.Instruction, error) {
	if offset < math.MinInt16 || offset > math.MaxInt16 {
		return ins, refuse(remedyReport, "the offset %d does not fit into the instruction %q", offset, insn.Spell(ins))
	}
	ins.Offset = int16(offset)
	ins.OpCode = ins.OpCode.SetSize(sizes[width])
	return ins, nil
}

var sizes = map[uint32]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}

package rewrite

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// converts reports whether an access is a load or store of a field that the layout keeps
// in another way than the program.
func (p *planner) converts(edit *Edit) bool {
	before, local := edit.Before[0].Instruction, edit.Access.Local.Field
	if edit.Resolution.Poison || edit.Access.Kind != reloc.ByteOffset || !insn.IsMemory(before) || isBeyond(before, local) {
		return false
	}
	_, same := p.distance(local, edit.Resolution.Field)
	return !same
}

// checkWithin refuses a load or store that moves more bytes than the field has.
func checkWithin(ins asm.Instruction, local *reloc.Field) error {
	if !isBeyond(ins, local) {
		return nil
	}
	return refuse.Because(refuse.Report, "the instruction %q accesses %d bytes, the field %s has %d", insn.Spell(ins), insn.Bytes(ins), local, local.Size)
}

// isBeyond reports whether a load or store moves more bytes than the field has.
func isBeyond(ins asm.Instruction, local *reloc.Field) bool {
	return !local.IsBitField() && insn.Bytes(ins) > local.Size
}

// moveMemory edits a load or store of a field that only has another place.
func (p *planner) moveMemory(edit *Edit, ins asm.Instruction) error {
	local, target := edit.Access.Local.Field, edit.Resolution.Field
	if err := checkWithin(ins, local); err != nil {
		return err
	}
	by, _ := p.distance(local, target)
	moved, err := convert.SetSpan(ins, int64(ins.Offset)+by, insn.Bytes(ins))
	edit.After = instructions(moved)
	return err
}

// distance returns by how many bytes the target's field is further than the
// local one, if that is all in which they differ.
func (p *planner) distance(local, target *reloc.Field) (int64, bool) {
	plain := !local.IsBitField() && !target.IsBitField()
	return int64(target.Offset) - int64(local.Offset), plain && reloc.SameBits(local, target, p.order)
}

// offsetOfSameBits returns the offset of the bytes in which the layout keeps a bit-field
// as the program does, if it does: a pair of load and store that replaces the
// bits can then stay as it is.
func (p *planner) offsetOfSameBits(local convert.Image, resolution *reloc.Resolution) (int64, bool) {
	target := resolution.Field
	first := int64(target.BitOffset) - int64(local.Shift)
	if p.order == binary.BigEndian {
		first = int64(target.BitOffset+target.BitSize) + int64(local.Shift) - int64(local.Width)*8
	}
	fits := first >= 0 && first%8 == 0 && first/8+int64(local.Width) <= int64(resolution.TypeSize)
	return first / 8, fits && target.IsBitField() && int(target.BitSize) == local.Bits && !target.Swapped(p.order)
}

// checkConvertible refuses what no sequence of instructions converts.
func checkConvertible(local, target *reloc.Field, ins asm.Instruction) error {
	const differs = "%s: %s in the program, %s in the layout"
	mode := ins.OpCode.Mode()
	switch {
	case !isNumber(local) || !isNumber(target):
		return refuse.Because(refuse.SameType, differs, "the types differ", local, target)
	case needsSign(local, target):
		return refuse.Because("compile with clang 16 or later", differs, "the types differ, and the compiler did not record whether the enumeration is signed", local, target)
	case mode != asm.MemMode && mode != asm.MemSXMode:
		return refuse.Because(refuse.SameType, "the instruction %q needs a field of the same type, and the layout has %s", insn.Spell(ins), target)
	}
	return nil
}

// needsSign reports whether the widths of two numbers differ, and of one the sign is
// not known.
func needsSign(local, target *reloc.Field) bool {
	sameWidth := convert.FieldImage(local, nil).Bits == convert.FieldImage(target, nil).Bits
	return !sameWidth && (local.SignUnknown || target.SignUnknown)
}

// isNumber reports whether a field is a number that loads and stores can move.
func isNumber(f *reloc.Field) bool {
	return (f.Class == reloc.Integer || f.Class == reloc.Bool) && (f.IsBitField() || convert.Loadable(f.Size))
}

// convert puts a sequence in place of the instruction that moves the target's
// number where the program wants the local one.
func (p *planner) convert(edit *Edit, ins asm.Instruction) (err error) {
	q := resolvedAccess{edit.Access, edit.Resolution}
	edit.After, edit.Note, err = p.converted(q, ins, int64(ins.Offset), edit.Access.Insn)
	return err
}

// converted returns what a load or store at an offset from the start of the root
// type becomes.
func (p *planner) converted(q resolvedAccess, ins asm.Instruction, offset int64, slot int) (Instructions, string, error) {
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
		if offset, ok := p.offsetOfSameBits(local, q.resolution); ok {
			moved, err := convert.SetSpan(ins, offset, insn.Bytes(ins))
			return instructions(moved), "", err
		}
	}
	if local.IsPart() {
		return p.convertedPart(q, ins, local, target, slot)
	}
	s := p.sequence(q.access, q.resolution)
	if ins.OpCode.Class() == asm.LdXClass {
		err = s.Load(ins, local, target)
		return s.Items, partNote(local, target), err
	}
	note, err := s.Store(ins, local, target, p.registersAt(q.access, slot))
	return s.Items, note, err
}

// images returns what a load or store at an offset from the start of the root
// type moves, and what has to be moved in the layout.
func (p *planner) images(q resolvedAccess, ins asm.Instruction, offset int64, slot int) (local, target convert.Image, err error) {
	if target, err = convert.TargetImage(q.resolution.Field, q.resolution.TypeSize, p.order); err != nil {
		return local, target, err
	}
	local, err = p.localImage(q.access, ins, offset, slot)
	return local, target, err
}

// localImage returns what a load or store at an offset from the start of the root type
// moves.
func (p *planner) localImage(access *reloc.Access, ins asm.Instruction, offset int64, slot int) (convert.Image, error) {
	if field := access.Local.Field; !field.IsBitField() {
		return convert.LocalImage(field, offset, insn.Bytes(ins), p.order), nil
	}
	return p.bitImage(access, ins, offset-p.recordedAt(access, ins, slot))
}

func partNote(local, target convert.Image) string {
	if target.Bits <= local.Bits || local.Boolean {
		return ""
	}
	return fmt.Sprintf("reads the low-order %d of %d bits", local.Bits, target.Bits)
}

package rewrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/reloc"
)

// plan decides the edit of every access, without changing the object.
func plan(obj *elfobj.Object, accesses []reloc.Access, layout *reloc.Layout) ([]Edit, error) {
	p := &planner{
		object:      obj,
		order:       obj.Order,
		macros:      bitfieldMacros(accesses),
		planned:     make(map[place]*Edit),
		relocations: make(map[*elfobj.Section]map[int]bool),
	}
	edits := make([]Edit, 0, len(accesses))
	var refused []Refusal
	for _, access := range accesses {
		resolution, err := access.Resolve(layout)
		if errors.Is(err, reloc.ErrByteOrder) {
			return nil, err
		}
		if err != nil {
			return nil, located(access, err)
		}
		edit, err := p.edit(obj.Section(access.Section), access, resolution)
		var r *refusal
		if errors.As(err, &r) {
			refused = append(refused, Refusal{access, r.reason, r.remedy})
			continue
		}
		if err != nil {
			return nil, located(access, err)
		}
		edits = append(edits, edit)
	}
	if len(refused) > 0 {
		return nil, &RefusedError{layout.Name(), refused, edits}
	}
	return edits, nil
}

// place is where an instruction is.
type place struct {
	section string
	slot    int
}

type planner struct {
	object      *elfobj.Object
	order       binary.ByteOrder
	macros      map[macroKey]bool
	planned     map[place]*Edit
	relocations map[*elfobj.Section]map[int]bool // slots that the loader patches
}

// edit plans the edit of one access. A refusal is an error of type *refusal.
func (p *planner) edit(section *elfobj.Section, access reloc.Access, resolution reloc.Resolution) (Edit, error) {
	edit := Edit{Access: access, Resolution: resolution}
	if !holdsCode(section) {
		return edit, refuse(remedyRecompile, "section %s holds no instructions", section)
	}
	before, err := decode(section.Data[access.Insn*reloc.InstructionSize:], p.order)
	if err != nil {
		return edit, refuse(remedyRecompile, "instruction %d of section %s: %v", access.Insn, section, err)
	}
	edit.Before = Instructions{before}
	if p.linked(section)[access.Insn] {
		return edit, refuse(remedyRecompile, "the instruction %q is also patched by an ELF relocation", spell(before))
	}

	if err := p.replacement(&edit, before); err != nil {
		return edit, err
	}
	at := place{access.Section, access.Insn}
	if other, ok := p.planned[at]; ok && !slices.Equal(other.After, edit.After) {
		return edit, refuse(remedyRecompile, "the same instruction is also recorded as %s of %s", other.Access.Kind, other.Access.Path)
	}
	p.planned[at] = &edit
	return edit, nil
}

// linked returns the slots of a section that ELF relocations patch.
func (p *planner) linked(section *elfobj.Section) map[int]bool {
	if slots, ok := p.relocations[section]; ok {
		return slots
	}
	slots := make(map[int]bool)
	if table := p.object.Relocations(section); table != nil {
		for data := table.Data; len(data) >= relSize; data = data[relSize:] {
			slots[int(p.order.Uint64(data)/reloc.InstructionSize)] = true
		}
	}
	p.relocations[section] = slots
	return slots
}

// replacement fills in After, and Poisoned and Note where they apply.
func (p *planner) replacement(edit *Edit, before asm.Instruction) error {
	if err := p.checkPresent(&edit.Access, before); err != nil {
		return err
	}
	if edit.Resolution.Poison {
		edit.After = poison(int(before.Width()))
		edit.Poisoned = true
		edit.Note = edit.Resolution.Missing
		return nil
	}

	after, note, err := p.patched(edit, before)
	if err != nil {
		return err
	}
	edit.After, edit.Note = Instructions{after}, note
	if !edit.Resolution.Exists {
		edit.Note = edit.Resolution.Missing
	}
	return nil
}

func (p *planner) patched(edit *Edit, before asm.Instruction) (after asm.Instruction, note string, err error) {
	switch {
	case isMemory(before):
		return p.patchMemory(edit, before)
	case edit.Access.Kind == reloc.ByteOffset:
		value, err := p.offsetInRegister(&edit.Access, &edit.Resolution, before)
		if err != nil {
			return before, "", err
		}
		after, err = patchImmediate(before, value)
		return after, "", err
	default:
		after, err = patchImmediate(before, edit.Resolution.Value)
		return after, "", err
	}
}

// isMemory reports whether an instruction addresses memory by a register and an
// offset.
func isMemory(ins asm.Instruction) bool {
	switch ins.OpCode.Class() {
	case asm.LdXClass, asm.StClass, asm.StXClass:
		return true
	}
	return false
}

// isImmediate reports whether an instruction works on a constant that a record
// can be about: an ALU instruction, or LDDW of a plain number.
func isImmediate(ins asm.Instruction) bool {
	if ins.OpCode.IsDWordLoad() {
		return ins.Src == asm.R0 && ins.Offset == 0
	}
	return ins.OpCode.Class().IsALU() && ins.OpCode.Source() == asm.ImmSource && ins.OpCode.ALUOp() != asm.Swap
}

// checkPresent compares what the instruction holds with what the record says
// it should hold, so that nothing is changed that is not what was recorded.
func (p *planner) checkPresent(access *reloc.Access, ins asm.Instruction) error {
	switch {
	case isMemory(ins) && access.Kind == reloc.ByteOffset:
		return checkValue(access, int64(ins.Offset), ins)
	case isImmediate(ins):
		return checkValue(access, ins.Constant, ins)
	}
	return refuse(remedyRecompile, "%s is recorded on the instruction %q, which holds no such value", access.Kind, spell(ins))
}

func checkValue(access *reloc.Access, present int64, ins asm.Instruction) error {
	if holdsValue(access, present, ins) {
		return nil
	}
	return refuse(remedyRecompile, "the instruction %q does not hold the %s that the record says, %d: the object was changed since it was compiled",
		spell(ins), access.Kind, int64(access.Local.Value))
}

func holdsValue(access *reloc.Access, present int64, ins asm.Instruction) bool {
	expected := int64(access.Local.Value)
	switch {
	case access.Kind == reloc.TargetTypeID:
		return true // linkers number types anew, and leave the instruction alone
	case access.Local.Field != nil && access.Local.Field.IsBitField():
		return plausibleForBitField(access, present)
	case ins.OpCode.Class() == asm.ALUClass:
		return uint32(present) == uint32(expected) && fits32(expected)
	default:
		return present == expected
	}
}

// plausibleForBitField checks what clang chose for a bit-field. Which bytes it
// loads is its own choice, so that only sign and right shift are determined
// (bpf_core_calc_field_relo of libbpf does not validate the others at all).
func plausibleForBitField(access *reloc.Access, present int64) bool {
	field := access.Local.Field
	switch access.Kind {
	case reloc.ByteOffset:
		start, end := present*8, present*8+64
		return present >= 0 && int64(field.BitOffset) < end && int64(field.BitOffset+field.BitSize) > start
	case reloc.ByteSize:
		return present == 1 || present == 2 || present == 4 || present == 8
	case reloc.LeftShift:
		return present >= 0 && present < 64
	default:
		return present == int64(access.Local.Value)
	}
}

// patchImmediate puts a value into an instruction that works on a constant.
func patchImmediate(ins asm.Instruction, value uint64) (asm.Instruction, error) {
	signed := int64(value)
	switch {
	case ins.OpCode.IsDWordLoad():
		ins.Constant = signed
	case ins.OpCode.Class() == asm.ALUClass && fits32(signed):
		ins.Constant = int64(int32(signed))
	case ins.OpCode.Class() == asm.ALU64Class && signed >= math.MinInt32 && signed <= math.MaxInt32:
		ins.Constant = signed
	default:
		return ins, refuse(remedyReport, "the value %d does not fit into the instruction %q", signed, spell(ins))
	}
	return ins, nil
}

// fits32 reports whether a value is representable in 32 bits, signed or not.
func fits32(value int64) bool { return value >= math.MinInt32 && value <= math.MaxUint32 }

// located puts the source line before an error that is not a refusal.
func located(access reloc.Access, err error) error {
	return fmt.Errorf("%s: %w", access.Source, err)
}

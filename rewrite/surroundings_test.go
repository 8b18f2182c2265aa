package rewrite_test

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// surroundings are what a load or store of a number is made to fit into.
type surroundings struct {
	order          binary.ByteOrder
	instructionSet int    // 4, or less
	targetSize     uint32 // of the layout's type, in bytes
	free           []asm.Register
	dies           asm.Register // is not read afterwards; r10 if there is none

	// What is known of a register before it is stored. They may know less than
	// there is to know, never more.
	constant func(asm.Register) (int64, bool)
	extended func(reg asm.Register, bits int, signed bool) bool
}

// converted returns what a load or store of a field becomes. Of a bit-field, the
// instruction moves the bytes at its offset, which have all of it.
func (a *surroundings) converted(ins asm.Instruction, local, target *reloc.Field) (rewrite.Instructions, error) {
	there, err := convert.TargetImage(target, a.targetSize, a.order)
	if err != nil {
		return nil, err
	}
	here := convert.LocalImage(local, int64(ins.Offset), insn.Bytes(ins), a.order)
	part := &convert.Piece{Part: convert.PartOf(here), At: max(0, here.Shift), Local: here, Target: there}
	s, regs := a.sequence(target), &freeRegisters{surroundings: a}
	isLoad := ins.OpCode.Class() == asm.LdXClass
	switch {
	case here.IsPart() && isLoad:
		err = s.LoadAmong(ins, part, regs)
	case here.IsPart():
		err = s.StoreAmong(ins, part, regs)
	case isLoad:
		err = s.Load(ins, here, there)
	default:
		_, err = s.Store(ins, here, there, regs)
	}
	return s.Items, err
}

// pickedOut returns what a load becomes together with the shifts after it, which
// leave the number of a field extended to so many bytes.
func (a *surroundings) pickedOut(ins asm.Instruction, local, target *reloc.Field, bytes uint32) (rewrite.Instructions, error) {
	there, err := convert.TargetImage(target, a.targetSize, a.order)
	if err != nil {
		return nil, err
	}
	s, here := a.sequence(target), convert.FieldImage(local, a.order)
	err = s.Load(ins, convert.Image{Width: bytes, Bits: here.Bits, Signed: here.Signed, Alone: true}, there)
	return s.Items, err
}

func (a *surroundings) sequence(target *reloc.Field) *convert.Sequence {
	return &convert.Sequence{
		Items: []insn.Item{}, Order: a.order, InstructionSet: a.instructionSet,
		From: int64(target.Offset), To: int64(min(target.Offset+target.Size, a.targetSize)),
	}
}

// freeRegisters hands out registers as the planner does.
type freeRegisters struct {
	*surroundings
	taken   []asm.Register
	spilled int16
}

func (r *freeRegisters) Spare(s *convert.Sequence, inUse ...asm.Register) (asm.Register, func(), error) {
	take := func(candidates ...asm.Register) (asm.Register, bool) {
		for _, reg := range candidates {
			if reg != asm.RFP && !slices.Contains(inUse, reg) && !slices.Contains(r.taken, reg) {
				r.taken = append(r.taken, reg)
				return reg, true
			}
		}
		return 0, false
	}
	if reg, ok := take(append(r.free, r.dies)...); ok {
		return reg, func() {}, nil
	}
	r.spilled += 8
	at := -r.spilled
	reg, _ := take(asm.R0, asm.R1, asm.R2, asm.R3, asm.R4, asm.R5, asm.R6)
	s.EmitAs(insn.Spill, asm.StoreMem(asm.RFP, at, reg, asm.DWord))
	return reg, func() { s.EmitAs(insn.Restore, asm.LoadMem(reg, asm.RFP, at, asm.DWord)) }, nil
}

func (r *freeRegisters) Dead(reg asm.Register) bool              { return reg == r.dies }
func (r *freeRegisters) Constant(reg asm.Register) (int64, bool) { return r.constant(reg) }

func (r *freeRegisters) Extended(reg asm.Register, bits int, signed bool) bool {
	return r.extended(reg, bits, signed)
}

package rewrite

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// Around is what a load or store of a number is made to fit into.
type Around struct {
	Order          binary.ByteOrder
	InstructionSet int    // 4, or less
	TargetSize     uint32 // of the layout's type, in bytes
	Free           []asm.Register
	Dies           asm.Register // is not read afterwards; r10 if there is none

	// What is known of a register before it is stored. They may know less than
	// there is to know, never more.
	Constant func(asm.Register) (int64, bool)
	Extended func(reg asm.Register, bits int, signed bool) bool
}

// Converted returns what a load or store of a field becomes. Of a bit-field, the
// instruction moves the bytes at its offset, which have all of it.
func (a *Around) Converted(ins asm.Instruction, local, target *reloc.Field) (Instructions, error) {
	there, err := targetImage(target, a.TargetSize, a.Order)
	if err != nil {
		return nil, err
	}
	here := localImage(local, int64(ins.Offset), width(ins), a.Order)
	s := a.sequence(target)
	isLoad := ins.OpCode.Class() == asm.LdXClass
	switch part := partOf(here); {
	case here.isPart() && isLoad:
		err = s.loadPart(ins, part, there)
	case here.isPart():
		err = s.storePart(ins, part, here, there, &around{Around: a})
	case isLoad:
		err = s.load(ins, here, there)
	default:
		_, err = s.store(ins, here, there, &around{Around: a})
	}
	return s.insns, err
}

// PickedOut returns what a load becomes together with the shifts after it, which
// leave the number of a field extended to so many bytes.
func (a *Around) PickedOut(ins asm.Instruction, local, target *reloc.Field, bytes uint32) (Instructions, error) {
	there, err := targetImage(target, a.TargetSize, a.Order)
	if err != nil {
		return nil, err
	}
	s, here := a.sequence(target), fieldImage(local, a.Order)
	err = s.load(ins, image{width: bytes, bits: here.bits, signed: here.signed, alone: true}, there)
	return s.insns, err
}

func (a *Around) sequence(target *reloc.Field) *sequence {
	return &sequence{
		insns: Instructions{}, order: a.Order, instructionSet: a.InstructionSet,
		from: int64(target.Offset), to: int64(min(target.Offset+target.Size, a.TargetSize)),
	}
}

// around hands out registers as slotRegisters does.
type around struct {
	*Around
	taken   []asm.Register
	spilled int16
}

func (a *around) spare(s *sequence, inUse ...asm.Register) (asm.Register, func(), error) {
	take := func(candidates ...asm.Register) (asm.Register, bool) {
		for _, reg := range candidates {
			if reg != asm.RFP && !slices.Contains(inUse, reg) && !slices.Contains(a.taken, reg) {
				a.taken = append(a.taken, reg)
				return reg, true
			}
		}
		return 0, false
	}
	if reg, ok := take(append(a.Free, a.Dies)...); ok {
		return reg, func() {}, nil
	}
	a.spilled += 8
	at := -a.spilled
	reg, _ := take(asm.R0, asm.R1, asm.R2, asm.R3, asm.R4, asm.R5, asm.R6)
	s.emit(asm.StoreMem(asm.RFP, at, reg, asm.DWord))
	return reg, func() { s.emit(asm.LoadMem(reg, asm.RFP, at, asm.DWord)) }, nil
}

func (a *around) dead(reg asm.Register) bool              { return reg == a.Dies }
func (a *around) constant(reg asm.Register) (int64, bool) { return a.Constant(reg) }

func (a *around) extended(reg asm.Register, bits int, signed bool) bool {
	return a.Extended(reg, bits, signed)
}

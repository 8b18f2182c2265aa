package rewrite

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// Around is what a load or store of a number is made to fit into.
type Around struct {
	Order          binary.ByteOrder
	InstructionSet int    // 4, or less
	LocalSize      uint32 // of the program's type
	TargetSize     uint32 // of the layout's
	Free           []asm.Register
	Dies           asm.Register // is not read afterwards
	Constant       func(asm.Register) (int64, bool)
	Extended       func(reg asm.Register, bits int, signed bool) bool
}

// Converted returns what a load or store of a field becomes. A bit-field is where
// the instruction has it.
func (a *Around) Converted(ins asm.Instruction, local, target *reloc.Field) (Instructions, error) {
	there, err := targetImage(target, a.TargetSize, a.Order)
	if err != nil {
		return nil, err
	}
	here := localImage(local, int64(ins.Offset), width(ins), a.Order)
	s := a.sequence(target)
	isLoad := ins.OpCode.Class() == asm.LdXClass
	switch part := partOf(here); {
	case movesPart(ins, local) && isLoad:
		err = s.loadPart(ins, part, there)
	case movesPart(ins, local):
		err = s.storePart(ins, part, here, there, &around{a, nil})
	case isLoad:
		err = s.load(ins, here, there)
	default:
		_, err = s.store(ins, here, there, &around{a, nil})
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
		from: int64(target.Offset), to: int64(min(target.Offset+target.Size, a.LocalSize, a.TargetSize)),
	}
}

type around struct {
	*Around
	taken []asm.Register
}

func (a *around) spare(*sequence, ...asm.Register) (asm.Register, func(), error) {
	reg := a.Free[len(a.taken)]
	a.taken = append(a.taken, reg)
	return reg, func() {}, nil
}

func (a *around) dead(reg asm.Register) bool              { return reg == a.Dies }
func (a *around) constant(reg asm.Register) (int64, bool) { return a.Constant(reg) }

func (a *around) extended(reg asm.Register, bits int, signed bool) bool {
	return a.Extended(reg, bits, signed)
}

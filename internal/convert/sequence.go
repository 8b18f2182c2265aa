package convert

import (
	"encoding/binary"
	"math"

	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
)

// Sequence collects instructions.
type Sequence struct {
	InstructionSet int         // 4, or less
	Items          []insn.Item // never nil: none at all is an edit too
	Order          binary.ByteOrder
	From, To       int64 // bytes of the root type that are the field's, and can be read
}

// Emit adds instructions that work on registers.
func (s *Sequence) Emit(insns ...asm.Instruction) {
	for _, ins := range insns {
		s.EmitAs(insn.Compute, ins)
	}
}

// EmitAs adds an instruction of a kind.
func (s *Sequence) EmitAs(kind insn.Kind, ins asm.Instruction) {
	s.Items = append(s.Items, insn.Item{Instruction: ins, Kind: kind})
}

// Move copies a register to another one, if it is another.
func (s *Sequence) Move(to, from asm.Register) {
	if to != from {
		s.Emit(asm.Mov.Reg(to, from))
	}
}

// swap reverses the low-order bytes of a register and clears the others. It is
// one of the conversions to big and little endian, whichever is not the
// machine's own.
func (s *Sequence) swap(reg asm.Register, width uint32) {
	if width == 1 {
		return
	}
	other := asm.BE
	if s.Order == binary.BigEndian {
		other = asm.LE
	}
	s.Emit(asm.HostTo(other, reg, sizes[width]))
}

func (s *Sequence) shiftLeft(reg asm.Register, by int)  { s.shift(asm.LSh, reg, by) }
func (s *Sequence) shiftRight(reg asm.Register, by int) { s.shift(asm.RSh, reg, by) }

func (s *Sequence) shift(op asm.ALUOp, reg asm.Register, by int) {
	if by > 0 {
		s.Emit(op.Imm(reg, int32(by)))
	}
}

// shiftIn is shift in a register of 4 or 8 bytes, of which the first clears what
// is above.
func (s *Sequence) shiftIn(op asm.ALUOp, reg asm.Register, by int, size uint32) {
	switch {
	case by <= 0:
	case size == 4:
		s.Emit(op.Imm32(reg, int32(by)))
	default:
		s.Emit(op.Imm(reg, int32(by)))
	}
}

// extend copies the highest of the low-order bits of a register to those above
// it, up to its size of 4 or 8 bytes; above 4 it clears.
func (s *Sequence) extend(reg asm.Register, bits int, size uint32) {
	op, ok := map[int]asm.ALUOp{8: asm.MovSX8, 16: asm.MovSX16, 32: asm.MovSX32}[bits]
	switch {
	case !ok || s.InstructionSet < 4 || bits >= int(size)*8:
		s.shiftIn(asm.LSh, reg, int(size)*8-bits, size)
		s.shiftIn(asm.ArSh, reg, int(size)*8-bits, size)
	case size == 4:
		s.Emit(op.Reg32(reg, reg))
	default:
		s.Emit(op.Reg(reg, reg))
	}
}

// keepLow clears all but the low-order bits of a register.
func (s *Sequence) keepLow(reg asm.Register, bits int) {
	switch {
	case bits >= 64:
	case bits == 32:
		s.Emit(asm.Mov.Reg32(reg, reg))
	case bits < 32:
		s.Emit(asm.And.Imm(reg, int32(1)<<bits-1))
	default:
		s.shiftLeft(reg, 64-bits)
		s.shiftRight(reg, 64-bits)
	}
}

// truncated returns the number that the low-order bytes of value are.
func truncated(value int64, bytes uint32, signed bool) int64 {
	unused := 64 - bytes*8
	if signed {
		return value << unused >> unused
	}
	return int64(uint64(value) << unused >> unused)
}

// SetSpan gives a load or store its offset and width.
func SetSpan(ins asm.Instruction, offset int64, width uint32) (asm.Instruction, error) {
	if offset < math.MinInt16 || offset > math.MaxInt16 {
		return ins, refuse.Because(refuse.Report, "the offset %d does not fit into the instruction %q", offset, insn.Spell(ins))
	}
	ins.Offset = int16(offset)
	ins.OpCode = ins.OpCode.SetSize(sizes[width])
	return ins, nil
}

var sizes = map[uint32]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}

// Loadable reports whether one load can move so many bytes.
func Loadable(size uint32) bool { return size == 1 || size == 2 || size == 4 || size == 8 }

package rewrite_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf/asm"
)

// machine runs instructions of the kinds that edits are made of, as a machine of
// either byte order does: Documentation/bpf/standardization/instruction-set.rst
// of the kernel.
type machine struct {
	order binary.ByteOrder
	regs  [11]uint64
	area  []byte // at areaStart
	stack []byte // below r10
}

const (
	areaStart = 0x10_0000_0000
	stackTop  = 0x20_0000_0000
	stackSize = 512
)

// run runs instructions. Jumps have to lead forward, and not beyond the end.
func (m *machine) run(insns []asm.Instruction) error {
	for i := 0; i < len(insns); i++ {
		skipped, err := m.step(insns[i])
		if err != nil {
			return fmt.Errorf("%v: %w", insns[i], err)
		}
		if i += skipped; skipped < 0 || i >= len(insns) {
			return fmt.Errorf("%v: jumps out of the sequence", insns[i-skipped])
		}
	}
	return nil
}

// step runs an instruction and returns how many to skip after it.
func (m *machine) step(ins asm.Instruction) (skipped int, err error) {
	switch class := ins.OpCode.Class(); {
	case ins.OpCode.IsDWordLoad():
		m.regs[ins.Dst] = uint64(ins.Constant)
	case class == asm.LdXClass:
		m.regs[ins.Dst], err = m.load(ins)
	case class == asm.StXClass && ins.OpCode.Mode() == asm.MemMode:
		err = m.store(ins, m.regs[ins.Src])
	case class == asm.StClass && ins.OpCode.Mode() == asm.MemMode:
		err = m.store(ins, uint64(ins.Constant))
	case class.IsALU():
		m.regs[ins.Dst], err = m.compute(ins)
	case class == asm.JumpClass && ins.OpCode.JumpOp() == asm.JEq && ins.OpCode.Source() == asm.ImmSource:
		if m.regs[ins.Dst] == uint64(ins.Constant) {
			skipped = int(ins.Offset)
		}
	case class == asm.JumpClass && ins.OpCode.JumpOp() == asm.Ja:
		skipped = int(ins.Offset)
	default:
		err = fmt.Errorf("unknown instruction")
	}
	return skipped, err
}

// bytes returns the memory that an instruction addresses.
func (m *machine) bytes(base asm.Register, ins asm.Instruction) ([]byte, error) {
	address := m.regs[base] + uint64(int64(ins.Offset))
	for _, memory := range []struct {
		start uint64
		bytes []byte
	}{{areaStart, m.area}, {stackTop - uint64(len(m.stack)), m.stack}} {
		from := address - memory.start
		to := from + uint64(ins.OpCode.Size().Sizeof())
		if from < to && to <= uint64(len(memory.bytes)) {
			return memory.bytes[from:to], nil
		}
	}
	return nil, fmt.Errorf("no memory at %#x", address)
}

func (m *machine) load(ins asm.Instruction) (uint64, error) {
	memory, err := m.bytes(ins.Src, ins)
	if err != nil {
		return 0, err
	}
	value := m.number(memory)
	switch ins.OpCode.Mode() {
	case asm.MemMode:
		return value, nil
	case asm.MemSXMode:
		return extended(value, len(memory)*8, true), nil
	}
	return 0, fmt.Errorf("unknown mode")
}

func (m *machine) store(ins asm.Instruction, value uint64) error {
	memory, err := m.bytes(ins.Dst, ins)
	for i := range memory {
		memory[m.place(i, len(memory))] = byte(value >> (8 * i))
	}
	return err
}

func (m *machine) number(memory []byte) (value uint64) {
	for i := range memory {
		value |= uint64(memory[m.place(i, len(memory))]) << (8 * i)
	}
	return value
}

// place returns where the byte is that counts for 256 to the power of i.
func (m *machine) place(i, size int) int {
	if m.order == binary.BigEndian {
		return size - 1 - i
	}
	return i
}

func (m *machine) compute(ins asm.Instruction) (uint64, error) {
	width := 64
	if ins.OpCode.Class() == asm.ALUClass {
		width = 32
	}
	a, b := m.regs[ins.Dst], uint64(ins.Constant)
	if ins.OpCode.ALUOp() == asm.Swap {
		return m.inOrder(a, ins)
	}
	if ins.OpCode.Source() == asm.RegSource {
		b = m.regs[ins.Src]
	}
	a, b = extended(a, width, false), extended(b, width, false)
	by := b % uint64(width)

	var value uint64
	switch ins.OpCode.ALUOp() {
	case asm.Mov:
		value = b
	case asm.MovSX8:
		value = extended(b, 8, true)
	case asm.MovSX16:
		value = extended(b, 16, true)
	case asm.MovSX32:
		value = extended(b, 32, true)
	case asm.Add:
		value = a + b
	case asm.Sub:
		value = a - b
	case asm.Mul:
		value = a * b
	case asm.Neg:
		value = -a
	case asm.And:
		value = a & b
	case asm.Or:
		value = a | b
	case asm.Xor:
		value = a ^ b
	case asm.LSh:
		value = a << by
	case asm.RSh:
		value = a >> by
	case asm.ArSh:
		value = uint64(int64(extended(a, width, true)) >> by)
	default:
		return 0, fmt.Errorf("unknown operation")
	}
	return extended(value, width, false), nil
}

// inOrder converts a register from the machine's byte order to another one, or
// swaps its bytes whatever the machine's is.
func (m *machine) inOrder(value uint64, ins asm.Instruction) (uint64, error) {
	width := int(ins.Constant)
	if width != 16 && width != 32 && width != 64 {
		return 0, fmt.Errorf("unknown width")
	}
	swaps := ins.OpCode.Class() == asm.ALU64Class
	if !swaps {
		swaps = (ins.OpCode.Endianness() == asm.BE) != (m.order == binary.BigEndian)
	}
	if swaps {
		return bits.ReverseBytes64(value) >> (64 - width), nil
	}
	return extended(value, width, false), nil
}

// extended returns the low-order bits of a value, sign- or zero-extended.
func extended(value uint64, width int, signed bool) uint64 {
	unused := 64 - width
	if signed {
		return uint64(int64(value<<unused) >> unused)
	}
	return value << unused >> unused
}

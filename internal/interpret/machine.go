// Package interpret runs single BPF instructions, as a machine of either byte order
// does, for tests that compare what code means.
//
// What instructions do is Documentation/bpf/standardization/instruction-set.rst of the
// kernel.
package interpret

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Machine is what instructions work on.
type Machine struct {
	Order    binary.ByteOrder
	Regs     [insn.NumRegisters]uint64
	Memories []Memory
}

// Memory is bytes at an address.
type Memory struct {
	Start uint64
	Bytes []byte
}

var errUnknown = errors.New("unknown instruction")

// Step runs an instruction, and returns whether it is a jump that is taken. It refuses
// calls, exits, loads from the packet by LD, may_goto and gotox, which are the caller's.
func (m *Machine) Step(ins insn.Instruction) (jumps bool, err error) {
	switch {
	case ins.Op == insn.LDDW:
		m.Regs[ins.Dst] = uint64(ins.Imm)
	case ins.IsALU():
		m.Regs[ins.Dst], err = m.compute(&ins)
	case ins.IsMemory():
		err = m.access(&ins)
	case ins.Compares(), ins.Jumps() && ins.Code() == insn.OpJA && !ins.IsGotox():
		return m.takes(&ins)
	default:
		err = errUnknown
	}
	return false, err
}

// operand returns what an ALU instruction or a conditional jump has on its right side.
func (m *Machine) operand(ins *insn.Instruction) uint64 {
	if ins.FromReg() {
		return m.Regs[ins.Src]
	}
	return uint64(ins.Imm)
}

func (m *Machine) takes(ins *insn.Instruction) (bool, error) {
	a, b, width := m.Regs[ins.Dst], m.operand(ins), 64
	if ins.Is32() {
		width = 32
	}
	a, b = Extended(a, width, false), Extended(b, width, false)
	signedA, signedB := int64(Extended(a, width, true)), int64(Extended(b, width, true))
	switch ins.Code() {
	case insn.OpJA:
		return true, nil
	case insn.OpJEQ:
		return a == b, nil
	case insn.OpJNE:
		return a != b, nil
	case insn.OpJSET:
		return a&b != 0, nil
	case insn.OpJGT:
		return a > b, nil
	case insn.OpJGE:
		return a >= b, nil
	case insn.OpJLT:
		return a < b, nil
	case insn.OpJLE:
		return a <= b, nil
	case insn.OpJSGT:
		return signedA > signedB, nil
	case insn.OpJSGE:
		return signedA >= signedB, nil
	case insn.OpJSLT:
		return signedA < signedB, nil
	case insn.OpJSLE:
		return signedA <= signedB, nil
	}
	return false, errUnknown
}

func (m *Machine) compute(ins *insn.Instruction) (uint64, error) {
	if ins.Code() == insn.OpEND {
		return m.reorder(ins)
	}
	width := 64
	if ins.Is32() {
		width = 32
	}
	b := m.operand(ins)
	if ins.Code() == insn.OpMOV && ins.Off != 0 { // of 1 bit it is a cast, which may do anything
		b = Extended(b, int(ins.Off), true)
	}
	a, b := Extended(m.Regs[ins.Dst], width, false), Extended(b, width, false)
	value, err := operate(ins, a, b, width)
	return Extended(value, width, false), err
}

func operate(ins *insn.Instruction, a, b uint64, width int) (uint64, error) {
	by := b % uint64(width)
	switch ins.Code() {
	case insn.OpMOV:
		return b, nil
	case insn.OpADD:
		return a + b, nil
	case insn.OpSUB:
		return a - b, nil
	case insn.OpMUL:
		return a * b, nil
	case insn.OpNEG:
		return -a, nil
	case insn.OpAND:
		return a & b, nil
	case insn.OpOR:
		return a | b, nil
	case insn.OpXOR:
		return a ^ b, nil
	case insn.OpLSH:
		return a << by, nil
	case insn.OpRSH:
		return a >> by, nil
	case insn.OpARSH:
		return uint64(int64(Extended(a, width, true)) >> by), nil
	case insn.OpDIV, insn.OpMOD:
		return divide(ins, a, b, width), nil
	}
	return 0, errUnknown
}

// divide divides, or returns what is left. A divisor of zero gives 0, and leaves the
// dividend as the rest.
func divide(ins *insn.Instruction, a, b uint64, width int) uint64 {
	isDivision, signed := ins.Code() == insn.OpDIV, ins.Off == 1
	signedA, signedB := int64(Extended(a, width, true)), int64(Extended(b, width, true))
	switch {
	case b == 0 && isDivision:
		return 0
	case b == 0:
		return a
	case isDivision && signed:
		return uint64(signedA / signedB)
	case isDivision:
		return a / b
	case signed:
		return uint64(signedA % signedB)
	}
	return a % b
}

// reorder converts a register from the machine's byte order to another one, or swaps its
// bytes whatever the machine's is.
func (m *Machine) reorder(ins *insn.Instruction) (uint64, error) {
	width := int(ins.Imm)
	if width != 16 && width != 32 && width != 64 {
		return 0, fmt.Errorf("%d bits: %w", width, errUnknown)
	}
	toBig := ins.FromReg()
	if ins.Class() == insn.ClassALU64 || toBig != (m.Order == binary.BigEndian) {
		return bits.ReverseBytes64(m.Regs[ins.Dst]) >> (64 - width), nil
	}
	return Extended(m.Regs[ins.Dst], width, false), nil
}

// access runs a load, a store or an atomic operation.
func (m *Machine) access(ins *insn.Instruction) error {
	memory, err := m.At(m.Regs[ins.Address()]+uint64(int64(ins.Off)), ins.Width())
	if err != nil {
		return err
	}
	old := m.Number(memory)
	if ins.Reads() {
		m.Regs[ins.Dst] = Extended(old, len(memory)*8, ins.Mode() == insn.ModeMEMSX)
		return nil
	}
	value := m.Regs[ins.Src]
	if ins.Class() == insn.ClassST {
		value = uint64(ins.Imm)
	}
	m.put(memory, m.exchange(ins, old, value))
	return nil
}

// exchange returns what is stored where something was before, and puts that into a
// register if the operation fetches it.
func (m *Machine) exchange(ins *insn.Instruction, old, value uint64) uint64 {
	if ins.Mode() != insn.ModeATOMIC || ins.Imm == insn.AtomicStoreRelease {
		return value
	}
	switch ins.Imm &^ insn.AtomicFetch {
	case insn.OpADD:
		value += old
	case insn.OpOR:
		value |= old
	case insn.OpAND:
		value &= old
	case insn.OpXOR:
		value ^= old
	case insn.AtomicCmpxchg &^ insn.AtomicFetch:
		if old != Extended(m.Regs[0], ins.Width()*8, false) {
			value = old
		}
	}
	if register, ok := ins.Fetches(); ok {
		m.Regs[register] = old
	}
	return value
}

// At returns the bytes at an address.
func (m *Machine) At(address uint64, size int) ([]byte, error) {
	for _, memory := range m.Memories {
		from := address - memory.Start
		if to := from + uint64(size); from < to && to <= uint64(len(memory.Bytes)) {
			return memory.Bytes[from:to], nil
		}
	}
	return nil, fmt.Errorf("no memory at %#x", address)
}

// Number returns the number that bytes are for the machine.
func (m *Machine) Number(memory []byte) (value uint64) {
	for i := range memory {
		value |= uint64(memory[m.place(i, len(memory))]) << (8 * i)
	}
	return value
}

func (m *Machine) put(memory []byte, value uint64) {
	for i := range memory {
		memory[m.place(i, len(memory))] = byte(value >> (8 * i))
	}
}

// place returns where the byte is that counts for 256 to the power of i.
func (m *Machine) place(i, size int) int {
	if m.Order == binary.BigEndian {
		return size - 1 - i
	}
	return i
}

// Extended returns the low-order bits of a value, sign- or zero-extended.
func Extended(value uint64, width int, signed bool) uint64 {
	unused := 64 - width
	if signed {
		return uint64(int64(value<<unused) >> unused)
	}
	return value << unused >> unused
}

package interpret

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Where the memory of New is.
const (
	AreaStart = 0x10_0000_0000
	StackTop  = 0x20_0000_0000
	StackSize = 512
)

// New returns a machine with an area at AreaStart, and a stack below StackTop.
func New(order binary.ByteOrder, area []byte) *Machine {
	stack := Memory{StackTop - StackSize, make([]byte, StackSize)}
	return &Machine{Order: order, Memories: []Memory{{AreaStart, area}, stack}}
}

// Run runs a sequence. Its jumps have to lead forward, over instructions of one slot, and
// not beyond the end.
func (m *Machine) Run(sequence []asm.Instruction) error {
	for i := 0; i < len(sequence); i++ {
		ins, err := insn.FromAsm(sequence[i])
		if err != nil {
			return fmt.Errorf("%v: %w", sequence[i], err)
		}
		jumps, err := m.Step(ins)
		if err != nil {
			return fmt.Errorf("%v: %w", sequence[i], err)
		}
		if jumps {
			if ins.Off < 0 || i+1+int(ins.Off) > len(sequence) {
				return fmt.Errorf("%v: jumps out of the sequence", sequence[i])
			}
			i += int(ins.Off)
		}
	}
	return nil
}

// Call runs a function that calls no other on the area and a number, and returns what it
// returns.
func (m *Machine) Call(code []byte, x uint64) (uint64, error) {
	m.Regs = [insn.NumRegisters]uint64{1: AreaStart, 2: x, insn.Frame: StackTop}
	for slot, patience := 0, 10000; patience > 0; patience-- {
		ins, err := insn.Decode(code[slot*insn.SlotSize:], m.Order)
		if err != nil {
			return 0, err
		}
		if ins.Exits() {
			return m.Regs[0], nil
		}
		jumps, err := m.Step(ins)
		if err != nil {
			return 0, fmt.Errorf("slot %d: %w", slot, err)
		}
		slot += ins.Slots()
		switch {
		case jumps && ins.IsLongJump():
			slot += int(ins.Imm)
		case jumps:
			slot += int(ins.Off)
		}
	}
	return 0, errors.New("does not end")
}

// Area and Stack return the memory of New, to be changed in place.
func (m *Machine) Area() []byte  { return m.Memories[0].Bytes }
func (m *Machine) Stack() []byte { return m.Memories[1].Bytes }

package insn

import (
	"math/bits"

	"github.com/cilium/ebpf/asm"
)

// Registers is a set of registers.
type Registers uint16

// Registers with a meaning of their own.
const (
	Frame        = 10 // r10, which nothing writes
	NumRegisters = 11

	Arguments  Registers = 0x3e  // r1 to r5: of a call
	Clobbered  Registers = 0x3f  // r0 to r5: by a call
	Accessible Registers = 0x3ff // r0 to r9
)

// Of returns the set of the given registers.
func Of(list ...asm.Register) Registers {
	var set Registers
	for _, register := range list {
		set |= 1 << register
	}
	return set
}

// Has reports whether a register is in the set.
func (s Registers) Has(register asm.Register) bool { return s&(1<<register) != 0 }

// List returns the registers in ascending order.
func (s Registers) List() []asm.Register {
	var list []asm.Register
	for rest := s; rest != 0; rest &= rest - 1 {
		list = append(list, asm.Register(bits.TrailingZeros16(uint16(rest))))
	}
	return list
}

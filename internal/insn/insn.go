// Package insn describes BPF instructions: how they are encoded, what they read and
// write, where they lead, how they are spelled, and which version of the instruction
// set they came with.
//
// The encoding is that of the kernel's
// Documentation/bpf/standardization/instruction-set.rst and include/uapi/linux/bpf.h.
package insn

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// SlotSize is the size of struct bpf_insn in bytes: opcode, registers, offset (16
// bits), immediate (32 bits).
const SlotSize = 8

// Where the offset and the immediate start in a slot.
const (
	offsetAt    = 2
	ImmediateAt = 4
)

// Instruction is one as it is encoded, unlike asm.Instruction, which makes several
// opcodes of one.
type Instruction struct {
	Op       uint8
	Dst, Src uint8
	Off      int16
	Imm      int64 // sign-extended; all 64 bits of LDDW

	// Uses and Defs are the registers that the instruction reads and writes, as far
	// as it tells itself. A call writes all that it clobbers.
	Uses, Defs Registers
}

var errUndefined = errors.New("not defined by any instruction set")

// Read reads the instruction at the start of code, which has a slot at least, whatever
// it is, without Uses and Defs. Of LDDW without a second half Imm is the first one's.
func Read(code []byte, order binary.ByteOrder) Instruction {
	ins := Instruction{
		Op:  code[0],
		Dst: code[1] & 15,
		Src: code[1] >> 4,
		Off: int16(order.Uint16(code[offsetAt:])),
		Imm: int64(int32(order.Uint32(code[ImmediateAt:]))),
	}
	if order == binary.BigEndian { // both are in bit-fields of one byte
		ins.Dst, ins.Src = ins.Src, ins.Dst
	}
	if ins.Op == LDDW && len(code) >= 2*SlotSize {
		ins.Imm = int64(order.Uint32(code[12:]))<<32 | int64(uint32(ins.Imm))
	}
	return ins
}

// Decode reads the instruction at the start of code, and refuses one that no
// instruction set defines.
func Decode(code []byte, order binary.ByteOrder) (Instruction, error) {
	if len(code) < SlotSize {
		return Instruction{}, errors.New("less than an instruction")
	}
	ins := Read(code, order)
	if ins.Op == LDDW && (len(code) < 2*SlotSize || code[SlotSize] != 0) {
		return ins, errors.New("64-bit immediate lacks its second half")
	}
	if err := ins.findOperands(); err != nil {
		return ins, err
	}
	if ins.Defs.Has(Frame) {
		return ins, errors.New("writes to r10")
	}
	return ins, nil
}

func (ins *Instruction) Class() uint8       { return ins.Op & 7 }
func (ins *Instruction) Code() uint8        { return ins.Op & 0xf0 }
func (ins *Instruction) Mode() uint8        { return ins.Op & 0xe0 }
func (ins *Instruction) FromReg() bool      { return ins.Op&8 != 0 }
func (ins *Instruction) IsSecondHalf() bool { return ins.Op == 0 } // of LDDW

// Width returns how many bytes a load or store moves.
func (ins *Instruction) Width() int { return [...]int{4, 2, 1, 8}[ins.Op>>3&3] }

// Slots returns how many the instruction takes.
func (ins *Instruction) Slots() int {
	if ins.Op == LDDW {
		return 2
	}
	return 1
}

func (ins *Instruction) IsJump() bool { return ins.Class() == ClassJMP || ins.Class() == ClassJMP32 }
func (ins *Instruction) IsALU() bool  { return ins.Class() == ClassALU || ins.Class() == ClassALU64 }
func (ins *Instruction) Is32() bool   { return ins.Class() == ClassALU || ins.Class() == ClassJMP32 }

func (ins *Instruction) IsCall() bool { return ins.Class() == ClassJMP && ins.Code() == OpCALL }
func (ins *Instruction) Exits() bool  { return ins.Class() == ClassJMP && ins.Code() == OpEXIT }

// IsHelperCall reports whether the instruction calls a helper of the kernel, by the
// number in Imm.
func (ins *Instruction) IsHelperCall() bool { return ins.IsCall() && !ins.FromReg() && ins.Src == 0 }

// IsLocalCall reports whether the instruction calls a function of the object.
func (ins *Instruction) IsLocalCall() bool {
	return ins.IsCall() && !ins.FromReg() && ins.Src == PseudoCall
}

// IsLongJump reports whether the instruction is gotol, with its distance in Imm.
func (ins *Instruction) IsLongJump() bool { return ins.Class() == ClassJMP32 && ins.Code() == OpJA }

// IsGotox reports whether the instruction jumps to an address in a register.
func (ins *Instruction) IsGotox() bool {
	return ins.Class() == ClassJMP && ins.Code() == OpJA && ins.FromReg()
}

// Jumps reports whether the instruction may lead somewhere in the function other than
// to the next one.
func (ins *Instruction) Jumps() bool { return ins.IsJump() && !ins.IsCall() && !ins.Exits() }

// FallsThrough reports whether the next instruction may come next.
func (ins *Instruction) FallsThrough() bool {
	return !ins.IsJump() || ins.IsCall() || ins.Jumps() && ins.Code() != OpJA
}

// Compares reports whether the instruction is a jump that depends on values.
func (ins *Instruction) Compares() bool {
	return ins.Jumps() && ins.Code() != OpJA && ins.Code() != OpJCOND
}

// IsMemory reports whether the instruction is a load or store through an address in a
// register.
func (ins *Instruction) IsMemory() bool { return ins.Class() >= ClassLDX && ins.Class() <= ClassSTX }

// Reads reports whether the instruction loads from the memory at Src.
func (ins *Instruction) Reads() bool {
	switch ins.Class() {
	case ClassLDX:
		return true
	case ClassSTX:
		return ins.Mode() == ModeATOMIC && ins.Imm == AtomicLoadAcquire
	}
	return false
}

// Writes reports whether the instruction changes the memory at Dst.
func (ins *Instruction) Writes() bool {
	return ins.Class() == ClassST || ins.Class() == ClassSTX && !ins.Reads()
}

// Address returns the register that a load or store finds its address in.
func (ins *Instruction) Address() uint8 {
	if ins.Reads() {
		return ins.Src
	}
	return ins.Dst
}

// Fetches returns the register that an atomic operation puts the old value in.
func (ins *Instruction) Fetches() (uint8, bool) {
	switch {
	case ins.Class() != ClassSTX || ins.Mode() != ModeATOMIC || ins.Reads():
		return 0, false
	case ins.Imm == AtomicCmpxchg:
		return 0, true
	}
	return ins.Src, ins.Imm&AtomicFetch != 0
}

// Arguments returns the registers that a call reads as arguments.
func (ins *Instruction) Arguments() Registers { return ins.Uses & Arguments }

// WrittenAfter returns which registers hold a value after the instruction, given those
// that do before. A call leaves one in r0 and none in r1 to r5.
func (ins *Instruction) WrittenAfter(written Registers) Registers {
	if ins.Defs == Clobbered {
		return written&^Clobbered | 1
	}
	return written | ins.Defs
}

func (ins *Instruction) undefined() error { return fmt.Errorf("opcode %#x: %w", ins.Op, errUndefined) }

package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf/asm"
)

// Registers is a set of registers.
type Registers uint16

const (
	frame     = 10 // r10, which nothing writes
	registers = 11

	arguments  Registers = 0x3e  // r1 to r5
	clobbered  Registers = 0x3f  // by a call
	accessible Registers = 0x3ff // r0 to r9
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

// instruction is one as it is encoded, unlike asm.Instruction, which makes
// several opcodes of one.
type instruction struct {
	op       uint8
	dst, src uint8
	off      int16
	imm      int64 // sign-extended; all 64 bits of LDDW

	uses, defs Registers
}

// The parts of an opcode, named as in the kernel's
// Documentation/bpf/standardization/instruction-set.rst.
const (
	classLD, classLDX, classST, classSTX       = 0, 1, 2, 3
	classALU, classJMP, classJMP32, classALU64 = 4, 5, 6, 7

	lddw = 0x18

	modeABS, modeIND, modeMEM, modeMEMSX, modeATOMIC = 0x20, 0x40, 0x60, 0x80, 0xc0

	opADD, opSUB, opMUL, opDIV, opOR, opAND, opLSH   = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60
	opRSH, opNEG, opMOD, opXOR, opMOV, opARSH, opEND = 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0

	opJA, opJEQ, opJGT, opJGE, opJSET, opJNE, opJSGT     = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60
	opJSGE, opCALL, opEXIT, opJLT, opJLE, opJSLT, opJSLE = 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0
	opJCOND                                              = 0xe0

	atomicFetch, atomicXchg, atomicCmpxchg = 0x01, 0xe1, 0xf1
	atomicLoadAcquire, atomicStoreRelease  = 0x100, 0x110

	pseudoCall, pseudoKfunc = 1, 2 // the src of a call
	pseudoFunc              = 4    // the src of LDDW
)

func (ins *instruction) class() uint8       { return ins.op & 7 }
func (ins *instruction) code() uint8        { return ins.op & 0xf0 }
func (ins *instruction) mode() uint8        { return ins.op & 0xe0 }
func (ins *instruction) fromReg() bool      { return ins.op&8 != 0 }
func (ins *instruction) isSecondHalf() bool { return ins.op == 0 }

// width returns how many bytes a load or store moves.
func (ins *instruction) width() int { return [...]int{4, 2, 1, 8}[ins.op>>3&3] }

func (ins *instruction) slots() int {
	if ins.op == lddw {
		return 2
	}
	return 1
}

func (ins *instruction) isJump() bool { return ins.class() == classJMP || ins.class() == classJMP32 }
func (ins *instruction) isALU() bool  { return ins.class() == classALU || ins.class() == classALU64 }
func (ins *instruction) is32() bool   { return ins.class() == classALU || ins.class() == classJMP32 }

func (ins *instruction) isCall() bool     { return ins.class() == classJMP && ins.code() == opCALL }
func (ins *instruction) exits() bool      { return ins.class() == classJMP && ins.code() == opEXIT }
func (ins *instruction) isLongJump() bool { return ins.class() == classJMP32 && ins.code() == opJA }
func (ins *instruction) isGotox() bool {
	return ins.class() == classJMP && ins.code() == opJA && ins.fromReg()
}

// jumps reports whether the instruction may lead somewhere in the function
// other than to the next one.
func (ins *instruction) jumps() bool { return ins.isJump() && !ins.isCall() && !ins.exits() }

func (ins *instruction) fallsThrough() bool {
	return !ins.isJump() || ins.isCall() || ins.jumps() && ins.code() != opJA
}

// compares reports whether the instruction is a jump that depends on values.
func (ins *instruction) compares() bool {
	return ins.jumps() && ins.code() != opJA && ins.code() != opJCOND
}

// reads reports whether the instruction loads from the memory at src.
func (ins *instruction) reads() bool {
	switch ins.class() {
	case classLDX:
		return true
	case classSTX:
		return ins.mode() == modeATOMIC && ins.imm == atomicLoadAcquire
	}
	return false
}

// writes reports whether the instruction changes the memory at dst.
func (ins *instruction) writes() bool {
	return ins.class() == classST || ins.class() == classSTX && !ins.reads()
}

// address returns the register that a load or store finds its address in.
func (ins *instruction) address() uint8 {
	if ins.reads() {
		return ins.src
	}
	return ins.dst
}

// fetches returns the register that an atomic operation puts the old value in.
func (ins *instruction) fetches() (uint8, bool) {
	switch {
	case ins.class() != classSTX || ins.mode() != modeATOMIC || ins.reads():
		return 0, false
	case ins.imm == atomicCmpxchg:
		return 0, true
	}
	return ins.src, ins.imm&atomicFetch != 0
}

var errUndefined = errors.New("not defined by any instruction set")

// decode reads the instruction at the start of code.
func decode(code []byte, order binary.ByteOrder) (instruction, error) {
	ins := instruction{
		op:  code[0],
		dst: code[1] & 15,
		src: code[1] >> 4,
		off: int16(order.Uint16(code[2:])),
		imm: int64(int32(order.Uint32(code[4:]))),
	}
	if order == binary.BigEndian {
		ins.dst, ins.src = ins.src, ins.dst
	}
	if ins.op == lddw {
		if len(code) < 2*slotSize || code[8] != 0 {
			return ins, errors.New("64-bit immediate lacks its second half")
		}
		ins.imm = int64(order.Uint32(code[12:]))<<32 | int64(uint32(ins.imm))
	}
	if err := ins.findOperands(); err != nil {
		return ins, err
	}
	if ins.defs.Has(frame) {
		return ins, errors.New("writes to r10")
	}
	return ins, nil
}

// findOperands fills in uses and defs.
func (ins *instruction) findOperands() error {
	if ins.dst > frame || ins.op != lddw && !ins.isCall() && ins.src > frame {
		return fmt.Errorf("registers %d and %d: %w", ins.dst, ins.src, errUndefined)
	}
	dst, src := Registers(1)<<ins.dst, Registers(1)<<ins.src
	switch ins.class() {
	case classLD:
		return ins.findLD(dst, src)
	case classLDX:
		ins.uses, ins.defs = src, dst
		return ins.checkMode(modeMEM, modeMEMSX)
	case classST:
		ins.uses = dst
		return ins.checkMode(modeMEM)
	case classSTX:
		return ins.findSTX(dst, src)
	case classALU, classALU64:
		return ins.findALU(dst, src)
	}
	return ins.findJump(dst, src)
}

func (ins *instruction) checkMode(allowed ...uint8) error {
	for _, mode := range allowed {
		if ins.mode() == mode {
			return nil
		}
	}
	return fmt.Errorf("opcode %#x: %w", ins.op, errUndefined)
}

func (ins *instruction) findLD(dst, src Registers) error {
	if ins.op == lddw {
		ins.defs = dst
		return nil
	}
	ins.uses, ins.defs = Of(asm.R6), clobbered
	if ins.mode() == modeIND {
		ins.uses |= src
	}
	return ins.checkMode(modeABS, modeIND)
}

func (ins *instruction) findSTX(dst, src Registers) error {
	ins.uses = dst | src
	if ins.mode() != modeATOMIC {
		return ins.checkMode(modeMEM)
	}
	switch ins.imm {
	case atomicLoadAcquire:
		ins.uses, ins.defs = src, dst
	case atomicStoreRelease, opADD, opOR, opAND, opXOR:
	case opADD | atomicFetch, opOR | atomicFetch, opAND | atomicFetch, opXOR | atomicFetch, atomicXchg:
		ins.defs = src
	case atomicCmpxchg:
		ins.uses |= Of(asm.R0)
		ins.defs = Of(asm.R0)
	default:
		return fmt.Errorf("atomic operation %#x: %w", ins.imm, errUndefined)
	}
	return nil
}

func (ins *instruction) findALU(dst, src Registers) error {
	if ins.code() > opEND {
		return fmt.Errorf("opcode %#x: %w", ins.op, errUndefined)
	}
	ins.defs = dst
	if ins.code() != opMOV {
		ins.uses = dst
	}
	if ins.fromReg() && ins.code() != opEND && ins.code() != opNEG {
		ins.uses |= src
	}
	return nil
}

func (ins *instruction) findJump(dst, src Registers) error {
	switch code := ins.code(); {
	case code > opJCOND, ins.class() == classJMP32 && (code == opCALL || code == opEXIT || code == opJCOND):
		return fmt.Errorf("opcode %#x: %w", ins.op, errUndefined)
	case ins.isGotox():
		ins.uses = dst
	case code == opJA && ins.fromReg():
		return fmt.Errorf("opcode %#x: %w", ins.op, errUndefined)
	case code == opCALL:
		ins.uses, ins.defs = ins.callArguments(), clobbered
	case code == opEXIT:
		ins.uses = Of(asm.R0)
	case code == opJA, code == opJCOND:
	case ins.fromReg():
		ins.uses = dst | src
	default:
		ins.uses = dst
	}
	return nil
}

// arguments returns the registers that a call reads.
func (ins *instruction) arguments() Registers { return ins.uses & arguments }

// callArguments returns the registers that a call may read, as far as the instruction
// tells.
func (ins *instruction) callArguments() Registers {
	if ins.fromReg() {
		return arguments | 1<<ins.dst
	}
	if ins.src == 0 && ins.imm >= 0 && ins.imm < int64(len(helperArguments)) {
		return (1<<(helperArguments[ins.imm]+1) - 1) & arguments
	}
	return arguments
}

package insn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// ToAsm reads the instruction at the start of code, and refuses one of which
// asm.Instruction does not keep every bit.
func ToAsm(code []byte, order binary.ByteOrder) (asm.Instruction, error) {
	if len(code) >= SlotSize {
		if ins := asAsm(Read(code, order)); isPlain(ins) {
			return ins, nil
		}
	}
	var ins asm.Instruction
	if err := ins.Unmarshal(bytes.NewReader(code), order, "linux"); err != nil {
		return ins, err
	}
	again, err := Append(make([]byte, 0, 2*SlotSize), ins, order)
	if err != nil {
		return ins, err
	}
	if !bytes.HasPrefix(code, again) {
		return ins, errors.New("instruction has bits set that no instruction set defines")
	}
	return ins, nil
}

// asAsm returns an instruction with each part where asm.Instruction has it.
func asAsm(ins Instruction) asm.Instruction {
	return asm.Instruction{
		OpCode:   asm.OpCode(ins.Op),
		Dst:      asm.Register(ins.Dst),
		Src:      asm.Register(ins.Src),
		Offset:   ins.Off,
		Constant: ins.Imm,
	}
}

// isPlain reports whether asm.Instruction is what is encoded, part by part. Of LDDW,
// calls, atomic operations, and arithmetic of which the offset says more it is not.
func isPlain(ins asm.Instruction) bool {
	if ins.OpCode > math.MaxUint8 || ins.Dst > Frame || ins.Src > Frame {
		return false
	}
	switch ins.OpCode.Class() {
	case asm.LdXClass, asm.StClass:
		return true
	case asm.StXClass:
		return ins.OpCode.Mode() != asm.AtomicMode
	case asm.ALUClass, asm.ALU64Class:
		return ins.Offset == 0
	case asm.JumpClass, asm.Jump32Class:
		return ins.OpCode.JumpOp() != asm.Call
	}
	return false
}

// FromAsm returns the instruction as it is encoded. Of one that can't be, or that no
// instruction set defines, it is an error.
func FromAsm(ins asm.Instruction) (Instruction, error) {
	code, err := Append(make([]byte, 0, 2*SlotSize), ins, binary.LittleEndian)
	if err != nil {
		return Instruction{}, err
	}
	return Decode(code, binary.LittleEndian)
}

// Mentions reports whether an instruction reads or writes a register. One that is not
// understood may.
func Mentions(ins asm.Instruction, register asm.Register) bool {
	encoded, err := FromAsm(ins)
	return err != nil || (encoded.Uses | encoded.Defs).Has(register)
}

// Append appends the bytes of an instruction to code: a slot, or two for LDDW.
func Append(code []byte, ins asm.Instruction, order binary.ByteOrder) ([]byte, error) {
	// Marshal encodes calls of Linux's helpers on Linux only: objects can be rewritten
	// anywhere.
	if ins.IsBuiltinCall() || isPlain(ins) {
		return appendSlot(code, ins, order), nil
	}
	if operation := ins.OpCode.AtomicOp(); operation != asm.InvalidAtomic { // Marshal wants it in both places
		ins.Constant = int64(operation >> 8)
	}
	buffer := bytes.NewBuffer(code)
	_, err := ins.Marshal(buffer, order)
	return buffer.Bytes(), err
}

// appendSlot appends an instruction that is encoded as asm.Instruction has it.
func appendSlot(code []byte, ins asm.Instruction, order binary.ByteOrder) []byte {
	registers := byte(ins.Src)<<4 | byte(ins.Dst)
	if order == binary.BigEndian {
		registers = registers<<4 | registers>>4
	}
	start := len(code)
	code = append(code, byte(ins.OpCode), registers, 0, 0, 0, 0, 0, 0)
	order.PutUint16(code[start+offsetAt:], uint16(ins.Offset))
	order.PutUint32(code[start+ImmediateAt:], uint32(ins.Constant))
	return code
}

// Poison returns an instruction that the verifier refuses if it can be reached: a call
// of a helper that does not exist, the same that libbpf uses.
func Poison() asm.Instruction { return asm.BuiltinFunc(btf.COREBadRelocationSentinel).Call() }

// IsPoison reports whether an instruction is Poison.
func IsPoison(ins asm.Instruction) bool {
	return ins.IsBuiltinCall() && ins.Constant == btf.COREBadRelocationSentinel
}

// Bytes returns how many bytes a load or store moves.
func Bytes(ins asm.Instruction) uint32 { return uint32(ins.OpCode.Size().Sizeof()) }

// IsMemory reports whether an instruction addresses memory by a register and an
// offset.
func IsMemory(ins asm.Instruction) bool {
	switch ins.OpCode.Class() {
	case asm.LdXClass, asm.StClass, asm.StXClass:
		return true
	}
	return false
}

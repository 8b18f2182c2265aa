package insn

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// ToAsm reads the instruction at the start of code, and refuses one of which
// asm.Instruction does not keep every bit.
func ToAsm(code []byte, order binary.ByteOrder) (asm.Instruction, error) {
	var ins asm.Instruction
	if err := ins.Unmarshal(bytes.NewReader(code), order, "linux"); err != nil {
		return ins, err
	}
	again, err := Encode(ins, order)
	if err != nil {
		return ins, err
	}
	if !bytes.HasPrefix(code, again) {
		return ins, errors.New("instruction has bits set that no instruction set defines")
	}
	return ins, nil
}

// FromAsm returns the instruction as it is encoded. Of one that can't be, or that no
// instruction set defines, it is an error.
func FromAsm(ins asm.Instruction) (Instruction, error) {
	code, err := Encode(ins, binary.LittleEndian)
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

// Encode returns the bytes of an instruction: a slot, or two for LDDW.
func Encode(ins asm.Instruction, order binary.ByteOrder) ([]byte, error) {
	if ins.IsBuiltinCall() {
		return encodeHelperCall(ins, order), nil
	}
	if operation := ins.OpCode.AtomicOp(); operation != asm.InvalidAtomic { // Marshal wants it in both places
		ins.Constant = int64(operation >> 8)
	}
	code := bytes.NewBuffer(make([]byte, 0, 2*SlotSize))
	_, err := ins.Marshal(code, order)
	return code.Bytes(), err
}

// encodeHelperCall does without Marshal, which encodes calls of Linux's helpers on
// Linux only: objects can be rewritten anywhere.
func encodeHelperCall(ins asm.Instruction, order binary.ByteOrder) []byte {
	code := make([]byte, SlotSize)
	code[0] = byte(ins.OpCode)
	code[1] = byte(ins.Dst)
	if order == binary.BigEndian {
		code[1] <<= 4
	}
	order.PutUint16(code[2:], uint16(ins.Offset))
	order.PutUint32(code[4:], uint32(ins.Constant))
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

package rewrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

// Instructions are what an edit replaces or puts in its place.
type Instructions []asm.Instruction

// decode reads the instruction at the start of code.
func decode(code []byte, order binary.ByteOrder) (asm.Instruction, error) {
	var ins asm.Instruction
	if err := ins.Unmarshal(bytes.NewReader(code), order, "linux"); err != nil {
		return ins, err
	}
	again, err := encode(ins, order)
	if err != nil {
		return ins, err
	}
	if !bytes.HasPrefix(code, again) {
		return ins, errors.New("instruction has bits set that no instruction set defines")
	}
	return ins, nil
}

// encode returns the bytes of an instruction: 8, or 16 for LDDW.
func encode(ins asm.Instruction, order binary.ByteOrder) ([]byte, error) {
	if isPoison(ins) {
		return encodePoison(order), nil
	}
	var code bytes.Buffer
	_, err := ins.Marshal(&code, order)
	return code.Bytes(), err
}

// poison returns instructions that the verifier refuses if they can be reached:
// calls of a helper that does not exist, the same that libbpf uses.
func poison(slots int) Instructions {
	call := asm.BuiltinFunc(btf.COREBadRelocationSentinel).Call()
	out := make(Instructions, slots)
	for i := range out {
		out[i] = call
	}
	return out
}

func isPoison(ins asm.Instruction) bool {
	return ins.OpCode == asm.Call.Op(asm.ImmSource) && ins.Src == asm.R0 && ins.Constant == btf.COREBadRelocationSentinel
}

// encodePoison does without Marshal, which encodes calls of Linux's helpers on
// Linux only: objects can be rewritten anywhere.
func encodePoison(order binary.ByteOrder) []byte {
	code := make([]byte, reloc.InstructionSize)
	code[0] = byte(asm.Call.Op(asm.ImmSource))
	order.PutUint32(code[4:], btf.COREBadRelocationSentinel)
	return code
}

// String spells the instructions as llvm-objdump and bpftool do.
func (insns Instructions) String() string {
	spelled := make([]string, len(insns))
	for i, ins := range insns {
		spelled[i] = spell(ins)
	}
	return strings.Join(spelled, "; ")
}

// MarshalText returns the same as String.
func (insns Instructions) MarshalText() ([]byte, error) { return []byte(insns.String()), nil }

// spell covers the instructions that records can sit on. Others are spelled as
// package asm does.
func spell(ins asm.Instruction) string {
	class := ins.OpCode.Class()
	switch {
	case isPoison(ins):
		return fmt.Sprintf("call %#x", btf.COREBadRelocationSentinel)
	case ins.OpCode.IsDWordLoad():
		return fmt.Sprintf("%s = %#x ll", ins.Dst, uint64(ins.Constant))
	case class == asm.LdXClass && ins.OpCode.Mode() == asm.MemMode:
		return fmt.Sprintf("%s = *(u%d *)(%s)", ins.Dst, width(ins)*8, address(ins.Src, ins.Offset))
	case class == asm.LdXClass && ins.OpCode.Mode() == asm.MemSXMode:
		return fmt.Sprintf("%s = *(s%d *)(%s)", ins.Dst, width(ins)*8, address(ins.Src, ins.Offset))
	case class == asm.StXClass && ins.OpCode.Mode() == asm.MemMode:
		return fmt.Sprintf("*(u%d *)(%s) = %s", width(ins)*8, address(ins.Dst, ins.Offset), ins.Src)
	case class == asm.StClass && ins.OpCode.Mode() == asm.MemMode:
		return fmt.Sprintf("*(u%d *)(%s) = %d", width(ins)*8, address(ins.Dst, ins.Offset), ins.Constant)
	case class.IsALU() && ins.OpCode.Source() == asm.ImmSource:
		return spellALU(ins)
	}
	return fmt.Sprint(ins)
}

func address(base asm.Register, offset int16) string {
	if offset < 0 {
		return fmt.Sprintf("%s - %d", base, -int(offset))
	}
	return fmt.Sprintf("%s + %d", base, offset)
}

var aluOperators = map[asm.ALUOp]string{
	asm.Mov: "=", asm.Add: "+=", asm.Sub: "-=", asm.Mul: "*=", asm.Or: "|=", asm.And: "&=", asm.Xor: "^=",
	asm.LSh: "<<=", asm.RSh: ">>=", asm.ArSh: "s>>=",
}

func spellALU(ins asm.Instruction) string {
	operator, ok := aluOperators[ins.OpCode.ALUOp()]
	if !ok {
		return fmt.Sprint(ins)
	}
	register := ins.Dst.String()
	if ins.OpCode.Class() == asm.ALUClass {
		register = "w" + strings.TrimPrefix(register, "r")
	}
	return fmt.Sprintf("%s %s %d", register, operator, ins.Constant)
}

// width returns how many bytes a load or store moves.
func width(ins asm.Instruction) uint32 { return uint32(ins.OpCode.Size().Sizeof()) }

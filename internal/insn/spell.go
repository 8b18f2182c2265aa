package insn

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Spell spells an instruction as llvm-objdump and bpftool do. It covers those that
// records can sit on, and those that edits are made of. Others are spelled as package asm
// does.
func Spell(ins asm.Instruction) string {
	class, mode := ins.OpCode.Class(), ins.OpCode.Mode()
	switch {
	case IsPoison(ins):
		return fmt.Sprintf("call %#x", btf.COREBadRelocationSentinel)
	case ins.OpCode.IsDWordLoad():
		return fmt.Sprintf("%s = %#x ll", ins.Dst, uint64(ins.Constant))
	case class == asm.LdXClass && mode == asm.MemMode:
		return fmt.Sprintf("%s = *(u%d *)(%s)", ins.Dst, Bytes(ins)*8, address(ins.Src, ins.Offset))
	case class == asm.LdXClass && mode == asm.MemSXMode:
		return fmt.Sprintf("%s = *(s%d *)(%s)", ins.Dst, Bytes(ins)*8, address(ins.Src, ins.Offset))
	case class == asm.StXClass && mode == asm.MemMode:
		return fmt.Sprintf("*(u%d *)(%s) = %s", Bytes(ins)*8, address(ins.Dst, ins.Offset), ins.Src)
	case class == asm.StXClass && mode == asm.AtomicMode:
		return spellAtomic(ins)
	case class == asm.StClass && mode == asm.MemMode:
		return fmt.Sprintf("*(u%d *)(%s) = %d", Bytes(ins)*8, address(ins.Dst, ins.Offset), ins.Constant)
	case class.IsJump():
		return spellJump(ins)
	case class.IsALU():
		return spellALU(ins)
	}
	return fmt.Sprint(ins)
}

var comparisons = map[asm.JumpOp]string{
	asm.JEq: "==", asm.JNE: "!=", asm.JGT: ">", asm.JGE: ">=", asm.JLT: "<", asm.JLE: "<=",
	asm.JSGT: "s>", asm.JSGE: "s>=", asm.JSLT: "s<", asm.JSLE: "s<=", asm.JSet: "&",
}

func spellJump(ins asm.Instruction) string {
	operator, compares := comparisons[ins.OpCode.JumpOp()]
	is32 := ins.OpCode.Class() == asm.Jump32Class
	switch {
	case compares && ins.OpCode.Source() == asm.ImmSource:
		return fmt.Sprintf("if %s %s %d goto %+d", register(ins.Dst, is32), operator, ins.Constant, ins.Offset)
	case compares:
		return fmt.Sprintf("if %s %s %s goto %+d", register(ins.Dst, is32), operator, register(ins.Src, is32), ins.Offset)
	case ins.OpCode.JumpOp() == asm.Ja && !is32:
		return fmt.Sprintf("goto %+d", ins.Offset)
	case ins.IsKfuncCall():
		return fmt.Sprintf("call kernel-function %d", ins.Constant)
	case ins.IsBuiltinCall():
		return fmt.Sprintf("call %d", ins.Constant)
	}
	return fmt.Sprint(ins)
}

// register returns the name of a register, or of its lower half.
func register(reg asm.Register, half bool) string {
	if half {
		return fmt.Sprintf("w%d", uint8(reg))
	}
	return fmt.Sprintf("r%d", uint8(reg))
}

func address(base asm.Register, offset int16) string {
	if offset < 0 {
		return fmt.Sprintf("r%d - %d", uint8(base), -int(offset))
	}
	return fmt.Sprintf("r%d + %d", uint8(base), offset)
}

var aluOperators = map[asm.ALUOp]string{
	asm.Mov: "=", asm.Add: "+=", asm.Sub: "-=", asm.Mul: "*=", asm.Or: "|=", asm.And: "&=", asm.Xor: "^=",
	asm.LSh: "<<=", asm.RSh: ">>=", asm.ArSh: "s>>=",
}

var byteOrders = map[asm.Endianness]string{asm.BE: "be", asm.LE: "le"}

func spellALU(ins asm.Instruction) string {
	operator, ok := aluOperators[ins.OpCode.ALUOp()]
	name := func(reg asm.Register) string { return register(reg, ins.OpCode.Class() == asm.ALUClass) }
	switch {
	case ins.OpCode.ALUOp() == asm.Swap && ins.OpCode.Class() == asm.ALUClass:
		return fmt.Sprintf("%s = %s%d %[1]s", ins.Dst, byteOrders[ins.OpCode.Endianness()], ins.Constant)
	case SignExtensions[ins.OpCode.ALUOp()] > 0:
		return fmt.Sprintf("%s = (s%d)%s", name(ins.Dst), SignExtensions[ins.OpCode.ALUOp()], name(ins.Src))
	case !ok:
		return fmt.Sprint(ins)
	case ins.OpCode.Source() == asm.ImmSource:
		return fmt.Sprintf("%s %s %d", name(ins.Dst), operator, ins.Constant)
	}
	return fmt.Sprintf("%s %s %s", name(ins.Dst), operator, name(ins.Src))
}

var atomicOperators = map[asm.AtomicOp]string{
	asm.AddAtomic: "+=", asm.AndAtomic: "&=", asm.OrAtomic: "|=", asm.XorAtomic: "^=",
}

var fetches = map[asm.AtomicOp]string{
	asm.FetchAdd: "add", asm.FetchAnd: "and", asm.FetchOr: "or", asm.FetchXor: "xor",
}

func spellAtomic(ins asm.Instruction) string {
	kind, exchanges := "r", "_64"
	if Bytes(ins) == 4 {
		kind, exchanges = "w", "32_32"
	}
	op, bits, place := ins.OpCode.AtomicOp(), Bytes(ins)*8, address(ins.Dst, ins.Offset)
	reg := kind + strings.TrimPrefix(ins.Src.String(), "r")
	switch {
	case atomicOperators[op] != "":
		return fmt.Sprintf("lock *(u%d *)(%s) %s %s", bits, place, atomicOperators[op], ins.Src)
	case fetches[op] != "":
		return fmt.Sprintf("%s = atomic_fetch_%s((u%d *)(%s), %[1]s)", reg, fetches[op], bits, place)
	case op == asm.Xchg:
		return fmt.Sprintf("%s = xchg%s(%s, %[1]s)", reg, exchanges, place)
	case op == asm.CmpXchg:
		return fmt.Sprintf("%s0 = cmpxchg%s(%s, %[1]s0, %[4]s)", kind, exchanges, place, reg)
	}
	return fmt.Sprint(ins)
}

// SignExtensions are the moves of a number of so many bits.
var SignExtensions = map[asm.ALUOp]int{asm.MovSX8: 8, asm.MovSX16: 16, asm.MovSX32: 32}

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
	code := bytes.NewBuffer(make([]byte, 0, 2*reloc.InstructionSize))
	_, err := ins.Marshal(code, order)
	return code.Bytes(), err
}

func (insns Instructions) encode(order binary.ByteOrder) ([]byte, error) {
	out := make([]byte, 0, insns.Slots()*reloc.InstructionSize)
	for _, ins := range insns {
		encoded, err := encode(ins, order)
		if err != nil {
			return nil, err
		}
		out = append(out, encoded...)
	}
	return out, nil
}

// Slots returns how many slots of reloc.InstructionSize the instructions take.
func (insns Instructions) Slots() int {
	slots := 0
	for _, ins := range insns {
		slots += int(ins.Width())
	}
	return slots
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

// String spells the instructions as llvm-objdump and bpftool do; "removed" if
// none are left.
func (insns Instructions) String() string {
	if len(insns) == 0 {
		return "removed"
	}
	spelled := make([]string, len(insns))
	for i, ins := range insns {
		spelled[i] = spell(ins)
	}
	return strings.Join(spelled, "; ")
}

// MarshalText returns the same as String, and nothing for no instructions.
func (insns Instructions) MarshalText() ([]byte, error) {
	if len(insns) == 0 {
		return nil, nil
	}
	return []byte(insns.String()), nil
}

// spell covers the instructions that records can sit on, and those that edits
// are made of. Others are spelled as package asm does.
func spell(ins asm.Instruction) string {
	class, mode := ins.OpCode.Class(), ins.OpCode.Mode()
	switch {
	case isPoison(ins):
		return fmt.Sprintf("call %#x", btf.COREBadRelocationSentinel)
	case ins.OpCode.IsDWordLoad():
		return fmt.Sprintf("%s = %#x ll", ins.Dst, uint64(ins.Constant))
	case class == asm.LdXClass && mode == asm.MemMode:
		return fmt.Sprintf("%s = *(u%d *)(%s)", ins.Dst, width(ins)*8, address(ins.Src, ins.Offset))
	case class == asm.LdXClass && mode == asm.MemSXMode:
		return fmt.Sprintf("%s = *(s%d *)(%s)", ins.Dst, width(ins)*8, address(ins.Src, ins.Offset))
	case class == asm.StXClass && mode == asm.MemMode:
		return fmt.Sprintf("*(u%d *)(%s) = %s", width(ins)*8, address(ins.Dst, ins.Offset), ins.Src)
	case class == asm.StXClass && mode == asm.AtomicMode:
		return spellAtomic(ins)
	case class == asm.StClass && mode == asm.MemMode:
		return fmt.Sprintf("*(u%d *)(%s) = %d", width(ins)*8, address(ins.Dst, ins.Offset), ins.Constant)
	case class == asm.JumpClass && ins.OpCode.JumpOp() == asm.JEq && ins.OpCode.Source() == asm.ImmSource:
		return fmt.Sprintf("if %s == %d goto +%d", ins.Dst, ins.Constant, ins.Offset)
	case class.IsALU():
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

var byteOrders = map[asm.Endianness]string{asm.BE: "be", asm.LE: "le"}

func spellALU(ins asm.Instruction) string {
	operator, ok := aluOperators[ins.OpCode.ALUOp()]
	name := func(reg asm.Register) string {
		if ins.OpCode.Class() == asm.ALUClass {
			return "w" + strings.TrimPrefix(reg.String(), "r")
		}
		return reg.String()
	}
	switch {
	case ins.OpCode.ALUOp() == asm.Swap && ins.OpCode.Class() == asm.ALUClass:
		return fmt.Sprintf("%s = %s%d %[1]s", ins.Dst, byteOrders[ins.OpCode.Endianness()], ins.Constant)
	case signExtensions[ins.OpCode.ALUOp()] > 0:
		return fmt.Sprintf("%s = (s%d)%s", name(ins.Dst), signExtensions[ins.OpCode.ALUOp()], name(ins.Src))
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
	if width(ins) == 4 {
		kind, exchanges = "w", "32_32"
	}
	op, bits, place := ins.OpCode.AtomicOp(), width(ins)*8, address(ins.Dst, ins.Offset)
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

// width returns how many bytes a load or store moves.
func width(ins asm.Instruction) uint32 { return uint32(ins.OpCode.Size().Sizeof()) }

// instructionSet returns the version of the instruction set that the object
// needs, as far as it makes a difference: 4 if it has instructions that came
// with it, 3 otherwise.
func (p *planner) instructionSet() int {
	if p.version == 0 {
		p.version = 3
		for _, section := range p.object.Sections {
			if holdsCode(section) && needsVersion4(section.Data, p.order) {
				p.version = 4
			}
		}
	}
	return p.version
}

// needsVersion4 reports whether code has an instruction that came with version
// 4 of the instruction set: sign-extending loads and moves, unconditional byte
// swaps, long jumps, signed division
// (Documentation/bpf/standardization/instruction-set.rst).
func needsVersion4(code []byte, order binary.ByteOrder) bool {
	const (
		loadSigned, loadMask = 0x81, 0xe7
		mov64, mov32         = 0xbf, 0xbc
		byteSwap             = 0xd7
		longJump             = 0x06
		loadDWord            = 0x18
	)
	for ; len(code) >= reloc.InstructionSize; code = code[reloc.InstructionSize:] {
		op, offset := code[0], order.Uint16(code[2:])
		isALU := op&7 == byte(asm.ALUClass) || op&7 == byte(asm.ALU64Class)
		switch {
		case op&loadMask == loadSigned, op == byteSwap, op == longJump:
			return true
		case (op == mov64 || op == mov32) && offset != 0:
			return true
		case isALU && offset == 1 && (op&0xf0 == byte(asm.Div) || op&0xf0 == byte(asm.Mod)):
			return true
		case op == loadDWord && len(code) >= 2*reloc.InstructionSize:
			code = code[reloc.InstructionSize:]
		}
	}
	return false
}

// mentions reports whether an instruction reads or writes a register.
func mentions(ins asm.Instruction, reg asm.Register) bool {
	class := ins.OpCode.Class()
	switch {
	case class.IsJump() && ins.OpCode.JumpOp() == asm.Call:
		return reg <= asm.R5 || ins.OpCode.Source() == asm.RegSource && ins.Dst == reg
	case class.IsJump() && ins.OpCode.JumpOp() == asm.Exit:
		return reg == asm.R0
	case class.IsJump() && ins.OpCode.JumpOp() == asm.Ja: // gotox reads one
		return ins.OpCode.Source() == asm.RegSource && ins.Dst == reg
	case class == asm.LdClass && !ins.OpCode.IsDWordLoad(): // of the packet, which is a call
		return reg <= asm.R6 || ins.OpCode.Mode() == asm.IndMode && ins.Src == reg
	case class == asm.StXClass && ins.OpCode.Mode() == asm.AtomicMode && reg == asm.R0: // may be a compare and exchange
		return true
	case ins.Dst == reg:
		return true
	}
	readsSource := class == asm.LdXClass || class == asm.StXClass || ins.OpCode.Source() == asm.RegSource
	return readsSource && ins.Src == reg
}

// signExtensions are the moves of a number of so many bits.
var signExtensions = map[asm.ALUOp]int{asm.MovSX8: 8, asm.MovSX16: 16, asm.MovSX32: 32}

func ones(n int) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<max(n, 0) - 1
}

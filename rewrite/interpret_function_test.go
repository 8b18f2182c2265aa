package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// call runs a function that calls no other, on an area and a number, and returns
// what it returns.
func (m *machine) call(code []byte, x uint64) (uint64, error) {
	m.regs = [11]uint64{asm.R1: areaStart, asm.R2: x, asm.RFP: stackTop}
	for slot, patience := 0, 10000; ; patience-- {
		var ins asm.Instruction
		if err := ins.Unmarshal(bytes.NewReader(code[slot*8:]), m.order, "linux"); err != nil {
			return 0, err
		}
		if patience == 0 {
			return 0, fmt.Errorf("does not end")
		}
		slot += int(ins.Width())
		switch class := ins.OpCode.Class(); {
		case !class.IsJump():
			if _, err := m.step(ins); err != nil {
				return 0, fmt.Errorf("%v: %w", ins, err)
			}
		case ins.OpCode.JumpOp() == asm.Exit:
			return m.regs[asm.R0], nil
		case class == asm.Jump32Class && ins.OpCode.JumpOp() == asm.Ja: // gotol
			slot += int(ins.Constant)
		case ins.OpCode.JumpOp() == asm.Call:
			return 0, fmt.Errorf("%v: calls", ins)
		case m.jumps(ins):
			slot += int(ins.Offset)
		}
	}
}

// jumps reports whether a conditional jump leads to its target.
func (m *machine) jumps(ins asm.Instruction) bool {
	width := 64
	if ins.OpCode.Class() == asm.Jump32Class {
		width = 32
	}
	b := uint64(ins.Constant)
	if ins.OpCode.Source() == asm.RegSource {
		b = m.regs[ins.Src]
	}
	a := extended(m.regs[ins.Dst], width, false)
	b = extended(b, width, false)
	signedA, signedB := int64(extended(a, width, true)), int64(extended(b, width, true))
	switch ins.OpCode.JumpOp() {
	case asm.Ja:
		return true
	case asm.JEq:
		return a == b
	case asm.JNE:
		return a != b
	case asm.JSet:
		return a&b != 0
	case asm.JGT:
		return a > b
	case asm.JGE:
		return a >= b
	case asm.JLT:
		return a < b
	case asm.JLE:
		return a <= b
	case asm.JSGT:
		return signedA > signedB
	case asm.JSGE:
		return signedA >= signedB
	case asm.JSLT:
		return signedA < signedB
	case asm.JSLE:
		return signedA <= signedB
	}
	panic(fmt.Sprintf("unknown jump %v", ins))
}

// byteOrderOf returns the byte order of a clang target: "el" or "eb".
func byteOrderOf(endian string) binary.ByteOrder {
	if endian == "eb" {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

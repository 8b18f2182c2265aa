package rewrite

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// registerBits says for each bit of a register which of the bits it is that the register
// held before some instructions; none means that it is zero.
type registerBits [64]int

const none = -1

// bitsOf returns those of a register that holds so many, and zeros above.
func bitsOf(size int) *registerBits {
	var bits registerBits
	for i := range bits {
		bits[i] = i
		if i >= size {
			bits[i] = none
		}
	}
	return &bits
}

// step follows one instruction on the register. It returns false if that does
// more than move, clear and copy bits.
//
// Its operand is a constant, unless it is the register itself.
func (b *registerBits) step(ins asm.Instruction, constant int64) bool {
	size, operand := 64, int(constant)
	if ins.OpCode.Class() == asm.ALUClass {
		size = 32
	}
	isSelf := ins.OpCode.Source() == asm.RegSource && ins.Src == ins.Dst
	switch op := ins.OpCode.ALUOp(); {
	case !ins.OpCode.Class().IsALU():
		return false
	case op == asm.Mov && isSelf:
	case insn.SignExtensions[op] > 0 && isSelf:
		from := insn.SignExtensions[op]
		b.fill(from, size, b[from-1])
	case isSelf:
		return false
	case op == asm.LSh && operand >= 0 && operand < size:
		copy(b[operand:size], b[:size-operand])
		b.fill(0, operand, none)
	case (op == asm.RSh || op == asm.ArSh) && operand >= 0 && operand < size:
		sign := none
		if op == asm.ArSh {
			sign = b[size-1]
		}
		copy(b[:size-operand], b[operand:size])
		b.fill(size-operand, size, sign)
	case op == asm.And:
		for i := range size {
			if operand>>i&1 == 0 {
				b[i] = none
			}
		}
	default:
		return false
	}
	b.fill(size, 64, none)
	return true
}

func (b *registerBits) fill(from, to, with int) {
	for i := from; i < to; i++ {
		b[i] = with
	}
}

// holdAlone returns how many bytes of the register are the number of an image,
// extended, with zeros above; 0 if that is not what it holds.
func (b *registerBits) holdAlone(img convert.Image) uint32 {
	sign := none
	if img.Signed {
		sign = img.Shift + img.Bits - 1
	}
	for _, size := range []int{32, 64} {
		expected := registerBits{}
		expected.fill(size, 64, none)
		expected.fill(min(img.Bits, size), size, sign)
		for i := range min(img.Bits, size) {
			expected[i] = img.Shift + i
		}
		if img.Bits <= size && *b == expected {
			return uint32(size / 8)
		}
	}
	return 0
}

// shiftOf returns where the lowest bit of an image's number was before, if all of its bits
// were beside each other as they are now.
func (b *registerBits) shiftOf(img convert.Image) (shift int, ok bool) {
	if img.Shift < 0 || img.Shift+img.Bits > len(b) || b[img.Shift] == none {
		return 0, false
	}
	shift = b[img.Shift]
	for i := range img.Bits {
		if b[img.Shift+i] != shift+i {
			return 0, false
		}
	}
	return shift, true
}

package flow

import (
	"math/bits"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// number is what is known of the bits of a 64-bit value, after the kernel's
// kernel/bpf/tnum.c: the bits in mask may be anything, the others are those of
// value.
type number struct{ value, mask uint64 }

var anything = number{0, ^uint64(0)}

func constant(value uint64) number { return number{value, 0} }

// below returns any number of that many bytes.
func below(bytes int) number { return number{0, lowBits(bytes * 8)} }

func lowBits(n int) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<n - 1
}

func (n number) isConstant() bool { return n.mask == 0 }
func (n number) max() uint64      { return n.value | n.mask }
func (n number) low(bytes int) number {
	keep := lowBits(bytes * 8)
	return number{n.value & keep, n.mask & keep}
}

// or returns what is known of a number that is one of two.
func (n number) or(other number) number {
	mask := n.mask | other.mask | (n.value ^ other.value)
	return number{n.value &^ mask, mask}
}

func (n number) add(by number) number {
	sums := n.mask + by.mask
	value := n.value + by.value
	mask := (sums + value) ^ value | n.mask | by.mask
	return number{value &^ mask, mask}
}

func (n number) sub(by number) number {
	value := n.value - by.value
	mask := (value + n.mask) ^ (value - by.mask) | n.mask | by.mask
	return number{value &^ mask, mask}
}

func (n number) and(by number) number {
	mayBeSet := n.max() & by.max()
	value := n.value & by.value
	return number{value, mayBeSet &^ value}
}

func (n number) union(with number) number {
	value := n.value | with.value
	return number{value, (n.mask | with.mask) &^ value}
}

func (n number) xor(with number) number {
	mask := n.mask | with.mask
	return number{(n.value ^ with.value) &^ mask, mask}
}

func (n number) mul(by number) number {
	switch {
	case n.isConstant() && by.isConstant():
		return constant(n.value * by.value)
	case n.max() == 0 || by.max() == 0:
		return constant(0)
	}
	if high, low := bits.Mul64(n.max(), by.max()); high == 0 {
		return number{0, lowBits(bits.Len64(low))}
	}
	return anything
}

// div and mod return what is known of an unsigned division. A divisor of zero
// gives 0, and leaves the dividend as the rest.
func (n number) div(by number) number {
	switch {
	case by.isConstant() && by.value == 0:
		return constant(0)
	case n.isConstant() && by.isConstant():
		return constant(n.value / by.value)
	}
	return number{0, lowBits(bits.Len64(n.max()))}
}

func (n number) mod(by number) number {
	switch {
	case by.isConstant() && by.value == 0:
		return n
	case n.isConstant() && by.isConstant():
		return constant(n.value % by.value)
	}
	return number{0, lowBits(bits.Len64(n.max()))}
}

func (n number) shiftLeft(by uint64) number  { return number{n.value << by, n.mask << by} }
func (n number) shiftRight(by uint64) number { return number{n.value >> by, n.mask >> by} }

// shiftSigned shifts the sign in from the left. It is the highest bit of width.
func (n number) shiftSigned(by uint64, width int) number {
	n = n.signExtend(width)
	return number{uint64(int64(n.value) >> by), uint64(int64(n.mask) >> by)}
}

// signExtend repeats the highest bit of width to the left.
func (n number) signExtend(width int) number {
	unused := uint(64 - width)
	return number{uint64(int64(n.value<<unused) >> unused), uint64(int64(n.mask<<unused) >> unused)}
}

// swap reverses the lowest bytes and drops the others.
func (n number) swap(bytes int) number {
	unused := uint(64 - bytes*8)
	return number{bits.ReverseBytes64(n.value) >> unused, bits.ReverseBytes64(n.mask) >> unused}
}

// signedBits returns in how many bits the number fits, the sign among them.
func (n number) signedBits() int {
	zeros := bits.LeadingZeros64(n.max())
	ones := bits.LeadingZeros64(^n.value)
	return min(64, 64-max(zeros, ones)+1)
}

// signedRange returns the least and the greatest that the number can be.
func (n number) signedRange() (least, greatest int64) {
	const sign = 1 << 63
	return int64(n.value | n.mask&sign), int64(n.value | n.mask&^sign)
}

// coarse loses bits, so that what changes in a loop stops changing after a few
// turns.
func (n number) coarse() number {
	mask := lowBits(atLeast(bits.Len64(n.mask), 1, 8, 16, 32))
	return number{n.value &^ mask, n.mask | mask}
}

// atLeast returns the first of the steps that is not below n, or 64.
func atLeast(n int, steps ...int) int {
	for _, step := range steps {
		if n <= step {
			return step
		}
	}
	return 64
}

// compare decides a conditional jump: whether it can be taken, and whether it
// can fall through.
func compare(code uint8, a, b number) (taken, falls bool) {
	switch code {
	case insn.OpJEQ:
		return equal(a, b)
	case insn.OpJNE:
		taken, falls = equal(a, b)
		return falls, taken
	case insn.OpJSET:
		return a.max()&b.max() != 0, a.value&b.value == 0
	case insn.OpJGT:
		return a.max() > b.value, a.value <= b.max()
	case insn.OpJGE:
		return a.max() >= b.value, a.value < b.max()
	case insn.OpJLT:
		return a.value < b.max(), a.max() >= b.value
	case insn.OpJLE:
		return a.value <= b.max(), a.max() > b.value
	}
	return compareSigned(code, a, b)
}

func equal(a, b number) (can, canDiffer bool) {
	differ := (a.value ^ b.value) &^ (a.mask | b.mask)
	return differ == 0, a != b || !a.isConstant()
}

func compareSigned(code uint8, a, b number) (taken, falls bool) {
	aLeast, aGreatest := a.signedRange()
	bLeast, bGreatest := b.signedRange()
	switch code {
	case insn.OpJSGT:
		return aGreatest > bLeast, aLeast <= bGreatest
	case insn.OpJSGE:
		return aGreatest >= bLeast, aLeast < bGreatest
	case insn.OpJSLT:
		return aLeast < bGreatest, aGreatest >= bLeast
	case insn.OpJSLE:
		return aLeast <= bGreatest, aGreatest > bLeast
	}
	return true, true
}

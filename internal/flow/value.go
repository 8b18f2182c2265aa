package flow

import "github.com/xdp-load/xdp-load/internal/insn"

// value is what is known of a register or a part of the stack. The zero value
// says nothing.
type value struct {
	bits, known uint64 // those of bits that are set in known
	spare       uint8  // how many bits at the top only repeat the sign
	kind        kind

	// within is where an address in the stack is, if bits say less of that: a carry makes
	// some unknown that are far from those of an index.
	within span

	// guided says that the value depends on one that the rewriting decides, and
	// that it could be another in another layout.
	guided bool
}

// kind says what a value that may be an address points to.
type kind uint8

const (
	other   kind = iota // a number, or an address in a map, the kernel, ...
	stack               // the address r10 plus what the bits say
	context             // the program's ctx plus what the bits say
	packet              // what was loaded from the ctx, and sums with it
	unsure              // an address in the stack, or else something else
)

func scalar(n number, guided bool) value {
	return value{bits: n.value, known: ^n.mask, spare: uint8(64 - n.signedBits()), guided: guided}
}

func unknown(guided bool) value { return value{guided: guided} }

func (v value) number() number { return number{v.bits, ^v.known} }

func (v value) isScalar() bool { return v.kind == other }
func (v value) onStack() bool  { return v.kind == stack || v.kind == unsure }

// fitting notes that at least so many bits at the top repeat the sign.
func (v value) fitting(spare int) value {
	v.spare = max(v.spare, uint8(min(spare, 63)))
	return v
}

// constant returns the value of a number that is known as a whole.
func (v value) constant() (uint64, bool) { return v.bits, v.kind == other && v.known == ^uint64(0) }

// stackOffset returns k of an address that is r10+k.
func (v value) stackOffset() (int32, bool) { return v.offsetIn(stack) }

// span is from where to where, both included; nothing is known if the first is above the
// second.
type span struct{ from, to int32 }

var nowhere = span{from: 1}

// span returns the least and the greatest that the bits of a value can be as a number, if
// these are small.
func (v value) span() span {
	from, to := int64(v.bits&v.known), int64(v.bits|^v.known)
	if v.known>>63 == 0 || from < -1<<20 || to > 1<<20 {
		return nowhere
	}
	return span{int32(from), int32(to)}
}

// stackSpan returns between which distances from r10 an address in the stack is.
func (v value) stackSpan() span {
	switch {
	case v.kind != stack:
		return nowhere
	case v.within != span{}:
		return v.within
	}
	return v.span()
}

// plus returns the sum, or difference, of two numbers.
func (s span) plus(o span, negative bool) span {
	if negative {
		o.from, o.to = -o.to, -o.from
	}
	sum := span{s.from + o.from, s.to + o.to}
	if s.from > s.to || o.from > o.to || sum.from < -1<<20 || sum.to > 1<<20 {
		return nowhere
	}
	return sum
}

// stackRange returns which bytes of the stack a load or store of some at an address can go
// to, if all of these are in it.
func (v value) stackRange(offset, width int) (place, bool) {
	s := v.stackSpan()
	from, to := s.from+int32(offset), s.to+int32(offset)+int32(width)
	return place{from, to - from}, s.from <= s.to && from >= -MaxStack && to <= 0
}

// offsetIn returns how far an address is from the start of what it points to.
func (v value) offsetIn(kind kind) (int32, bool) {
	k := int64(v.bits)
	return int32(k), v.kind == kind && v.known == ^uint64(0) && k >= -1<<20 && k <= 1<<20
}

func (v value) or(w value) value {
	n := v.number().or(w.number())
	joined := value{
		bits: n.value, known: ^n.mask, spare: min(v.spare, w.spare),
		kind: v.kind, guided: v.guided || w.guided,
	}
	if v.kind == w.kind {
		if v.within == w.within {
			joined.within = v.within
		}
		return joined
	}
	joined = unknown(joined.guided)
	if v.onStack() || w.onStack() {
		joined.kind = unsure
	}
	return joined
}

func (v value) coarse() value {
	n := v.number().coarse()
	v.bits, v.known = n.value, ^n.mask
	v.spare = uint8(64 - atLeast(64-int(v.spare), 8, 16, 32))
	return v
}

// part returns the value of some bytes of a stored one, by the place of the
// lowest byte.
func (v value) part(from, bytes int) value {
	if v.kind != other {
		return unknown(v.guided)
	}
	return scalar(v.number().shiftRight(uint64(from*8)).low(bytes), v.guided)
}

// alu computes what an ALU instruction makes of two values.
func (ins *instruction) alu(a, b value, bigEndian bool) value {
	switch {
	case ins.Code() == insn.OpMOV:
		return ins.move(b)
	case ins.Code() == insn.OpEND:
		return scalar(ins.reorder(hidden(a).number(), bigEndian), a.guided)
	case a.kind != other || b.kind != other:
		if v, ok := ins.address64(a, b); ok {
			return v
		}
		if (a.onStack() || b.onStack()) && !ins.Is32() && a.kind != b.kind {
			return value{kind: unsure, guided: a.guided || b.guided}
		}
		a, b = hidden(a), hidden(b)
	}
	guided := a.guided || b.guided
	if ins.Is32() {
		return scalar(ins.compute(a.number().low(4), b.number().low(4), 32).low(4), guided)
	}
	result := scalar(ins.compute(a.number(), b.number(), 64), guided)
	return result.fitting(ins.spareAfter(a, b))
}

// hidden returns what arithmetic sees of an address: a number it can't know.
func hidden(v value) value {
	if v.kind == other {
		return v
	}
	return unknown(v.guided)
}

func (ins *instruction) move(v value) value {
	switch {
	case ins.Off == 1: // addr_space_cast
		return unknown(v.guided)
	case ins.Off != 0:
		return ins.moveSigned(hidden(v))
	case ins.Is32():
		return scalar(hidden(v).number().low(4), v.guided)
	}
	return v
}

func (ins *instruction) moveSigned(v value) value {
	width := int(ins.Off)
	if width != 8 && width != 16 && width != 32 {
		return unknown(v.guided)
	}
	extended := v.number().signExtend(width)
	if ins.Is32() {
		return scalar(extended.low(4), v.guided)
	}
	return scalar(extended, v.guided).fitting(max(64-width, int(v.spare)))
}

// reorder swaps bytes, or only cuts off the upper ones.
func (ins *instruction) reorder(n number, bigEndian bool) number {
	bytes := int(ins.Imm / 8)
	if bytes != 2 && bytes != 4 && bytes != 8 {
		return anything
	}
	toBig, always := ins.FromReg(), ins.Class() == insn.ClassALU64
	if always || toBig != bigEndian {
		return n.swap(bytes)
	}
	return n.low(bytes)
}

// address64 adds a number to an address.
func (ins *instruction) address64(a, b value) (value, bool) {
	code := ins.Code()
	if code == insn.OpADD && a.kind == other {
		a, b = b, a
	}
	if ins.Is32() || b.kind != other || code != insn.OpADD && code != insn.OpSUB {
		return value{}, false
	}
	sum := value{kind: a.kind, guided: a.guided || b.guided}
	if a.kind == stack || a.kind == context {
		n := ins.compute(a.number(), b.number(), 64)
		sum.bits, sum.known = n.value, ^n.mask
	}
	if within := a.stackSpan().plus(b.span(), code == insn.OpSUB); a.kind == stack && sum.known != ^uint64(0) && within.from <= within.to {
		sum.within = within
	}
	return sum, true
}

func (ins *instruction) compute(a, b number, width int) number {
	switch ins.Code() {
	case insn.OpADD:
		return a.add(b)
	case insn.OpSUB:
		return a.sub(b)
	case insn.OpMUL:
		return a.mul(b)
	case insn.OpOR:
		return a.union(b)
	case insn.OpAND:
		return a.and(b)
	case insn.OpXOR:
		return a.xor(b)
	case insn.OpNEG:
		return constant(0).sub(a)
	case insn.OpLSH, insn.OpRSH, insn.OpARSH:
		return ins.shift(a, b, width)
	case insn.OpDIV, insn.OpMOD:
		return ins.divide(a, b)
	}
	return anything
}

func (ins *instruction) shift(a, b number, width int) number {
	if !b.isConstant() {
		return anything
	}
	by := b.value & uint64(width-1)
	switch ins.Code() {
	case insn.OpLSH:
		return a.shiftLeft(by)
	case insn.OpRSH:
		return a.shiftRight(by)
	}
	return a.shiftSigned(by, width)
}

func (ins *instruction) divide(a, b number) number {
	switch {
	case ins.Off != 0: // signed
		return anything
	case ins.Code() == insn.OpDIV:
		return a.div(b)
	}
	return a.mod(b)
}

// spareAfter returns how many bits of a 64-bit result repeat the sign, of what
// the bits themselves don't tell.
func (ins *instruction) spareAfter(a, b value) int {
	both := int(min(a.spare, b.spare))
	shift, shifts := b.constant()
	shift &= 63
	switch code := ins.Code(); {
	case code == insn.OpAND, code == insn.OpOR, code == insn.OpXOR:
		return both
	case code == insn.OpADD, code == insn.OpSUB:
		return max(0, both-1)
	case code == insn.OpLSH && shifts:
		return max(0, int(a.spare)-int(shift))
	case code == insn.OpARSH && shifts:
		return int(a.spare) + int(shift)
	}
	return 0
}

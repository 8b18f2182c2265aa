package accessor

import (
	"math/bits"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// based casts 0 to nothing where the function starts, and adds that to the address of
// each load. No other call is made, so that any register may hold anything.
type based struct {
	survey        *survey
	cast          *cast
	names         *names
	base, scratch asm.Register
	saved         []asm.Register
	lowest        int16
}

func newBased(s *survey, c *cast) *based {
	b := &based{survey: s, cast: c, names: &names{insn.Frame: insn.Frame}, base: asm.R5}
	b.assign()
	for argument := uint8(1); argument <= 2; argument++ {
		if s.reads(argument) {
			b.saved = append(b.saved, b.names.of(argument))
		}
	}
	b.lowest = -int16(aligned(s.depth) + 8*len(b.saved))
	return b
}

// assign names registers: the arguments by what the verifier keeps over the cast.
func (b *based) assign() {
	n, taken, left := b.names, insn.Of(b.base), b.survey.used()|1
	for argument, place := range map[uint8]asm.Register{1: asm.R3, 2: asm.R4} {
		if b.survey.reads(argument) {
			n[argument] = uint8(place)
			taken |= insn.Of(place)
			left &^= 1 << argument
		}
	}
	for _, register := range (left &^ taken).List() {
		n[register] = uint8(register)
		taken |= insn.Of(register)
		left &^= insn.Of(register)
	}
	for _, register := range left.List() {
		free := bits.TrailingZeros16(uint16(^taken))
		n[register] = uint8(free)
		taken |= 1 << free
	}
	b.scratch = asm.Register(bits.TrailingZeros16(uint16(^taken)))
}

func (b *based) renamed() *names { return b.names }

func (b *based) deepest() int {
	if len(b.saved) == 0 {
		return b.survey.depth
	}
	return -int(b.lowest)
}

func (b *based) start(q *sequence) {
	for argument := uint8(1); argument <= 2; argument++ {
		if b.survey.reads(argument) {
			q.move(b.names.of(argument), asm.Register(argument))
		}
	}
	q.put(asm.Mov.Imm(asm.R1, 0))
	q.call(b.cast, true, b.saved, b.lowest)
	q.move(b.base, asm.R0)
	if ctx := b.survey.context(); ctx != 0 && b.survey.reads(ctx) {
		q.put(asm.Sub.Reg(b.names.of(ctx), b.base)) // which makes a number of a pointer
	}
}

// context returns the register that the function is given ctx in, 0 if it is not.
func (s *survey) context() uint8 {
	switch {
	case s.fn.name == descriptorFunction:
		return 1
	case s.fn.arguments() == 2:
		return 2
	}
	return 0
}

func (b *based) load(q *sequence, slot int) error {
	ins := b.survey.insns[slot]
	dst, address := b.names.of(ins.Dst), b.names.of(ins.Src)
	pointer := dst
	if ins.Dst == ins.Src {
		pointer = b.scratch
	}
	// The other way round, the verifier has a number for the sum.
	q.put(asm.Mov.Reg(pointer, b.base), asm.Add.Reg(pointer, address))
	q.kept = q.slots()
	q.load(&ins, dst, pointer, ins.Off)
	return nil
}

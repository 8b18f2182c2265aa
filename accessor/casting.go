package accessor

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
)

// casting casts in front of each load.
//
// What lives over a call is in r3 to r5, which the verifier keeps there, and in r6 to r9.
type casting struct {
	survey *survey
	cast   *cast
	names  *names
	lowest int16 // place on the stack
	most   int   // registers that are saved at a time
}

func newCasting(s *survey, c *cast) *casting {
	b := &casting{survey: s, cast: c}
	b.names = s.assign([]uint8{3, 4, 5, 6, 7, 8, 9, 2, 0, 1})
	for _, slot := range s.loads {
		b.most = max(b.most, len(b.saved(slot)))
	}
	b.lowest = -int16(aligned(s.depth) + 8*b.most)
	return b
}

// aligned returns a depth of the stack in whole words of 8 bytes.
func aligned(depth int) int { return (depth + 7) &^ 7 }

func (b *casting) renamed() *names { return b.names }
func (b *casting) deepest() int    { return -int(b.lowest) }

// saved returns the registers of r3 to r5 that a load must leave as they are.
func (b *casting) saved(slot int) []asm.Register {
	return (b.names.set(b.survey.over(slot)) & insn.Of(asm.R3, asm.R4, asm.R5)).List()
}

func (b *casting) start(q *sequence) {
	b.survey.moveArguments(q, b.names)
	b.survey.clear(q, b.names)
}

// moveArguments puts the arguments where the function looks for them now.
func (s *survey) moveArguments(q *sequence, n *names) {
	first, second := n.of(1), n.of(2)
	switch {
	case !s.reads(1):
	case !s.reads(2):
		q.move(first, asm.R1)
	case second != asm.R1:
		q.move(second, asm.R2)
		q.move(first, asm.R1)
	case first != asm.R2:
		q.move(first, asm.R1)
		q.move(second, asm.R2)
	default: // each is called what the other was
		q.move(asm.R0, asm.R1)
		q.move(second, asm.R2)
		q.move(first, asm.R0)
	}
}

// reads reports whether the function reads an argument.
func (s *survey) reads(argument uint8) bool { return int(argument) <= s.fn.Flow.Arguments() }

// clear puts a value into registers that may lack one where they are saved.
func (s *survey) clear(q *sequence, n *names) {
	for _, register := range (s.unwritten() &^ insn.Of(asm.R1, asm.R2)).List() {
		q.put(asm.Mov.Imm(n.of(uint8(register)), 0))
	}
}

func (b *casting) load(q *sequence, slot int) error {
	if b.names.set(b.survey.over(slot))&insn.Of(asm.R0, asm.R1, asm.R2) != 0 {
		return refuse.Because("read the fields one after the other", "more than 7 values are kept while it loads another one")
	}
	ins := b.survey.insns[slot]
	offset := ins.Off
	if !b.isInArgument(slot) {
		q.move(asm.R1, b.names.of(ins.Src))
	}
	if offset < 0 && !b.cast.toVoid() { // the carrier has a start
		q.put(asm.Add.Imm(asm.R1, int32(offset)))
		offset = 0
	}
	q.call(b.cast, b.saved(slot), b.lowest)
	q.kept = q.slots()
	q.load(&ins, b.names.of(ins.Dst), asm.R0, offset)
	return nil
}

// isInArgument reports whether the address of a load is in r1 since the start.
func (b *casting) isInArgument(slot int) bool {
	if b.survey.insns[slot].Src != uint8(asm.R1) {
		return false
	}
	for _, before := range b.survey.slots {
		ins := b.survey.insns[before]
		switch {
		case before == slot:
			return true
		case ins.IsJump(), ins.Defs.Has(asm.R1), b.names.set(ins.Defs).Has(asm.R1), slices.Contains(b.survey.loads, before):
			return false
		}
	}
	return false
}

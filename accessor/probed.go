package accessor

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// probed copies to the stack by a helper, which clobbers r0 to r5.
type probed struct {
	survey *survey
	names  *names
	buffer int16                  // place on the stack
	places map[asm.Register]int16 // of registers that are saved
}

func newProbed(s *survey) *probed {
	b := &probed{survey: s, places: make(map[asm.Register]int16)}
	b.names = s.assign([]uint8{6, 7, 8, 9, 5, 4, 3, 2, 0, 1})
	b.buffer = -int16(aligned(s.depth) + 8)
	for _, slot := range s.loads {
		for _, register := range b.saved(slot) {
			if _, ok := b.places[register]; !ok {
				b.places[register] = b.buffer - int16(8*(len(b.places)+1))
			}
		}
	}
	return b
}

func (b *probed) renamed() *names { return b.names }
func (b *probed) deepest() int    { return -int(b.buffer) + 8*len(b.places) }

// saved returns the registers that the call at a load must leave as they are, and does
// not.
func (b *probed) saved(slot int) []asm.Register {
	return (b.names.set(b.survey.over(slot)) & insn.Clobbered).List()
}

func (b *probed) start(q *sequence) {
	b.survey.moveArguments(q, b.names)
	b.survey.clear(q, b.names)
}

func (b *probed) load(q *sequence, slot int) error {
	ins := b.survey.insns[slot]
	saved := b.saved(slot)
	for _, register := range saved {
		q.put(asm.StoreMem(asm.RFP, b.places[register], register, asm.DWord))
	}
	q.move(asm.R3, b.names.of(ins.Src))
	q.kept = -1
	if ins.Off != 0 || b.survey.recorded[slot] {
		q.kept = q.slots()
		q.put(asm.Add.Imm(asm.R3, int32(ins.Off)))
	}
	q.put(
		asm.Mov.Imm(asm.R2, int32(ins.Width())),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, int32(b.buffer)),
		asm.FnProbeReadKernel.Call(),
	)
	for _, register := range saved {
		q.put(asm.LoadMem(register, asm.RFP, b.places[register], asm.DWord))
	}
	q.load(&ins, b.names.of(ins.Dst), asm.RFP, b.buffer)
	return nil
}

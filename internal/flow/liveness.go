package flow

import (
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Liveness says at every instruction which registers hold a value that may
// still be read.
type Liveness struct {
	function *Function
	in, out  []insn.Registers // by slot
}

// Liveness finds out which registers are live.
//
// Arguments is how many of r1 to r5 the function is called with; -1 if that is
// not known. A program has one.
//
// A register counts as live only where some path has written it: what follows a
// call doesn't keep r1 to r5 alive in front of it.
func (f *Function) Liveness(arguments int) *Liveness {
	if arguments < 0 || arguments > 5 {
		arguments = 5
	}
	l := &Liveness{f, make([]insn.Registers, len(f.insns)), make([]insn.Registers, len(f.insns))}
	l.readLater()
	l.writtenBefore(insn.Registers(1<<(arguments+1)-1) &^ 1)
	return l
}

// LiveOut returns the registers, r10 not among them, whose value after the
// instruction at a slot may be read later.
func (l *Liveness) LiveOut(slot int) insn.Registers {
	if i := l.function.index(slot); i >= 0 {
		return l.out[i]
	}
	return 0
}

// Free returns the registers of r0 to r9 that a sequence in place of the
// instruction at a slot may use for itself: those that the instruction neither
// reads nor writes and that nobody reads after it before writing them.
//
// None is free where there is no instruction.
func (l *Liveness) Free(slot int) insn.Registers {
	i := l.function.index(slot)
	if i < 0 {
		return 0
	}
	ins := &l.function.insns[i]
	return insn.Accessible &^ (l.out[i] | ins.Uses | ins.Defs)
}

// Dies returns the registers that the instruction at a slot is the last to
// read: a sequence in its place may change them once it has read them. A
// register that the instruction writes is not among them.
func (l *Liveness) Dies(slot int) insn.Registers {
	i := l.function.index(slot)
	if i < 0 {
		return 0
	}
	ins := &l.function.insns[i]
	return ins.Uses & insn.Accessible &^ (l.out[i] | ins.Defs)
}

// readLater fills in what the code behind each instruction reads before it
// writes it.
func (l *Liveness) readLater() {
	f := l.function
	atStart := make([]insn.Registers, len(f.blocks))
	backwards := slices.Clone(f.sequence)
	slices.Reverse(backwards)
	work := newWorklist(backwards, len(f.blocks))
	for _, b := range backwards {
		work.push(b)
	}
	for b, ok := work.pop(); ok; b, ok = work.pop() {
		if live := l.readInBlock(b, atStart); live != atStart[b] {
			atStart[b] = live
			for _, pred := range f.blocks[b].Preds {
				work.push(pred)
			}
		}
	}
}

func (l *Liveness) readInBlock(b int, atStart []insn.Registers) insn.Registers {
	f := l.function
	var live insn.Registers
	for _, succ := range f.blocks[b].Succs {
		live |= atStart[succ]
	}
	from, to := f.span(b)
	for i := to - 1; i >= from; i-- {
		ins := &f.insns[i]
		if ins.IsSecondHalf() {
			continue
		}
		l.out[i] = live
		live = live&^ins.Defs | ins.Uses&insn.Accessible
		l.in[i] = live
	}
	return live
}

// writtenBefore takes out the registers that no path has written.
func (l *Liveness) writtenBefore(entry insn.Registers) {
	f := l.function
	written := make([]insn.Registers, len(f.blocks)) // at the start of a block
	written[0] = entry
	work := newWorklist(f.sequence, len(f.blocks))
	for _, b := range f.sequence {
		work.push(b)
	}
	for b, ok := work.pop(); ok; b, ok = work.pop() {
		after := l.writtenInBlock(b, written[b])
		for _, succ := range f.blocks[b].Succs {
			if written[succ]|after != written[succ] {
				written[succ] |= after
				work.push(succ)
			}
		}
	}
	for b := range f.blocks {
		l.restrict(b, written[b])
	}
}

func (l *Liveness) writtenInBlock(b int, written insn.Registers) insn.Registers {
	from, to := l.function.span(b)
	for i := from; i < to; i++ {
		written = l.function.insns[i].WrittenAfter(written)
	}
	return written
}

func (l *Liveness) restrict(b int, written insn.Registers) {
	from, to := l.function.span(b)
	for i := from; i < to; i++ {
		l.in[i] &= written
		written = l.function.insns[i].WrittenAfter(written)
		l.out[i] &= written
	}
}

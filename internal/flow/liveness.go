package flow

import (
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Liveness says at every instruction which registers hold a value that may
// still be read.
type Liveness struct {
	function *Function
	leads    func(block int) edges
	isIdle   func(i int, live insn.Registers) bool // whether an instruction does not count, given what is read after it
	given    int                                   // how many arguments the function is called with; -1 if that is not known
	in, out  []insn.Registers                      // by slot
	always   []insn.Registers                      // see Always; nil until somebody asks
}

// Liveness finds out which registers are live.
//
// Arguments is how many of r1 to r5 the function is called with; -1 if that is
// not known. A program has one.
//
// A register counts as live only where some path has written it: what follows a
// call doesn't keep r1 to r5 alive in front of it.
func (f *Function) Liveness(arguments int) *Liveness {
	return f.liveness(arguments, anyWay)
}

// Liveness is that of the function if only those paths are taken that values allow.
func (c *Constants) Liveness(arguments int) *Liveness { return c.function.liveness(arguments, c.leads) }

func (f *Function) liveness(arguments int, leads func(block int) edges) *Liveness {
	return f.livenessOf(arguments, leads, func(int, insn.Registers) bool { return false })
}

// livenessOf is liveness without the instructions that are idle.
func (f *Function) livenessOf(arguments int, leads func(block int) edges, isIdle func(i int, live insn.Registers) bool) *Liveness {
	l := &Liveness{function: f, leads: leads, isIdle: isIdle, given: arguments, in: make([]insn.Registers, len(f.insns)), out: make([]insn.Registers, len(f.insns))}
	l.readLater()
	if arguments < 0 || arguments > 5 {
		arguments = 5
	}
	l.writtenBefore(firstArguments(arguments))
	return l
}

// firstArguments returns the registers of so many.
func firstArguments(n int) insn.Registers { return (1<<(n+1) - 1) & insn.Arguments }

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

// Always returns the registers that hold a value before the instruction at a slot
// whichever way it is reached: the verifier refuses to read others. Where the slot is not
// reached, all do.
func (l *Liveness) Always(slot int) insn.Registers {
	i := l.function.index(slot)
	if i < 0 {
		return 0
	}
	if l.always == nil {
		l.findAlways()
	}
	return l.always[i]
}

func (l *Liveness) findAlways() {
	f, given := l.function, l.given
	if given < 0 || given > 5 {
		given = f.Arguments() // others a caller need not have given
	}
	atStart := slices.Repeat([]insn.Registers{insn.Accessible}, len(f.blocks))
	atStart[0] = firstArguments(given)
	f.forward(atStart, l.leads, l.writtenInBlock, both)
	l.always = make([]insn.Registers, len(f.insns))
	for b, written := range atStart {
		from, to := f.span(b)
		for i := from; i < to; i++ {
			l.always[i] = written
			written = f.insns[i].WrittenAfter(written)
		}
	}
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
	for succ := range l.function.next(b, l.leads) {
		live |= atStart[succ]
	}
	from, to := f.span(b)
	for i := to - 1; i >= from; i-- {
		ins := &f.insns[i]
		if ins.IsSecondHalf() {
			continue
		}
		l.out[i] = live
		if l.isIdle(i, live) {
			l.in[i] = live
			continue
		}
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
	f.forward(written, l.leads, l.writtenInBlock, func(a, b insn.Registers) insn.Registers { return a | b })
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

package flow

import (
	"iter"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// forward follows a set of registers from the first block on, along the ways that are
// allowed. at is what is in it at the start of each block: for the first what the function
// starts with, for others what join leaves as it finds it. through returns what comes of it
// in a block.
func (f *Function) forward(at []insn.Registers, leads func(block int) edges, through func(block int, held insn.Registers) insn.Registers, join func(a, b insn.Registers) insn.Registers) {
	seen := make([]bool, len(f.blocks))
	work := newWorklist(f.sequence, len(f.blocks))
	work.push(0)
	for b, ok := work.pop(); ok; b, ok = work.pop() {
		seen[b] = true
		after := through(b, at[b])
		for succ := range f.next(b, leads) {
			if joined := join(at[succ], after); joined != at[succ] || !seen[succ] {
				at[succ] = joined
				work.push(succ)
			}
		}
	}
}

// both returns what is in both of two sets.
func both(a, b insn.Registers) insn.Registers { return a & b }

// anyWay allows all ways.
func anyWay(int) edges { return bothEdges }

// next returns the blocks that may come after one, on the ways that are allowed.
func (f *Function) next(b int, leads func(block int) edges) iter.Seq[int] {
	return func(yield func(int) bool) {
		allowed := leads(b)
		for n, succ := range f.blocks[b].Succs {
			if allowed.has(n) && !yield(succ) {
				return
			}
		}
	}
}

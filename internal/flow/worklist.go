package flow

import "math/bits"

// worklist hands out blocks, each once until it is pushed again, in the order of
// the sequence that it is given: for most analyses one that lets them look at
// few blocks twice. It takes no blocks that are not in the sequence.
type worklist struct {
	sequence []int
	rank     []int
	waiting  []uint64 // a bit per place in the sequence
	from     int      // no word before this one has a bit set
}

func newWorklist(sequence []int, nodes int) *worklist {
	return &worklist{
		sequence: sequence,
		rank:     ranks(sequence, nodes),
		waiting:  make([]uint64, len(sequence)/64+1),
	}
}

func (w *worklist) push(b int) {
	if at := w.rank[b]; at >= 0 {
		w.waiting[at/64] |= 1 << (at % 64)
		w.from = min(w.from, at/64)
	}
}

func (w *worklist) pop() (block int, ok bool) {
	for ; w.from < len(w.waiting); w.from++ {
		if word := w.waiting[w.from]; word != 0 {
			w.waiting[w.from] &= word - 1
			return w.sequence[w.from*64+bits.TrailingZeros64(word)], true
		}
	}
	return 0, false
}

package flow

import (
	"cmp"
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// state is what is known in front of an instruction: a value for each register,
// and for each part of the stack that something was stored to.
type state[V comparable] struct {
	regs  [insn.NumRegisters]V
	stack []cell[V] // by place

	// escaped says that code other than this function's may know an address in
	// its stack, or that this function no longer knows which of its values are.
	escaped bool
}

// place is a part of the stack: size bytes from r10+at.
type place struct{ at, size int32 }

func (p place) end() int32            { return p.at + p.size }
func (p place) overlaps(o place) bool { return p.at < o.end() && o.at < p.end() }
func (p place) covers(o place) bool   { return p.at <= o.at && o.end() <= p.end() }
func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.at, o.at), cmp.Compare(p.size, o.size))
}

// cell is a value in the stack.
type cell[V comparable] struct {
	place
	value V
}

func (s *state[V]) clone() *state[V] { n := *s; n.stack = slices.Clone(s.stack); return &n }
func (s *state[V]) fill(set insn.Registers, value V) {
	for _, register := range set.List() {
		s.regs[register] = value
	}
}

// store puts a value into the stack. Of what it only covers in part, the rest
// stays as remainders.
func (s *state[V]) store(at place, value V, remainder func(V) V) {
	var rest []cell[V]
	kept := s.stack[:0]
	for _, c := range s.stack {
		if !c.overlaps(at) {
			kept = append(kept, c)
			continue
		}
		if c.at < at.at {
			rest = append(rest, cell[V]{place{c.at, at.at - c.at}, remainder(c.value)})
		}
		if c.end() > at.end() {
			rest = append(rest, cell[V]{place{at.end(), c.end() - at.end()}, remainder(c.value)})
		}
	}
	s.stack = kept
	for _, c := range append(rest, cell[V]{at, value}) {
		s.insert(c)
	}
}

func (s *state[V]) insert(c cell[V]) {
	n, _ := s.find(c.place)
	s.stack = slices.Insert(s.stack, n, c)
}

// find returns where in the stack the first cell of a place is, or would be.
func (s *state[V]) find(at place) (n int, found bool) {
	return slices.BinarySearchFunc(s.stack, at, func(c cell[V], at place) int { return c.compare(at) })
}

// overlapping returns the cells that have a byte in common with a part of the
// stack.
func (s *state[V]) overlapping(at place) []cell[V] {
	var found []cell[V]
	for _, c := range s.stack {
		if c.overlaps(at) {
			found = append(found, c)
		}
	}
	return found
}

// exactly returns the value of a part of the stack that was stored as a whole;
// the unknown one if there is none.
func (s *state[V]) exactly(at place) V {
	found := s.overlapping(at)
	if len(found) == 1 && found[0].place == at {
		return found[0].value
	}
	var unknown V
	return unknown
}

// change replaces the values in the stack from r10+at up.
func (s *state[V]) change(at int32, by func(V) V) {
	for n := range s.stack {
		if s.stack[n].end() > at {
			s.stack[n].value = by(s.stack[n].value)
		}
	}
}

// edges says which of a block's Succs can come next; bothEdges, that all of them
// can, be they more than two.
type edges uint8

const (
	fallthroughEdge edges = 1 << iota
	jumpEdge
	bothEdges = fallthroughEdge | jumpEdge
)

func (e edges) has(n int) bool { return e == bothEdges || e&(1<<n) != 0 }

// domain is what an analysis tracks. Its zero value is that of an unknown
// value that says nothing.
type domain[V comparable] interface {
	// join returns what holds of a value that is one of two.
	join(a, b V) V

	// coarse loses what may change each time around a loop.
	coarse(V) V

	// enter is called at the start of a block, step for each instruction, and
	// leave after the last one; it says where the block can lead.
	enter(s *state[V], block int)
	step(s *state[V], i int)
	leave(s *state[V], block int) edges
}

// solver finds what holds in front of every block, whichever way it is reached.
type solver[V comparable] struct {
	f      *Function
	domain domain[V]
	before []*state[V] // by block; nil if it is not reached
	visits []int
	work   *worklist

	cursor struct {
		block, next int
		state       *state[V]
	}
}

func newSolver[V comparable](f *Function, d domain[V]) *solver[V] {
	s := &solver[V]{
		f: f, domain: d,
		before: make([]*state[V], len(f.blocks)),
		visits: make([]int, len(f.blocks)),
		work:   newWorklist(f.sequence, len(f.blocks)),
	}
	s.cursor.block = -1
	return s
}

func (s *solver[V]) run(entry *state[V]) {
	s.before[0] = entry
	s.work.push(0)
	for b, ok := s.work.pop(); ok; b, ok = s.work.pop() {
		after, leads := s.through(b)
		for n, succ := range s.f.blocks[b].Succs {
			if leads.has(n) {
				s.flow(after, succ)
			}
		}
	}
}

// again has a block looked at once more, if it was reached at all.
func (s *solver[V]) again(b int) {
	if s.before[b] != nil {
		s.work.push(b)
	}
}

func (s *solver[V]) through(b int) (*state[V], edges) {
	st := s.before[b].clone()
	s.domain.enter(st, b)
	from, to := s.f.span(b)
	s.steps(st, from, to)
	return st, s.domain.leave(st, b)
}

func (s *solver[V]) steps(st *state[V], from, to int) {
	for i := from; i < to; i++ {
		if !s.f.insns[i].IsSecondHalf() {
			s.domain.step(st, i)
		}
	}
}

// loopVisits is how often a block is looked at until its values are made coarse.
const loopVisits = 4

func (s *solver[V]) flow(from *state[V], to int) {
	if s.before[to] == nil {
		s.before[to] = from.clone()
		s.work.push(to)
		return
	}
	s.visits[to]++
	if s.before[to].mergeIn(from, mergeAfter(s.visits[to], s.domain)) {
		s.work.push(to)
	}
}

// mergeAfter returns how to merge values that were merged so often before.
func mergeAfter[V comparable](visits int, d domain[V]) func(a, b V) V {
	if visits <= loopVisits {
		return d.join
	}
	return func(a, b V) V {
		if joined := d.join(a, b); joined != a {
			return d.coarse(joined)
		}
		return a
	}
}

// mergeIn makes a state hold for another way to reach the same place too, and
// reports whether that changed it.
func (s *state[V]) mergeIn(from *state[V], merge func(a, b V) V) (changed bool) {
	update := func(value *V, with V) {
		if merged := merge(*value, with); merged != *value {
			*value, changed = merged, true
		}
	}
	for r := range s.regs {
		update(&s.regs[r], from.regs[r])
	}
	changed = changed || from.escaped && !s.escaped
	s.escaped = s.escaped || from.escaped

	var unknown V
	for n := range s.stack {
		with := unknown
		if at, found := from.find(s.stack[n].place); found {
			with = from.stack[at].value
		}
		update(&s.stack[n].value, with)
	}
	for _, c := range from.stack {
		if _, found := s.find(c.place); found {
			continue
		}
		if c.value = merge(unknown, c.value); c.value != unknown {
			s.insert(c)
			changed = true
		}
	}
	s.stack = slices.DeleteFunc(s.stack, func(c cell[V]) bool { return c.value == unknown })
	return changed
}

// at returns what is known in front of an instruction, or nil if it is not
// reached. It is quick if asked for ascending instructions.
func (s *solver[V]) at(i int) *state[V] {
	b := int(s.f.blockOf[i])
	if s.before[b] == nil {
		return nil
	}
	from, _ := s.f.span(b)
	c := &s.cursor
	if c.block != b || c.next > i {
		c.block, c.next, c.state = b, from, s.before[b].clone()
		s.domain.enter(c.state, b)
	}
	s.steps(c.state, c.next, i)
	c.next = i
	return c.state
}

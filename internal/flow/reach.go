package flow

import (
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Verdict says whether an instruction can be reached.
type Verdict uint8

const (
	// Doubtful means that it depends on values which the layout decides and
	// which couldn't be followed to the end, or on a decision that may go
	// together with one. Only the kernel knows.
	Doubtful Verdict = iota

	// Unreachable means that no run of the function comes here.
	Unreachable

	// Reachable means that there is a path to it, and that what the layout
	// decided on has not cut off any other one.
	Reachable
)

func (v Verdict) String() string {
	return [...]string{"doubtful", "unreachable", "reachable"}[v]
}

// Reachable says whether the instruction at a slot can be reached.
//
// A path counts if each of its branches either is decided that way by constants,
// or depends on nothing that the layout decides. That the conditions of two such
// branches may exclude each other is not looked at, but for one case: where a
// branch that the layout decides has turned away the path to the instruction,
// the other paths to it are doubtful:
//
//	if (wanted && !bpf_core_field_exists(md->mark)) return;
//	...
//	if (wanted) use(md->mark);
func (c *Constants) Reachable(slot int) Verdict {
	b := c.function.BlockAt(slot)
	switch {
	case b < 0:
		return Doubtful
	case c.solver.before[b] == nil:
		return Unreachable
	case c.doubtful[b] || c.assume.doubtful:
		return Doubtful
	}
	return Reachable
}

// branch is a conditional jump, or gotox, that depends on what the layout
// decides.
type branch struct {
	leads  edges
	guided bool
}

func (d *constantDomain) leave(s *state[value], b int) edges {
	ins := d.f.last(b)
	leads, guided := bothEdges, false
	switch {
	case ins.IsGotox():
		guided = s.regs[ins.Dst].guided
	case ins.Compares():
		x, y := s.regs[ins.Dst], d.operand(d.f.lastIndex(b), ins, s)
		leads = ins.decide(x, y)
		guided = (x.guided || y.guided) && !(x.kind == packet && y.kind == packet)
	default:
		return bothEdges
	}
	known := d.branches[b]
	if guided && !known.guided {
		d.mix(b)
	}
	d.branches[b] = branch{leads, guided || known.guided}
	return leads
}

// decide returns where a conditional jump can lead.
func (ins *instruction) decide(x, y value) edges {
	a, b := hidden(x).number(), hidden(y).number()
	if ins.Is32() {
		a, b = a.low(4), b.low(4)
		switch ins.Code() {
		case insn.OpJSGT, insn.OpJSGE, insn.OpJSLT, insn.OpJSLE:
			a, b = a.signExtend(32), b.signExtend(32)
		}
	}
	taken, falls := compare(ins.Code(), a, b)
	var leads edges
	if taken {
		leads |= jumpEdge
	}
	if falls {
		leads |= fallthroughEdge
	}
	return leads
}

// enter marks what a branch that the layout decides has made different.
func (d *constantDomain) enter(s *state[value], b int) {
	set, ok := d.mixed[b]
	if !ok {
		return
	}
	for _, register := range set.List() {
		s.regs[register].guided = true
	}
	if set.Has(insn.Frame) {
		for n := range s.stack {
			s.stack[n].value.guided = true
		}
	}
}

// mix notes what may differ where the two ways of a branch meet again: the
// registers that are written on either, and with r10 among them, the stack.
func (d *constantDomain) mix(b int) {
	meet := d.postdominator(b)
	if meet < 0 {
		return
	}
	if d.live == nil {
		d.live = d.f.Liveness(-1)
	}
	written := d.writtenBetween(b, meet)
	written &= d.live.in[d.f.blocks[meet].Start-d.f.start] | 1<<insn.Frame
	if d.mixed[meet]|written != d.mixed[meet] {
		d.mixed[meet] |= written
		d.again(meet)
	}
}

// writtenBetween returns what is written on the ways from one block to another.
// Where there are too many to look at, that is everything.
func (d *constantDomain) writtenBetween(b, meet int) insn.Registers {
	if d.looked > 100*len(d.f.blocks) {
		return insn.Accessible | 1<<insn.Frame
	}
	var written insn.Registers
	region := flood{f: d.f, seen: make(map[int]bool), until: meet}
	region.from(d.f.blocks[b].Succs...)
	for in := range region.seen {
		written |= d.f.writtenIn(in)
	}
	d.looked += len(region.seen)
	return written
}

func (d *constantDomain) postdominator(b int) int {
	if d.postdoms == nil {
		d.postdoms = d.f.postdominators()
	}
	return d.postdoms[b]
}

// writtenIn returns the registers that a block writes, and r10 if it stores.
func (f *Function) writtenIn(b int) insn.Registers {
	var written insn.Registers
	from, to := f.span(b)
	for i := from; i < to; i++ {
		written |= f.insns[i].Defs
		if f.insns[i].Writes() || f.insns[i].IsCall() {
			written |= 1 << insn.Frame
		}
	}
	return written
}

// doubt finds the blocks to which a branch that the layout decides might lead
// if it were decided otherwise, before its two ways meet again.
func (c *Constants) doubt(d *constantDomain) []bool {
	f := c.function
	doubtful := make([]bool, len(f.blocks))
	never := flood{f: f, seen: make(map[int]bool), until: -1}
	budget := 100 * len(f.blocks)
	for b, branch := range d.branches {
		succs := f.blocks[b].Succs
		if !branch.guided || len(succs) == 1 || succs[0] == succs[1] {
			continue
		}
		region := &never
		if meet := d.postdominator(b); meet >= 0 {
			region = &flood{f: f, seen: make(map[int]bool), until: meet}
		}
		for n, succ := range succs {
			if branch.leads == bothEdges || !branch.leads.has(n) {
				region.from(succ)
			}
		}
		if region == &never {
			continue
		}
		for in := range region.seen {
			doubtful[in] = true
		}
		if budget -= len(region.seen); budget < 0 {
			never.from(0)
			break
		}
	}
	for in := range never.seen {
		doubtful[in] = true
	}
	return doubtful
}

// flood finds the blocks that can be reached without passing one.
type flood struct {
	f     *Function
	seen  map[int]bool
	until int
}

func (r *flood) from(blocks ...int) {
	for pending := slices.Clone(blocks); len(pending) > 0; {
		b := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if b != r.until && !r.seen[b] {
			r.seen[b] = true
			pending = append(pending, r.f.blocks[b].Succs...)
		}
	}
}

// postdominators returns for each block the next one that every way from it to
// the function's end comes through, or -1 if there is none.
func (f *Function) postdominators() []int {
	exit := len(f.blocks)
	var exits []int
	for b := range f.blocks {
		if len(f.blocks[b].Succs) == 0 {
			exits = append(exits, b)
		}
	}
	doms := dominators(exit+1, exit, func(b int) []int {
		if b == exit {
			return exits
		}
		return f.blocks[b].Preds
	}, func(b int) []int {
		if len(f.blocks[b].Succs) == 0 {
			return []int{exit}
		}
		return f.blocks[b].Succs
	})
	for b, dom := range doms {
		if dom == exit {
			doms[b] = -1
		}
	}
	return doms[:exit]
}

// dominators returns for each node the last one before it that every way from
// the root comes through, or -1 if there is no way.
//
// After Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm.
func dominators(nodes, root int, next, previous func(int) []int) []int {
	order := postorder(nodes, root, next)
	rank := ranks(order, nodes)
	doms := make([]int, nodes)
	for node := range doms {
		doms[node] = -1
	}
	doms[root] = root
	for changed := true; changed; {
		changed = false
		for at := len(order) - 2; at >= 0; at-- {
			node, dom := order[at], -1
			for _, before := range previous(order[at]) {
				switch {
				case doms[before] < 0:
				case dom < 0:
					dom = before
				default:
					dom = common(doms, rank, dom, before)
				}
			}
			if dom != doms[node] {
				doms[node], changed = dom, true
			}
		}
	}
	return doms
}

// common returns the last node that dominates both.
func common(doms, rank []int, a, b int) int {
	for a != b {
		if rank[a] < rank[b] {
			a = doms[a]
		} else {
			b = doms[b]
		}
	}
	return a
}

// Next returns the indices of the blocks that can come after one, given its index: those
// of its Succs to which values lead. It returns none for a block that can't be reached.
func (c *Constants) Next(b int) (next []int) {
	if c.solver.before[b] == nil {
		return nil
	}
	succs := c.function.blocks[b].Succs
	leads := c.leads(b)
	for i, succ := range succs {
		if len(succs) == 2 && c.function.last(b).Compares() && leads&(fallthroughEdge<<i) == 0 {
			continue
		}
		next = append(next, succ)
	}
	return next
}

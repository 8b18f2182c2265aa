package flow

import (
	"encoding/binary"
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Node is a block as it is come to by some of the paths through a function.
type Node struct {
	Block int // its index

	// Succs are the indices of the nodes that can come next, as those of the
	// block's Succs are of blocks; -1 where that never happens.
	Succs []int
}

// Paths keeps paths apart that bring different origins to accesses: in each node
// that leads to one of them, what registers and the stack have of these origins
// is one thing. The first node is where the function is entered. It returns
// false if there is nothing to keep apart, or more than so many slots in nodes
// beyond the first of each block.
//
// A function with a block for each node does the same, and every access in it is
// closer to one origin.
func (o *Origins) Paths(accesses []Dereference, slots int) ([]Node, bool) {
	origins := make(map[int]bool)
	for _, access := range accesses {
		for _, origin := range access.Origins {
			origins[origin.Slot] = true
		}
	}
	p := newPartition(o.solver, accesses)
	p.append = func(key []byte, v offset) []byte { return v.append(key) }
	p.concerns = func(v offset) bool {
		return slices.ContainsFunc(o.domain.sets[v.set], func(o Origin) bool { return origins[o.Slot] })
	}
	return p.paths(new(state[offset]), slots)
}

// Paths keeps paths of a function apart that bring different pointers to accesses,
// in the register that these find their address in, as Origins.Paths does origins.
func (p *Pointers) Paths(sub *Subprogram, accesses []Dereference, slots int) ([]Node, bool) {
	fn := p.functions[sub]
	if fn == nil || fn.solver == nil {
		return nil, false
	}
	sites := make(map[Pointee]bool)
	for _, access := range accesses {
		pointees, _ := p.Address(sub, access.Slot)
		for n := range pointees {
			sites[pointees[n].made()] = true
		}
	}
	part := newPartition(fn.solver, accesses)
	part.append = func(key []byte, v pointer) []byte { return binary.LittleEndian.AppendUint32(key, uint32(v)) }
	part.concerns = func(v pointer) bool {
		return slices.ContainsFunc(p.sets.list(v), func(p Pointee) bool { return sites[p.made()] })
	}
	return part.paths(p.entry(fn), slots)
}

// paths returns the nodes, given what holds where the function is entered and how many
// slots there may be in nodes beyond the first of each block.
func (p *partition[V]) paths(entry *state[V], slots int) ([]Node, bool) {
	p.left = slots
	if !p.run(entry) {
		return nil, false
	}
	nodes := p.reached()
	blocks := make(map[int]bool)
	for _, node := range nodes {
		blocks[node.Block] = true
	}
	return nodes, len(blocks) < len(nodes)
}

// partition solves for what holds in front of every block like a solver, but
// apart for each combination of the values that are of concern.
type partition[V comparable] struct {
	function *Function
	solver   *solver[V]
	concerns func(V) bool
	append   func(key []byte, v V) []byte
	leads    []bool // by block: to one of the accesses, or has it
	live     *Liveness

	nodes []partitionNode[V]
	index map[nodeKey]int
	work  []int
	seen  []bool // by block: whether it has a node
	left  int    // slots
}

type partitionNode[V comparable] struct {
	Node
	before *state[V]
	visits int
	queued bool
}

type nodeKey struct {
	block   int
	brought string
}

func newPartition[V comparable](solver *solver[V], accesses []Dereference) *partition[V] {
	f := solver.f
	p := &partition[V]{
		function: f,
		solver:   solver,
		leads:    make([]bool, len(f.blocks)),
		live:     f.Liveness(-1),
		index:    make(map[nodeKey]int),
		seen:     make([]bool, len(f.blocks)),
	}
	for _, access := range accesses {
		p.markLeading(f.BlockAt(access.Slot))
	}
	return p
}

// markLeading marks a block and those that can come before it.
func (p *partition[V]) markLeading(b int) {
	for work := []int{b}; len(work) > 0; {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		if !p.leads[b] {
			p.leads[b] = true
			work = append(work, p.function.blocks[b].Preds...)
		}
	}
}

// run returns false if there are too many nodes.
func (p *partition[V]) run(entry *state[V]) bool {
	p.flow(entry, 0)
	for len(p.work) > 0 {
		n := p.work[len(p.work)-1]
		p.work = p.work[:len(p.work)-1]
		p.nodes[n].queued = false
		after, leads := p.through(n)
		for i, succ := range p.function.blocks[p.nodes[n].Block].Succs {
			if leads.has(i) {
				p.nodes[n].Succs[i] = p.flow(after, succ)
			}
		}
		if p.left < 0 {
			return false
		}
	}
	return true
}

// through returns what holds after a node, and where it can lead.
func (p *partition[V]) through(n int) (*state[V], edges) {
	after := p.nodes[n].before.clone()
	from, to := p.function.span(p.nodes[n].Block)
	p.solver.steps(after, from, to)
	return after, p.solver.domain.leave(after, p.nodes[n].Block)
}

// flow lets a state hold in front of a block, and returns the node for it.
func (p *partition[V]) flow(from *state[V], b int) int {
	key := nodeKey{b, p.brought(from, b)}
	n, ok := p.index[key]
	if !ok {
		n = len(p.nodes)
		p.index[key] = n
		if p.seen[b] {
			p.left -= p.function.blocks[b].End - p.function.blocks[b].Start
		}
		p.seen[b] = true
		node := Node{b, make([]int, len(p.function.blocks[b].Succs))}
		for i := range node.Succs {
			node.Succs[i] = -1
		}
		p.nodes = append(p.nodes, partitionNode[V]{Node: node, before: from.clone()})
		p.push(n)
		return n
	}
	node := &p.nodes[n]
	node.visits++
	if node.before.mergeIn(from, mergeAfter(node.visits, p.solver.domain)) {
		p.push(n)
	}
	return n
}

func (p *partition[V]) push(n int) {
	if !p.nodes[n].queued {
		p.nodes[n].queued = true
		p.work = append(p.work, n)
	}
}

// brought tells apart what a block is come to with: what the registers that it
// may read, and the stack, have of the origins.
func (p *partition[V]) brought(from *state[V], b int) string {
	if !p.leads[b] {
		return ""
	}
	var key []byte
	first, _ := p.function.span(b)
	for _, r := range p.live.in[first].List() {
		if v := from.regs[r]; p.concerns(v) {
			key = p.append(append(key, byte(r)), v)
		}
	}
	for _, c := range from.stack {
		if p.concerns(c.value) {
			key = binary.LittleEndian.AppendUint32(append(key, byte(insn.NumRegisters), byte(c.size)), uint32(c.at))
			key = p.append(key, c.value)
		}
	}
	return string(key)
}

// append appends the value to a key.
func (v offset) append(key []byte) []byte {
	flags := v.more << 2
	if v.mixed {
		flags |= 1
	}
	if v.high {
		flags |= 2
	}
	return append(binary.LittleEndian.AppendUint32(key, uint32(v.set)), flags)
}

// reached returns the nodes that are come to in the end, numbered anew.
func (p *partition[V]) reached() []Node {
	number := make([]int, len(p.nodes))
	for n := range number {
		number[n] = -1
	}
	number[0] = 0
	order := []int{0}
	for i := 0; i < len(order); i++ {
		for _, succ := range p.nodes[order[i]].Succs {
			if succ >= 0 && number[succ] < 0 {
				number[succ] = len(order)
				order = append(order, succ)
			}
		}
	}
	nodes := make([]Node, len(order))
	for i, n := range order {
		nodes[i] = p.nodes[n].Node
		for s, succ := range nodes[i].Succs {
			if succ >= 0 {
				nodes[i].Succs[s] = number[succ]
			}
		}
	}
	return nodes
}

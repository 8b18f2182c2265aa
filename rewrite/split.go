package rewrite

import (
	"cmp"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// A load or store that paths bring the offsets of different fields to can't
// become one thing if the layout keeps these fields in different ways. The code
// from where the paths come together is copied then, so that each path has a
// load of its own, and the object is planned for anew: what a copy comes to
// follows from it as from any other code.

// Copying ends, and the access is refused, when there is no end to the paths: in
// a loop, say, that walks on from a field.
const (
	maxSplits = 16
	maxCopied = 10_000 // slots
)

// leaveToLoader leaves out the accesses to what is nested in the descriptor and not in
// the layout that are to no copy of the program's own. It reports whether there are any.
func (r *rewriting) leaveToLoader(p *planner) bool {
	isTheirs := func(access reloc.Access) bool { return access.Lacking() && !p.isOwn(&access) }
	if !slices.ContainsFunc(r.accesses, isTheirs) {
		return false
	}
	r.accesses = slices.DeleteFunc(slices.Clone(r.accesses), isTheirs)
	return true
}

// split copies code: in all functions, or, where a jump does not reach, in one at
// least. It reports whether it did.
func (r *rewriting) split(detours []code.Detours) (bool, error) {
	if len(detours) == 0 {
		return false, nil
	}
	slots, err := code.Split(r.object, r.ext, detours)
	for i := 0; err != nil && i < len(detours); i++ {
		slots, err = code.Split(r.object, r.ext, detours[i:i+1])
	}
	if err != nil {
		return false, nil // what needs it is refused
	}
	return true, r.readAgain(slots)
}

// detours returns the copies of code that keep the paths apart which bring
// different offsets to a load or store. Of left it takes how many slots they
// have; what would take more stays as it is.
func (p *planner) detours(left *int) []code.Detours {
	var detours []code.Detours
	for _, at := range slices.SortedFunc(maps.Keys(p.functions), comparePlaces) {
		fn := p.functions[at]
		disputed, nodes := p.paths(at, fn, *left)
		if nodes == nil {
			continue
		}
		s := newPathSplit(fn.Flow, nodes, disputed)
		copies := s.copies()
		if s.size <= *left {
			*left -= s.size
			detours = append(detours, code.Detours{Section: at.Section, Last: s.fn.End() - 1, Copies: copies, Exits: s.exits()})
		}
	}
	return detours
}

// paths returns the accesses of a function that paths bring different things to, and
// what keeps these paths apart: first of all the pointers.
func (p *planner) paths(at bpf.Place, fn *function, left int) ([]flow.Dereference, []flow.Node) {
	if disputed := p.disputed[at]; len(disputed) > 0 {
		nodes, ok := p.program.pointers.Paths(p.program.subs[at], disputed, left)
		if ok {
			return disputed, nodes
		}
	}
	if fn.uses != nil && len(fn.uses.disputed) > 0 {
		nodes, ok := fn.uses.origins.Paths(fn.uses.disputed, left)
		if ok {
			return fn.uses.disputed, nodes
		}
	}
	return nil, nil
}

func comparePlaces(a, b bpf.Place) int {
	return cmp.Or(cmp.Compare(a.Section, b.Section), cmp.Compare(a.Slot, b.Slot))
}

// pathSplit lays out the nodes of a function: one of each block stays where it
// is, the others become copies.
type pathSplit struct {
	fn     *flow.Function
	nodes  []flow.Node
	upTo   map[int]int // by block: the end of the last instruction that is why it is copied
	stays  []int       // by block: the node that does, -1 if it is never come to
	number []int       // by node: of the copy
	placed []int       // nodes by number
	size   int         // of all copies in slots
}

func newPathSplit(fn *flow.Function, nodes []flow.Node, disputed []flow.Dereference) *pathSplit {
	s := &pathSplit{fn: fn, nodes: nodes, upTo: make(map[int]int), number: make([]int, len(nodes))}
	for _, access := range disputed {
		block := fn.BlockAt(access.Slot)
		s.upTo[block] = max(s.upTo[block], access.Slot+1)
	}
	s.choose()
	for n := range nodes {
		s.place(n)
	}
	return s
}

// choose finds the nodes that stay: those that are run into from one that does,
// and of other blocks the first.
func (s *pathSplit) choose() {
	s.stays = slices.Repeat([]int{-1}, len(s.fn.Blocks()))
	for n, node := range s.nodes {
		if s.stays[node.Block] < 0 {
			s.stays[node.Block] = n
		}
	}
	for b := range s.stays[1:] {
		if s.stays[b] < 0 {
			continue
		}
		before := s.nodes[s.stays[b]]
		if len(before.Succs) > 0 && before.Succs[0] >= 0 && s.nodes[before.Succs[0]].Block == b+1 {
			s.stays[b+1] = before.Succs[0]
		}
	}
}

// place numbers a node that is to become a copy, and behind it the copies that
// it runs on to.
func (s *pathSplit) place(n int) {
	for n >= 0 && s.number[n] == 0 && s.stays[s.nodes[n].Block] != n {
		s.placed = append(s.placed, n)
		s.number[n] = len(s.placed)
		if len(s.nodes[n].Succs) == 0 {
			return
		}
		n = s.nodes[n].Succs[0]
	}
}

func (s *pathSplit) copies() []code.Stretch {
	copies := make([]code.Stretch, len(s.placed))
	for i, n := range s.placed {
		block := s.fn.Blocks()[s.nodes[n].Block]
		copies[i] = code.Stretch{From: block.Start, To: block.End, Exits: s.exitsOf(n)}
		if end := s.upTo[s.nodes[n].Block]; end > 0 && end < block.End && s.meetsAgain(n) {
			copies[i] = code.Stretch{From: block.Start, To: end, Exits: []code.Exit{{Slot: end}}}
		}
		s.size += copies[i].To - copies[i].From
	}
	return copies
}

// meetsAgain reports whether a copy leads to where the node leads that stays.
func (s *pathSplit) meetsAgain(n int) bool {
	return slices.Equal(s.nodes[n].Succs, s.nodes[s.stays[s.nodes[n].Block]].Succs)
}

// exits returns what changes in the nodes that stay.
func (s *pathSplit) exits() map[int][]code.Exit {
	changed := make(map[int][]code.Exit)
	for b, n := range s.stays {
		if n < 0 {
			continue
		}
		exits := s.exitsOf(n)
		if slices.ContainsFunc(exits, func(e code.Exit) bool { return e.Slot < 0 }) {
			changed[s.fn.LastOf(b)] = exits
		}
	}
	return changed
}

// exitsOf returns where a node leads.
func (s *pathSplit) exitsOf(n int) []code.Exit {
	exits := make([]code.Exit, len(s.nodes[n].Succs))
	for i, succ := range s.fn.Blocks()[s.nodes[n].Block].Succs {
		exits[i] = code.Exit{Slot: s.fn.Blocks()[succ].Start}
		if to := s.nodes[n].Succs[i]; to >= 0 && s.stays[succ] != to {
			exits[i] = code.Exit{Slot: -1, Copy: s.number[to] - 1}
		}
	}
	return exits
}

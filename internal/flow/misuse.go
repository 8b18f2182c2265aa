package flow

import (
	"cmp"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// Misuse is a use of the address of what a driver keeps of a packet that the verifier
// would refuse of a pointer into the packet. Of this address it can't, as it is a number.
type Misuse struct {
	Slot int
	Kind MisuseKind

	// Argument is that of a call that the address is passed as, or in the memory of.
	Argument asm.Register

	// Mover and MoverSlot are the instruction that moved the packet since.
	Mover     *Subprogram
	MoverSlot int
}

// MisuseKind says what is wrong with a use.
type MisuseKind uint8

const (
	Untested    MisuseKind = iota // read where it may be NULL, as far as the function tells
	Moved                         // read after the packet has moved
	Lost                          // read where nothing tells whether it was tested
	Unlike                        // compared with something that is not NULL
	Calculated                    // with something that is no recorded offset, or cut
	Kept                          // stored in memory other than the stack
	Exchanged                     // by an atomic operation
	Given                         // to a function that is not the object's, or is global
	GivenWithin                   // the same in memory that the function is given
	GivenBack                     // to the kernel, by a program, a global function or a callback
	Unfollowed                    // by a function that is called in too many ways
)

func (k MisuseKind) String() string {
	return [...]string{"untested", "moved", "lost", "unlike", "calculated", "kept", "exchanged", "given", "given within", "given back", "unfollowed"}[k]
}

// Memory returns how many bytes a function that is not the object's, or is global, is
// given by the address that is an argument of the call at a slot, and whether that is
// known.
type Memory func(sub *Subprogram, slot int, argument asm.Register) (bytes int64, known bool)

// Misuses returns the misuses in an object's functions, by slot, each kind once for each.
//
// Paths are followed like the verifier does: apart, as long as they differ in what is
// known of descriptors, and in constants as long as there are few of them; into static
// functions and callbacks with what the caller has.
func (p *Pointers) Misuses(subs []*Subprogram, memory Memory) map[*Subprogram][]Misuse {
	if !slices.ContainsFunc(subs, (*Subprogram).makesDescriptors) {
		return nil
	}
	v := newValidity(p, subs, memory)
	called := make(map[*Subprogram]bool)
	for _, sub := range subs {
		for _, callee := range sub.Calls {
			called[callee] = true
		}
	}
	for _, sub := range subs {
		if fn := p.functions[sub]; fn != nil && fn.solver != nil && (sub.Entry || sub.Global || sub.Alone || !called[sub]) {
			v.enter(fn, nil, newHeld(), [5]pointer{}, true)
		}
	}
	return v.sorted()
}

// makesDescriptors reports whether a function asks for a descriptor.
func (sub *Subprogram) makesDescriptors() bool {
	for _, region := range sub.Loads {
		if region == Driver {
			return true
		}
	}
	return false
}

// validity finds misuses.
type validity struct {
	*Pointers
	subs   []*Subprogram // by number, less one
	memory Memory
	found  map[*Subprogram]map[Misuse]bool

	functions map[*Subprogram]*validFunction
	holders   map[heldPlace]bool // that a descriptor may be put in
	ways      map[string][]*held // that a function is left in, by how it is entered
}

func newValidity(p *Pointers, subs []*Subprogram, memory Memory) *validity {
	v := &validity{
		Pointers: p, subs: subs, memory: memory,
		found:     make(map[*Subprogram]map[Misuse]bool),
		functions: make(map[*Subprogram]*validFunction),
		holders:   make(map[heldPlace]bool),
		ways:      make(map[string][]*held),
	}
	moves := transitively(subs, (*Subprogram).movesItself)
	makes := transitively(subs, (*Subprogram).makesDescriptors)
	for _, sub := range subs {
		if fn := p.functions[sub]; fn != nil && fn.solver != nil {
			v.functions[sub] = v.newFunction(fn, moves[sub], makes[sub])
			v.noteHolders(v.functions[sub])
		}
	}
	looks := transitively(subs, func(sub *Subprogram) bool { return v.functions[sub] != nil && v.looksItself(v.functions[sub]) })
	for sub, f := range v.functions {
		f.looks = looks[sub]
	}
	return v
}

// transitively returns the functions of which something holds or of one that they refer to.
func transitively(subs []*Subprogram, holds func(*Subprogram) bool) map[*Subprogram]bool {
	callers := make(map[*Subprogram][]*Subprogram)
	all := make(map[*Subprogram]bool)
	var work []*Subprogram
	for _, sub := range subs {
		for _, callee := range sub.Calls {
			callers[callee] = append(callers[callee], sub)
		}
		if holds(sub) {
			all[sub] = true
			work = append(work, sub)
		}
	}
	for len(work) > 0 {
		sub := work[len(work)-1]
		work = work[:len(work)-1]
		for _, caller := range callers[sub] {
			if !all[caller] {
				all[caller] = true
				work = append(work, caller)
			}
		}
	}
	return all
}

// movesItself reports whether some instruction of a function may move the packet, whatever
// decides whether it comes to that: the verifier takes global functions so
// (visit_insn of kernel/bpf/verifier.c).
func (sub *Subprogram) movesItself() bool {
	for i := range sub.insns {
		if ins := &sub.insns[i]; sub.moves(i) || ins.TailCalls() {
			return true
		}
	}
	return false
}

// moves reports whether the instruction at an index is a call that moves the packet.
func (sub *Subprogram) moves(i int) bool {
	return sub.insns[i].MovesPacket() || sub.Movers[sub.start+i]
}

func (v *validity) note(sub *Subprogram, m Misuse) {
	if v.found[sub] == nil {
		v.found[sub] = make(map[Misuse]bool)
	}
	v.found[sub][m] = true
}

func (v *validity) sorted() map[*Subprogram][]Misuse {
	sorted := make(map[*Subprogram][]Misuse, len(v.found))
	for sub, found := range v.found {
		list := make([]Misuse, 0, len(found))
		for m := range found {
			list = append(list, m)
		}
		slices.SortFunc(list, func(a, b Misuse) int {
			return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Argument, b.Argument),
				cmp.Compare(v.sets.subs[a.Mover], v.sets.subs[b.Mover]), cmp.Compare(a.MoverSlot, b.MoverSlot))
		})
		sorted[sub] = slices.CompactFunc(list, func(a, b Misuse) bool { return a.Slot == b.Slot && a.Kind == b.Kind })
	}
	return sorted
}

package flow

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// held is what registers and the stacks of a function and its callers hold on one path:
// which of them hold the same value, and what is known of that.
type held struct {
	regs  [insn.NumRegisters]holding
	cells []heldCell // by place
	facts []fact     // by value; the first is of what nothing is known

	// entered is how many values the function was entered with that are descriptors or
	// were: they are the first ones and stay, whatever still holds them.
	entered int

	moved mover // what moved the packet since the function was entered
}

// holding is what a register or a part of the stack holds: a value, by number, or the
// address of a field of the descriptor that has this value.
type holding struct {
	value   int32
	isField bool
}

// heldCell is what a part of the stack of a function holds, which is known by its number.
type heldCell struct {
	owner int32
	place
	holding
}

func (c *heldCell) compare(owner int32, at place) int {
	return cmp.Or(cmp.Compare(c.owner, owner), c.place.compare(at))
}

// fact is what is known of a value.
type fact struct {
	isDescriptor bool // the address of what a driver keeps, or NULL instead
	isNonzero    bool // as a whole
	isLowNonzero bool // in the lower 32 bits
	moved        mover
	number       number // of others than the descriptor
}

// mover is the instruction that moved the packet, by the number of its function.
type mover struct {
	sub  int32 // 0 if none did
	slot int32
}

func (m mover) or(n mover) mover {
	if m.sub != 0 {
		return m
	}
	return n
}

var nothingKnown = fact{number: anything}

func newHeld() *held { return &held{facts: []fact{nothingKnown}} }

func (h *held) clone() *held {
	n := *h
	n.cells, n.facts = slices.Clone(h.cells), slices.Clone(h.facts)
	return &n
}

// add returns a holding of a new value.
func (h *held) add(f fact) holding {
	h.facts = append(h.facts, f)
	return holding{value: int32(len(h.facts) - 1)}
}

// number returns a holding of a number, which is none if nothing is known of it.
func (h *held) number(n number) holding {
	if n == anything {
		return holding{}
	}
	return h.add(fact{number: n})
}

func (h *held) of(v holding) *fact          { return &h.facts[v.value] }
func (h *held) isDescriptor(v holding) bool { return h.facts[v.value].isDescriptor }
func (h *held) isZero(v holding) bool       { return h.facts[v.value].number == constant(0) }

// numberOf returns what is known of a holding as a number.
func (h *held) numberOf(v holding) number {
	if v.isField {
		return anything
	}
	return h.facts[v.value].number
}
func (h *held) fill(set insn.Registers) {
	for _, register := range set.List() {
		h.regs[register] = holding{}
	}
}

// move invalidates all descriptors.
func (h *held) move(by mover) {
	h.moved = h.moved.or(by)
	for n := range h.facts {
		if f := &h.facts[n]; f.isDescriptor {
			f.moved = f.moved.or(by)
		}
	}
}

func (h *held) find(owner int32, at place) (n int, found bool) {
	return slices.BinarySearchFunc(h.cells, at, func(c heldCell, at place) int { return c.compare(owner, at) })
}

// load returns what a part of a stack holds that was stored as a whole, and whether it has
// a part of a descriptor otherwise.
func (h *held) load(owner int32, at place) (v holding, cut bool) {
	for n := range h.cells {
		c := &h.cells[n]
		switch {
		case c.owner != owner || !c.overlaps(at):
		case c.place == at:
			return c.holding, false
		default:
			cut = cut || h.isDescriptor(c.holding)
		}
	}
	return holding{}, cut
}

// store puts a holding into a stack.
func (h *held) store(owner int32, at place, v holding) {
	h.forget(func(c *heldCell) bool { return c.owner == owner && c.overlaps(at) })
	if v.value != 0 {
		n, _ := h.find(owner, at)
		h.cells = slices.Insert(h.cells, n, heldCell{owner, at, v})
	}
}

func (h *held) forget(which func(*heldCell) bool) {
	h.cells = slices.DeleteFunc(h.cells, func(c heldCell) bool { return which(&c) })
}

// canonical numbers values in the order in which they are held, leaves out what is in
// registers that are not live, and values of which nothing is known.
func (h *held) canonical(live insn.Registers) *held {
	n := &held{entered: h.entered, moved: h.moved, cells: make([]heldCell, 0, len(h.cells)), facts: make([]fact, h.entered+1, len(h.facts))}
	copy(n.facts, h.facts)
	counts := make([]int, len(h.facts))
	holdings := func(each func(*holding)) {
		for r := range n.regs {
			each(&n.regs[r])
		}
		for c := range n.cells {
			each(&n.cells[c].holding)
		}
	}
	for r := range n.regs {
		if live&(1<<r) != 0 {
			n.regs[r] = h.regs[r]
		}
	}
	n.cells = append(n.cells, h.cells...)
	holdings(func(v *holding) { counts[v.value]++ })
	numbers := make([]int32, len(h.facts))
	for v := range n.facts {
		numbers[v] = int32(v)
	}
	holdings(func(v *holding) {
		old := v.value
		if int(old) > h.entered && counts[old] == 1 && h.facts[old] == nothingKnown {
			*v = holding{}
			return
		}
		if old != 0 && numbers[old] == 0 {
			numbers[old] = int32(len(n.facts))
			n.facts = append(n.facts, h.facts[old])
		}
		v.value = numbers[old]
	})
	n.forget(func(c *heldCell) bool { return c.value == 0 })
	return n
}

// key tells what is held, of a canonical one, and shape the same but for numbers.
func (h *held) key() string   { return string(h.append(nil, true)) }
func (h *held) shape() string { return string(h.append(nil, false)) }

func (h *held) append(key []byte, numbers bool) []byte {
	number := func(n uint64) { key = binary.AppendUvarint(key, n) }
	flag := func(is bool) {
		if is {
			number(1)
		} else {
			number(0)
		}
	}
	value := func(v holding) {
		if !numbers && !h.isDescriptor(v) && int(v.value) > h.entered {
			v = holding{}
		}
		number(uint64(v.value))
		flag(v.isField)
	}
	for _, v := range h.regs {
		value(v)
	}
	for n := range h.cells {
		c := &h.cells[n]
		if !numbers && !h.isDescriptor(c.holding) && int(c.value) > h.entered {
			continue
		}
		number(uint64(c.owner))
		number(uint64(uint32(c.at)))
		number(uint64(c.size))
		value(c.holding)
	}
	for n := range h.facts {
		f := &h.facts[n]
		if !numbers && !f.isDescriptor && n > h.entered {
			continue
		}
		flag(f.isDescriptor)
		flag(f.isNonzero)
		flag(f.isLowNonzero)
		flag(f.moved.sub != 0)
		number(f.number.value)
		number(f.number.mask)
	}
	flag(h.moved.sub != 0)
	return key
}

// join returns what holds on either of two paths to the same place.
func (h *held) join(o *held) *held {
	n := &held{entered: h.entered, moved: h.moved.or(o.moved), facts: []fact{nothingKnown}}
	known := map[[2]int32]int32{}
	value := func(a, b holding) holding {
		pair := [2]int32{a.value, b.value}
		number, ok := known[pair]
		if !ok && pair != [2]int32{} {
			number = n.add(h.of(a).join(o.of(b))).value
			known[pair] = number
		}
		return holding{number, a.isField || b.isField}
	}
	for v := int32(1); int(v) <= h.entered; v++ {
		value(holding{value: v}, holding{value: v})
	}
	for r := range n.regs {
		n.regs[r] = value(h.regs[r], o.regs[r])
	}
	for _, c := range h.cells {
		if at, found := o.find(c.owner, c.place); found {
			n.cells = append(n.cells, heldCell{c.owner, c.place, value(c.holding, o.cells[at].holding)})
		}
	}
	return n
}

func (f *fact) join(g *fact) fact {
	if *f == *g {
		return *f
	}
	joined := fact{
		isDescriptor: f.isDescriptor || g.isDescriptor,
		isNonzero:    f.nonzero() && g.nonzero(),
		isLowNonzero: f.lowNonzero() && g.lowNonzero(),
		moved:        f.moved.or(g.moved),
		number:       anything,
	}
	if f.number == g.number {
		joined.number = f.number
	}
	return joined
}

func (f *fact) nonzero() bool    { return f.isNonzero || f.lowNonzero() || f.number.value != 0 }
func (f *fact) lowNonzero() bool { return f.isLowNonzero || uint32(f.number.value) != 0 }

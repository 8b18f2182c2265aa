package flow

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// If a recorded offset changes, the addresses that change are those that are
// said to come from it, and nothing else does until one escapes.
func TestRandomOrigins(t *testing.T) {
	checked := 0
	for n := range randomPrograms() {
		g := &generator{Rand: rand.New(rand.NewPCG(*seed+n, 3)), order: binary.LittleEndian, pointers: true}
		g.program()
		f, err := NewFunction(g.code, g.order, 0, g.slot(), g.table...)
		if err != nil {
			t.Fatal(err)
		}
		o := f.Constants(g.assume).Origins(g.offsets)
		for _, origin := range g.offsets {
			for input := range uint64(3) {
				p := &pair{f: f, o: o, origin: origin, offsets: g.offsets}
				if err := p.run(g.assume, input); err != nil {
					t.Fatalf("-seed %d -programs 1: offset at %d: %v\n%s%+v", *seed+n, origin, err, g.listing(), *o)
				}
				checked += p.checked
			}
		}
	}
	if t.Logf("%d accesses", checked); checked == 0 {
		t.Error("no program accesses memory through a recorded offset")
	}
}

// pair is two runs that differ in one recorded offset.
type pair struct {
	f       *Function
	o       *Origins
	origin  int
	offsets []int
	a, b    *machine
	checked int
}

const distance = 0x100

func (p *pair) run(assume Assumptions, input uint64) error {
	p.a, p.b = p.machine(assume, input, 0), p.machine(assume, input, distance)
	for i, steps := 0, 0; steps < fuel; steps++ {
		ins := &p.f.insns[i]
		if ins.Exits() && p.differ(0) && !p.escapes(i) {
			return fmt.Errorf("returned at %d", i)
		}
		if ins.Exits() || p.escapes(i) || !ins.IsCall() && ins.Uses&^p.a.written != 0 {
			return nil
		}
		if err := p.check(i, ins); err != nil {
			return fmt.Errorf("at %d: %w", i, err)
		}
		if (ins.Reads() || ins.Writes()) && p.differ(ins.Address()) && (p.a.inStack(p.a.Regs[ins.Address()]) || p.b.inStack(p.b.Regs[ins.Address()])) {
			return nil
		}
		p.a.steps, p.b.steps = uint64(steps), uint64(steps)
		next, ok := p.a.step(i, ins)
		other, okToo := p.b.step(i, ins)
		if next != other || ok != okToo {
			return fmt.Errorf("%d leads to %d, %v and %d, %v", i, next, ok, other, okToo)
		}
		if !ok {
			return nil
		}
		p.a.written, p.b.written = ins.WrittenAfter(p.a.written), ins.WrittenAfter(p.b.written)
		i = next
	}
	return nil
}

// machine gives every offset a value of its own.
func (p *pair) machine(assume Assumptions, input, more uint64) *machine {
	known := make(map[int]int64)
	for n, slot := range p.offsets {
		known[slot] = int64(8 * n)
		if slot == p.origin {
			known[slot] += int64(more)
		}
	}
	for slot, value := range assume.Known {
		known[slot] = value
	}
	for slot := range p.f.start + len(p.f.insns) {
		if _, ok := known[slot]; !ok && assume.Undecided.Has(slot) {
			known[slot] = int64(slot)
		}
	}
	m := newMachine(p.f, Assumptions{Known: known, Linked: assume.Linked, Extents: assume.Extents}, input)
	m.blind = true
	return m
}

func (p *pair) differ(register uint8) bool { return p.a.Regs[register] != p.b.Regs[register] }

func (p *pair) escapes(i int) bool {
	return slices.ContainsFunc(p.o.Escapes, func(e Escape) bool { return e.Slot == i && e.Origin == p.origin })
}

func (p *pair) check(i int, ins *instruction) error {
	switch {
	case ins.Compares() && (p.differ(ins.Dst) || ins.FromReg() && p.differ(ins.Src)):
		return fmt.Errorf("compared")
	case ins.IsCall():
		for _, r := range (ins.Arguments() & p.a.written).List() {
			if p.differ(uint8(r)) {
				return fmt.Errorf("passed in %s", r)
			}
		}
	case ins.Reads() || ins.Writes():
		return p.checkAccess(i, ins)
	}
	return nil
}

func (p *pair) checkAccess(i int, ins *instruction) error {
	inStack := p.a.inStack(p.a.Regs[ins.Dst])
	if ins.Class() == insn.ClassSTX && !ins.Reads() && !inStack && p.differ(ins.Src) {
		return fmt.Errorf("stored")
	}
	claimed := Dereference{Mixed: true}
	if n := slices.IndexFunc(p.o.Dereferences, func(a Dereference) bool { return a.Slot == i }); n >= 0 {
		claimed = p.o.Dereferences[n]
	}
	ours := slices.ContainsFunc(claimed.Origins, func(o Origin) bool { return o.Slot == p.origin })
	only := ours && len(claimed.Origins) == 1 && !claimed.Mixed
	moved := p.b.Regs[ins.Address()] - p.a.Regs[ins.Address()]
	switch {
	case moved != 0 && !ours:
		return fmt.Errorf("address moved by %#x", moved)
	case moved == 0 && only:
		return fmt.Errorf("address did not move")
	case moved != 0 && moved != distance:
		return fmt.Errorf("address moved by %#x", moved)
	}
	if ours {
		p.checked++
	}
	return nil
}

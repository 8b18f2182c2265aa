package rewrite

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// additions are instructions to put in front of others, by section and slot. What leads to
// these leads to what is in front of them then.
type additions map[string]map[int]Instructions

func (a additions) add(at bpf.Place, item insn.Item) {
	if a[at.Section] == nil {
		a[at.Section] = make(map[int]Instructions)
	}
	a[at.Section][at.Slot] = append(a[at.Section][at.Slot], item)
}

// additions returns what functions start with, to keep what is needed, and to give registers
// a value, and what passes that on to those that are called without.
func (p *planner) additions() additions {
	added := make(additions)
	var passed []passedOn
	for at, fn := range p.functions {
		for what, c := range fn.carried {
			if len(c.kept()) == 0 {
				continue
			}
			if need(what) == needStart && c.argument == asm.R0 {
				p.start(added, fn)
			}
			c.keep(added, at)
			passed = append(passed, c.passed...)
		}
		for _, register := range fn.initialized.List() {
			added.add(at, insn.Item{Instruction: asm.Mov.Imm(register, 0)})
		}
	}
	for _, pass := range passed { // maybe with the first instruction of a function
		added.add(bpf.Place{Section: pass.caller.Place().Section, Slot: pass.slot}, pass.item())
	}
	return added
}

// start adds what a program starts with that leaves in r0 what is computed then. Only ctx, in
// r1, has a value there.
func (p *planner) start(added additions, fn *function) {
	d, _ := p.drivers.of(fn.Place()) // which refuses the field otherwise
	depth := fn.carried[needStart].kept()[0]
	added.add(fn.Place(), insn.Item{Instruction: asm.StoreMem(asm.RFP, int16(-depth), asm.R1, asm.DWord), Kind: insn.Spill})
	for _, item := range d.atStart().code {
		added.add(fn.Place(), item)
	}
	added.add(fn.Place(), insn.Item{Instruction: asm.LoadMem(asm.R1, asm.RFP, int16(-depth), asm.DWord), Kind: insn.Restore})
}

// keep adds what a function starts with that keeps what it needs.
func (c *carried) keep(added additions, at bpf.Place) {
	from := c.argument
	if c.isThrough {
		from = asm.R0 // which no function starts with a value in
		added.add(at, insn.Item{Instruction: asm.LoadMem(from, c.argument, int16(c.offset), asm.DWord)})
	}
	for _, depth := range c.kept() {
		added.add(at, insn.Item{Instruction: asm.StoreMem(asm.RFP, int16(-depth), from, asm.DWord), Kind: insn.Spill})
	}
}

// item returns what passes it on.
func (p *passedOn) item() insn.Item {
	if p.from.depth > 0 {
		return insn.Item{Instruction: asm.LoadMem(p.to, asm.RFP, int16(-p.from.depth), asm.DWord), Kind: insn.Restore}
	}
	return insn.Item{Instruction: asm.Mov.Reg(p.to, p.from.register)}
}

// put makes the additions part of the replacements of the instructions that they are in
// front of, which are sorted by slot.
func (a additions) put(object *bpf.Object, replacements map[string][]code.Replacement) error {
	for name, bySlot := range a {
		section := object.Section(name)
		for slot, insns := range bySlot {
			encoded, err := insns.encode(object.Order())
			if err != nil {
				return err
			}
			list := replacements[name]
			at, found := slices.BinarySearchFunc(list, slot, func(r code.Replacement, slot int) int { return r.Slot - slot })
			if !found {
				same, err := code.Unchanged(section.Section, slot, section.Linked().Has(slot), object.Order())
				if err != nil {
					return err
				}
				list = slices.Insert(list, at, same)
			}
			list[at].PutInFront(encoded)
			replacements[name] = list
		}
	}
	return nil
}

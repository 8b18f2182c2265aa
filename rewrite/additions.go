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

// additions returns what functions start with, to keep ctx, and to give registers a value,
// and what passes ctx on to those that are called without.
func (p *planner) additions() additions {
	added := make(additions)
	var passed []passedContext
	for at, fn := range p.functions {
		if c := fn.context; c != nil && fn.contextErr == nil && len(c.kept()) > 0 {
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

// keep adds what a function starts with that keeps ctx.
func (c *context) keep(added additions, at bpf.Place) {
	from := c.argument
	if c.isThrough {
		from = asm.R0 // which no function starts with a value in
		added.add(at, insn.Item{Instruction: asm.LoadMem(from, c.argument, int16(c.offset), asm.DWord)})
	}
	for _, depth := range c.kept() {
		added.add(at, insn.Item{Instruction: asm.StoreMem(asm.RFP, int16(-depth), from, asm.DWord), Kind: insn.Spill})
	}
}

// item returns what passes ctx.
func (p *passedContext) item() insn.Item {
	to := p.to.context.argument
	if p.from.depth > 0 {
		return insn.Item{Instruction: asm.LoadMem(to, asm.RFP, int16(-p.from.depth), asm.DWord), Kind: insn.Restore}
	}
	return insn.Item{Instruction: asm.Mov.Reg(to, p.from.register)}
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

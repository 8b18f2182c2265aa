package rewrite

import (
	"math"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/reloc"
)

// What is true or false clang stores as
//
//	r2 = 1
//	if r3 != 0 goto +1
//	r2 = 0
//	*(u8 *)(r1 + 8) = r2
//
// and chooses for another layout between other constants, instead of converting
// what it has chosen.

// choice are the two instructions that put a constant into a register.
type choice [2]put

type put struct {
	slot int
	ins  asm.Instruction
}

// storeChoice makes an edit store one of two constants that are the layout's
// already, if the program chooses between two and that takes fewer instructions.
func (p *planner) storeChoice(edit *Edit, ins asm.Instruction) {
	chosen, ok := p.choiceFor(edit.Access, ins)
	if !ok || len(edit.Others) > 0 {
		return
	}
	local, target, err := p.images(resolvedAccess{edit.Access, edit.Resolution}, ins, int64(ins.Offset), edit.Access.Insn)
	if err != nil || local.IsPart() {
		return
	}
	var changed []Patch
	for _, put := range chosen {
		after, ok := put.converted(local, target)
		if !ok {
			return
		}
		if after != put.ins.Constant {
			changed = append(changed, Patch{Insn: put.slot, Before: instructions(put.ins), After: instructions(put.holding(after))})
		}
	}
	s := p.sequence(edit.Access, edit.Resolution)
	if s.StorePlaced(ins, target, p.registersAt(edit.Access, edit.Access.Insn)) == nil && Instructions(s.Items).Slots() < edit.After.Slots() {
		edit.After, edit.Others = s.Items, changed
	}
}

// choiceFor returns the instructions that put what is stored into its register, if
// these are two and nothing else needs it.
func (p *planner) choiceFor(access *reloc.Access, store asm.Instruction) (chosen choice, ok bool) {
	fn := p.function(access)
	live, err := fn.liveness()
	if err != nil || !live.Dies(access.Insn).Has(store.Src) || store.Src == store.Dst {
		return chosen, false
	}
	jump, ok := jumpOver(fn, access.Insn)
	if !ok || fn.mentions(jump, store.Src) {
		return chosen, false
	}
	over, err := fn.section.Instruction(jump + 1)
	at, before, found := p.lastBefore(access, jump, store.Src)
	chosen = choice{{at, before}, {jump + 1, over}}
	for _, put := range chosen {
		if err != nil || !found || !put.isMove(store.Src) || !p.untouched(access, put.slot) {
			return chosen, false
		}
	}
	return chosen, true
}

// jumpOver returns the conditional jump to a slot over the only instruction that is
// in front of it, if nothing else leads to either.
func jumpOver(fn *function, slot int) (jump int, ok bool) {
	blocks := fn.Flow.Blocks()
	join := fn.Flow.BlockAt(slot)
	over := join - 1
	if over < 1 || blocks[join].Start != slot || len(blocks[join].Preds) != 2 || blocks[over].End-blocks[over].Start != 1 || len(blocks[over].Preds) != 1 {
		return 0, false
	}
	from := blocks[over].Preds[0]
	leads := len(blocks[over].Succs) == 1 && blocks[over].Succs[0] == join
	chooses := len(blocks[from].Succs) == 2 && blocks[from].Succs[0] == over && blocks[from].Succs[1] == join
	return blocks[from].End - 1, leads && chooses && blocks[from].End == blocks[over].Start
}

// isMove reports whether the instruction puts a constant of 32 bits into a register.
func (p *put) isMove(reg asm.Register) bool {
	op := p.ins.OpCode
	return op.Class().IsALU() && op.ALUOp() == asm.Mov && op.Source() == asm.ImmSource && p.ins.Dst == reg
}

// holding returns the instruction with another constant.
func (p *put) holding(constant int64) asm.Instruction {
	ins := p.ins
	ins.Constant = constant
	return ins
}

// converted returns the constant that is the layout's number, in its place among the
// bytes. It returns false if the instruction can't hold that.
func (p *put) converted(local, target convert.Image) (int64, bool) {
	value, is32 := p.ins.Constant, p.ins.OpCode.Class() == asm.ALUClass
	if is32 {
		value = int64(uint32(value)) // which clears what is above
	}
	value = convert.Converted(value, local, target)
	if target.IsWhole() {
		bytes := target.Bytes(value)
		return bytes, convert.FitsImmediate(bytes) && (bytes >= 0 || !is32 || target.Width <= 4)
	}
	bits := int64(uint64(value) & (1<<target.Bits - 1) << target.Shift)
	return bits, bits >= 0 && bits <= math.MaxInt32
}

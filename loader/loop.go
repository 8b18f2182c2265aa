//go:build linux

package loader

import (
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

var (
	// What the verifier says of a loop, wherever in it it stops.
	loopVerdict = pattern(`infinite loop detected|back-edge|program is too large|jumps is too complex`)

	loopStatement = pattern(`\b(for|while|bpf_for|bpf_for_each|bpf_repeat)\b`)
)

// loopSource returns the line of the statement that the innermost loop around a
// slot is, or else at. Compilers put the condition of a loop anywhere in it, the
// jump back at its end.
func loopSource(insns asm.Instructions, slot int, at reloc.Source) reloc.Source {
	first, last, ok := loopAround(insns, slot)
	if !ok {
		return at
	}
	_, _, at = place(insns, last)
	for iter := insns.Iterate(); iter.Next() && int(iter.Offset) <= last; {
		line, ok := iter.Ins.Source().(*btf.Line)
		if ok && int(iter.Offset) >= first && loopStatement().MatchString(line.Line()) {
			at = source(line)
		}
	}
	return at
}

// loopAround returns the slots of the first and last instruction of the
// shortest loop around a slot.
func loopAround(insns asm.Instructions, slot int) (first, last int, ok bool) {
	for iter := insns.Iterate(); iter.Next(); {
		from := int(iter.Offset)
		to, isJump := jumpTarget(iter.Ins, from)
		if isJump && to <= slot && slot <= from && (!ok || from-to < last-first) {
			first, last, ok = to, from, true
		}
	}
	return first, last, ok
}

// jumpTarget returns the slot that an instruction at a slot jumps to.
func jumpTarget(ins *asm.Instruction, slot int) (target int, ok bool) {
	switch op := ins.OpCode; {
	case !op.Class().IsJump(), op.JumpOp() == asm.Call, op.JumpOp() == asm.Exit:
		return 0, false
	case op.Class() == asm.Jump32Class && op.JumpOp() == asm.Ja: // gotol
		return slot + 1 + int(ins.Constant), true
	}
	return slot + 1 + int(ins.Offset), true
}

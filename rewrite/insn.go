package rewrite

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Instructions are what an edit replaces or puts in its place.
type Instructions []insn.Item

// instructions returns some of the program's, or what they become on their own: what
// accesses memory does so for the field.
func instructions(insns ...asm.Instruction) Instructions {
	items := make(Instructions, len(insns))
	for i, ins := range insns {
		items[i].Instruction = ins
		if insn.IsMemory(ins) {
			items[i].Kind = insn.Field
		}
	}
	return items
}

func (insns Instructions) encode(order binary.ByteOrder) ([]byte, error) {
	out := make([]byte, 0, insns.Slots()*insn.SlotSize)
	for _, ins := range insns {
		var err error
		if out, err = insn.Append(out, ins.Instruction, order); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Slots returns how many slots of reloc.InstructionSize the instructions take.
func (insns Instructions) Slots() int {
	slots := 0
	for _, ins := range insns {
		slots += int(ins.Width())
	}
	return slots
}

// poison returns as many instructions that the verifier refuses if they can be reached.
func poison(slots int) Instructions { return slices.Repeat(instructions(insn.Poison()), slots) }

// String spells the instructions as llvm-objdump and bpftool do; "removed" if
// none are left.
func (insns Instructions) String() string {
	if len(insns) == 0 {
		return "removed"
	}
	spelled := make([]string, len(insns))
	for i, ins := range insns {
		spelled[i] = insn.Spell(ins.Instruction)
	}
	return strings.Join(spelled, "; ")
}

// MarshalText returns the same as String, and nothing for no instructions.
func (insns Instructions) MarshalText() ([]byte, error) {
	if len(insns) == 0 {
		return nil, nil
	}
	return []byte(insns.String()), nil
}

func ones(n int) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<max(n, 0) - 1
}

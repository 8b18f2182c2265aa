package accessor

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// trim takes out what the kernel's answers have made superfluous: code that can't be
// reached, branches that always lead one way, and what is computed and not used. It
// returns the object as it is then.
func (o *object) trim(functions []string) (*object, error) {
	for {
		changes := 0
		err := o.change(functions, func(s *survey) ([]code.Replacement, error) {
			replacements, err := s.superfluous()
			changes += len(replacements)
			return replacements, err
		})
		if err != nil || changes == 0 {
			return o, err
		}
		if o, err = o.reread(); err != nil {
			return nil, err
		}
	}
}

func (s *survey) superfluous() (replacements []code.Replacement, err error) {
	for i, slot := range s.slots {
		ins := s.insns[slot]
		switch {
		case s.constants.Reachable(slot) == flow.Unreachable, s.isUnused(slot, &ins):
			replacements = append(replacements, code.Replacement{Slot: slot, Kept: -1})
		case ins.Jumps():
			replacement, err := s.shortened(i, &ins)
			if err != nil {
				return nil, s.fn.errorAt(slot, err)
			}
			replacements = append(replacements, replacement...)
		}
	}
	return replacements, nil
}

// isUnused reports whether an instruction only writes what nobody reads.
func (s *survey) isUnused(slot int, ins *insn.Instruction) bool {
	isPure := ins.IsALU() || ins.Op == insn.LDDW || ins.Class() == insn.ClassLDX
	return isPure && ins.Defs&s.live.LiveOut(slot) == 0
}

// shortened returns what becomes of the jump at an index of slots, nothing if it stays.
func (s *survey) shortened(i int, ins *insn.Instruction) ([]code.Replacement, error) {
	slot := s.slots[i]
	distance, field, err := ins.Distance()
	if err != nil || field == insn.NoDistance {
		return nil, err
	}
	target := slot + 1 + distance
	next := s.constants.Next(s.fn.Flow.BlockAt(slot))
	if len(next) != 1 {
		return nil, nil
	}
	leads := s.fn.Flow.Blocks()[next[0]].Start
	switch {
	case leads == s.reachedAfter(i):
		return []code.Replacement{{Slot: slot, Kept: -1}}, nil
	case !ins.FallsThrough(), leads != target:
		return nil, nil
	}
	q := &sequence{order: s.fn.object.file.Order}
	q.put(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)})
	return []code.Replacement{{Slot: slot, Code: q.code, Jumps: []code.Jump{{Target: target}}, Kept: -1}}, q.err
}

// reachedAfter returns the slot of the next instruction that can be reached behind that at
// an index of slots, -1 if there is none.
func (s *survey) reachedAfter(i int) int {
	rest := s.slots[i+1:]
	next := slices.IndexFunc(rest, func(slot int) bool { return s.constants.Reachable(slot) != flow.Unreachable })
	if next < 0 {
		return -1
	}
	return rest[next]
}

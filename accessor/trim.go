package accessor

import (
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// trim takes out what the kernel's answers have made superfluous: code that can't be
// reached, branches that always lead one way, offsets in registers, and what is computed
// and not used. It returns the object as it is then.
func (o *object) trim(functions []string) (*object, error) {
	for len(functions) > 0 {
		var changed []string // which may have come to have more of it
		err := o.change(functions, func(s *survey) ([]code.Replacement, error) {
			replacements, err := s.superfluous()
			if len(replacements) > 0 {
				changed = append(changed, s.fn.name)
			}
			return replacements, err
		})
		if err != nil || len(changed) == 0 {
			return o, err
		}
		if o, err = o.reread(); err != nil {
			return nil, err
		}
		functions = changed
	}
	return o, nil
}

func (s *survey) superfluous() (replacements []code.Replacement, err error) {
	for i := 0; i < len(s.slots); i++ {
		slot := s.slots[i]
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
		case s.isFolded(i):
			replacements = append(replacements, code.Replacement{Slot: slot, Kept: -1}, s.folded(i))
			i++ // which is changed already
		default:
			replacements = append(replacements, s.immediate(slot, &ins)...)
		}
	}
	return replacements, nil
}

// immediate returns what becomes of an addition of a constant in a register.
func (s *survey) immediate(slot int, ins *insn.Instruction) []code.Replacement {
	isSum := ins.Class() == insn.ClassALU64 && ins.FromReg() && (ins.Code() == insn.OpADD || ins.Code() == insn.OpSUB)
	value, ok := s.constants.Value(slot, asm.Register(ins.Src))
	if !isSum || !ok || s.recorded[slot] || value < 0 || value > math.MaxInt32 {
		return nil
	}
	if ins.Code() == insn.OpSUB {
		value = -value
	}
	return []code.Replacement{{Slot: slot, Code: s.encoded(asm.Add.Imm(asm.Register(ins.Dst), int32(value))), Kept: -1}}
}

// isFolded reports whether the load behind the instruction at an index of slots can do
// what that does: add a constant to the address, or copy it to the register.
func (s *survey) isFolded(i int) bool {
	ins, next := s.insns[s.slots[i]], s.next(i)
	switch {
	case next == nil, next.Class() != insn.ClassLDX, next.Src != ins.Dst, ins.Class() != insn.ClassALU64, s.recorded[s.slots[i]]:
		return false
	case next.Dst != next.Src && !s.live.Dies(s.slots[i+1]).Has(asm.Register(next.Src)), s.isUnused(s.slots[i+1], next):
		return false
	case ins.Code() == insn.OpMOV:
		return ins.FromReg() && ins.Off == 0
	}
	offset := int64(next.Off) + ins.Imm
	return ins.Code() == insn.OpADD && !ins.FromReg() && !s.recorded[s.slots[i+1]] && offset >= 0 && offset <= math.MaxInt16
}

// folded returns what becomes of that load.
func (s *survey) folded(i int) code.Replacement {
	ins, next := s.insns[s.slots[i]], s.next(i)
	load := asm.Instruction{OpCode: asm.OpCode(next.Op), Dst: asm.Register(next.Dst), Src: asm.Register(next.Src), Offset: next.Off}
	if ins.Code() == insn.OpMOV {
		load.Src = asm.Register(ins.Src)
	} else {
		load.Offset += int16(ins.Imm)
	}
	return code.Replacement{Slot: s.slots[i+1], Code: s.encoded(load)}
}

// next returns the instruction behind that at an index of slots, nil if something else may
// lead there.
func (s *survey) next(i int) *insn.Instruction {
	slot := s.slots[i]
	if i+1 == len(s.slots) || s.fn.Flow.BlockAt(slot) != s.fn.Flow.BlockAt(s.slots[i+1]) {
		return nil
	}
	ins := s.insns[s.slots[i+1]]
	return &ins
}

// encoded returns the bytes of an instruction, which can be encoded.
func (s *survey) encoded(ins asm.Instruction) []byte {
	q := &sequence{order: s.fn.object.file.Order}
	q.put(ins)
	return q.code
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
	jump := s.encoded(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)})
	return []code.Replacement{{Slot: slot, Code: jump, Jumps: []code.Jump{{Target: target}}, Kept: -1}}, nil
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

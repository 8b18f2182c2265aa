package insn

// NeedsVersion4 reports whether the instruction came with version 4 of the instruction
// set: sign-extending loads and moves, unconditional byte swaps, long jumps, signed
// division (Documentation/bpf/standardization/instruction-set.rst).
func (ins *Instruction) NeedsVersion4() bool {
	switch {
	case ins.Class() == ClassLDX && ins.Mode() == ModeMEMSX, ins.IsLongJump():
		return true
	case !ins.IsALU():
		return false
	}
	switch ins.Code() {
	case OpMOV:
		return ins.FromReg() && ins.Off != 0
	case OpEND:
		return ins.Class() == ClassALU64
	case OpDIV, OpMOD:
		return ins.Off == 1
	}
	return false
}

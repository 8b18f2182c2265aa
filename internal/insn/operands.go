package insn

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// findOperands fills in Uses and Defs.
func (ins *Instruction) findOperands() error {
	if ins.Dst > Frame || ins.Op != LDDW && !ins.IsCall() && ins.Src > Frame {
		return fmt.Errorf("registers %d and %d: %w", ins.Dst, ins.Src, errUndefined)
	}
	dst, src := Registers(1)<<ins.Dst, Registers(1)<<ins.Src
	switch ins.Class() {
	case ClassLD:
		return ins.findLD(dst, src)
	case ClassLDX:
		ins.Uses, ins.Defs = src, dst
		return ins.checkMode(ModeMEM, ModeMEMSX)
	case ClassST:
		ins.Uses = dst
		return ins.checkMode(ModeMEM)
	case ClassSTX:
		return ins.findSTX(dst, src)
	case ClassALU, ClassALU64:
		return ins.findALU(dst, src)
	}
	return ins.findJump(dst, src)
}

func (ins *Instruction) checkMode(allowed ...uint8) error {
	if !slices.Contains(allowed, ins.Mode()) {
		return ins.undefined()
	}
	return nil
}

func (ins *Instruction) findLD(dst, src Registers) error {
	if ins.Op == LDDW {
		ins.Defs = dst
		return nil
	}
	ins.Uses, ins.Defs = Of(asm.R6), Clobbered
	if ins.Mode() == ModeIND {
		ins.Uses |= src
	}
	return ins.checkMode(ModeABS, ModeIND)
}

func (ins *Instruction) findSTX(dst, src Registers) error {
	ins.Uses = dst | src
	if ins.Mode() != ModeATOMIC {
		return ins.checkMode(ModeMEM)
	}
	switch ins.Imm {
	case AtomicLoadAcquire:
		ins.Uses, ins.Defs = src, dst
	case AtomicStoreRelease, OpADD, OpOR, OpAND, OpXOR:
	case OpADD | AtomicFetch, OpOR | AtomicFetch, OpAND | AtomicFetch, OpXOR | AtomicFetch, AtomicXchg:
		ins.Defs = src
	case AtomicCmpxchg:
		ins.Uses |= Of(asm.R0)
		ins.Defs = Of(asm.R0)
	default:
		return fmt.Errorf("atomic operation %#x: %w", ins.Imm, errUndefined)
	}
	return nil
}

func (ins *Instruction) findALU(dst, src Registers) error {
	if ins.Code() > OpEND {
		return ins.undefined()
	}
	ins.Defs = dst
	if ins.Code() != OpMOV {
		ins.Uses = dst
	}
	if ins.FromReg() && ins.Code() != OpEND && ins.Code() != OpNEG {
		ins.Uses |= src
	}
	return nil
}

func (ins *Instruction) findJump(dst, src Registers) error {
	switch code := ins.Code(); {
	case !ins.isKnownJump():
		return ins.undefined()
	case ins.IsGotox():
		ins.Uses = dst
	case code == OpCALL:
		ins.Uses, ins.Defs = ins.callArguments(), Clobbered
	case code == OpEXIT:
		ins.Uses = Of(asm.R0)
	case code == OpJA, code == OpJCOND:
	case ins.FromReg():
		ins.Uses = dst | src
	default:
		ins.Uses = dst
	}
	return nil
}

// callArguments returns the registers that a call may read, as far as the instruction
// tells.
func (ins *Instruction) callArguments() Registers {
	switch {
	case ins.FromReg():
		return Arguments | 1<<ins.Dst
	case ins.IsHelperCall() && ins.Imm >= 0 && ins.Imm < int64(len(helperArguments)):
		return (1<<(helperArguments[ins.Imm]+1) - 1) & Arguments
	}
	return Arguments
}

package accessor

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// names are what a function's registers are called now, by what they were called. That
// is possible since no call says which register is which: only where the function starts
// and ends do they have to be what a caller knows.
type names [insn.NumRegisters]uint8

func (n *names) of(register uint8) asm.Register { return asm.Register(n[register]) }

// set returns registers by their new names.
func (n *names) set(old insn.Registers) (set insn.Registers) {
	for _, register := range old.List() {
		set |= 1 << n[register]
	}
	return set
}

// rename returns an instruction with the new names. raw is the instruction as encoded.
func (n *names) rename(raw []byte, ins *insn.Instruction, order binary.ByteOrder) []byte {
	renamed := slices.Clone(raw)
	dst, src := ins.Dst, ins.Src
	if namesDst(ins) {
		dst = n[dst]
	}
	if namesSrc(ins) {
		src = n[src]
	}
	renamed[1] = src<<4 | dst
	if order == binary.BigEndian {
		renamed[1] = dst<<4 | src
	}
	return renamed
}

// namesDst reports whether an instruction's first register is one, and namesSrc whether
// the second is.
func namesDst(ins *insn.Instruction) bool {
	return ins.IsMemory() || ins.IsALU() || ins.Op == insn.LDDW || ins.Compares()
}

func namesSrc(ins *insn.Instruction) bool {
	switch ins.Class() {
	case insn.ClassLDX, insn.ClassSTX:
		return true
	case insn.ClassALU, insn.ClassALU64:
		return ins.FromReg() && ins.Code() != insn.OpEND && ins.Code() != insn.OpNEG
	}
	return ins.Compares() && ins.FromReg()
}

// used returns the registers that the function names.
func (s *survey) used() (used insn.Registers) {
	for _, ins := range s.insns {
		used |= ins.Uses | ins.Defs
	}
	return used &^ (1 << insn.Frame)
}

// over returns the registers that a load of the kernel's memory must leave as they are.
func (s *survey) over(slot int) insn.Registers {
	ins := s.insns[slot]
	return s.live.LiveOut(slot) &^ ins.Defs
}

// overLoads returns how many loads each register lives over.
func (s *survey) overLoads() (counts [insn.NumRegisters]int) {
	for _, slot := range s.loads {
		for _, register := range s.over(slot).List() {
			counts[register]++
		}
	}
	return counts
}

// unwritten returns the registers that live over a load which they may come to without a
// value: what saves them would read that.
func (s *survey) unwritten() (set insn.Registers) {
	for _, slot := range s.loads {
		set |= s.over(slot) &^ s.live.Always(slot)
	}
	return set
}

// assign names registers: those that live over loads by the places, the ones that live
// over most first, the others by what is left, keeping their names if they can.
func (s *survey) assign(places []uint8) *names {
	counts := s.overLoads()
	var over, others []uint8
	for register := uint8(0); register < insn.Frame; register++ {
		if counts[register] > 0 {
			over = append(over, register)
		} else if s.used().Has(asm.Register(register)) {
			others = append(others, register)
		}
	}
	slices.SortStableFunc(over, func(a, b uint8) int { return counts[b] - counts[a] })

	n, taken := &names{insn.Frame: insn.Frame}, insn.Registers(0)
	for i, register := range over {
		n[register] = places[i]
		taken |= 1 << places[i]
	}
	s.keepNames(n, others, taken)
	return n
}

// keepNames gives the others their own names if these are free, and other ones if not.
// Registers that addresses are loaded into come first: an address in r1 needs no move.
func (s *survey) keepNames(n *names, others []uint8, taken insn.Registers) {
	var left []uint8
	for _, register := range others {
		if taken.Has(asm.Register(register)) || register > 1 && s.isAddress(register) {
			left = append(left, register)
			continue
		}
		n[register] = register
		taken |= 1 << register
	}
	for _, register := range left {
		free := uint8(bits.TrailingZeros16(uint16(^taken)))
		switch {
		case s.isAddress(register) && !taken.Has(asm.R1):
			free = 1
		case !taken.Has(asm.Register(register)):
			free = register
		}
		n[register] = free
		taken |= 1 << free
	}
}

// isAddress reports whether a load of the kernel's memory finds its address in a register
// that was loaded, and is no argument.
func (s *survey) isAddress(register uint8) bool {
	if int(register) <= s.fn.arguments() {
		return false
	}
	for _, slot := range s.loads {
		if ins := s.insns[slot]; ins.Src == register {
			return true
		}
	}
	return false
}

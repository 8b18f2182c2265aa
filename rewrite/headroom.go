package rewrite

import (
	"encoding/binary"
	"math"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Code in line keeps what it needs below what a function uses of its stack. Where an index
// goes into that, nobody knows how far down it is used, but all of it is found by way of
// r10: it can be moved down as a whole, and what is kept goes above.

// headroom is how many bytes a stack is moved down by: room for the registers that calls
// don't keep, for ctx, and for what an accessor has on the stack.
const headroom = 96

// namedFunction is a function of an object, wherever its code is moved.
type namedFunction struct{ section, name string }

func (fn *function) named() namedFunction {
	return namedFunction{fn.section.Name, fn.Prototype().Name}
}

// isLowered reports whether the stack of a function has been moved down.
func (p *planner) isLowered(fn *function) bool {
	return p.drivers != nil && p.drivers.lowered[fn.named()]
}

// noteCramped notes a function that would have to have its stack moved down.
func (p *planner) noteCramped(fn *function) {
	if p.drivers != nil {
		p.drivers.cramped[fn.named()] = true
	}
}

// lowerStacks returns the object with the stack of some functions moved down, if each of
// them uses r10 in ways that are understood.
func lowerStacks(object []byte, functions map[namedFunction]bool) ([]byte, bool) {
	lowered, err := elfobj.Parse(object)
	if err != nil {
		return nil, false
	}
	for _, section := range lowered.Sections {
		for _, symbol := range lowered.Functions(section) {
			if !functions[namedFunction{section.Name, symbol.Name}] {
				continue
			}
			if symbol.Value+symbol.Size > uint64(len(section.Data)) || !lowerStack(section.Data[symbol.Value:][:symbol.Size], lowered.Order) {
				return nil, false
			}
		}
	}
	return lowered.Bytes(), true
}

// lowerStack moves the stack of a function down. An address in it is made of r10 and a
// constant, which comes next.
func lowerStack(code []byte, order binary.ByteOrder) bool {
	targets, ok := jumpTargets(code, order)
	if !ok {
		return false
	}
	for at := 0; at < len(code); at += insn.SlotSize {
		ins, err := insn.ToAsm(code[at:], order)
		if err != nil {
			return false
		}
		switch {
		case !insn.Mentions(ins, asm.RFP):
		case isFrame(ins):
			next := at + insn.SlotSize
			if next >= len(code) || targets[next/insn.SlotSize] || !lowerSum(code[next:], ins.Dst, order) {
				return false
			}
		case !lowerAccess(code[at:], ins, order):
			return false
		}
		at += int(ins.Width()-1) * insn.SlotSize
	}
	return true
}

// jumpTargets returns the slots that jumps of a function lead to.
func jumpTargets(code []byte, order binary.ByteOrder) (map[int]bool, bool) {
	targets := make(map[int]bool)
	for slot := 0; slot*insn.SlotSize < len(code); {
		ins, err := insn.Decode(code[slot*insn.SlotSize:], order)
		if err != nil || ins.IsGotox() {
			return nil, false
		}
		distance, field, err := ins.Distance()
		if err != nil {
			return nil, false
		}
		if field != insn.NoDistance && ins.Jumps() {
			targets[slot+1+distance] = true
		}
		slot += ins.Slots()
	}
	return targets, true
}

// lowerSum changes the addition of a constant to a copy of r10.
func lowerSum(code []byte, dst asm.Register, order binary.ByteOrder) bool {
	ins, err := insn.ToAsm(code, order)
	if err != nil || ins.OpCode != asm.Add.Op(asm.ImmSource) || ins.Dst != dst || ins.Constant >= 0 || ins.Constant-headroom < -flow.MaxStack {
		return false
	}
	order.PutUint32(code[4:], uint32(int32(ins.Constant-headroom)))
	return true
}

// lowerAccess changes a load or store at r10.
func lowerAccess(code []byte, ins asm.Instruction, order binary.ByteOrder) bool {
	base, value := ins.Dst, ins.Src
	if ins.OpCode.Class() == asm.LdXClass {
		base, value = ins.Src, ins.Dst
	}
	isValue := ins.OpCode.Class() != asm.StClass && value == asm.RFP
	to := int(ins.Offset) - headroom
	if !insn.IsMemory(ins) || base != asm.RFP || isValue || ins.Offset >= 0 || to < max(math.MinInt16, -flow.MaxStack) {
		return false
	}
	order.PutUint16(code[2:], uint16(int16(to)))
	return true
}

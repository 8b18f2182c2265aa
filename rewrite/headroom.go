package rewrite

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
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

// stretch is the code of a function, in slots of the object as it came: that is where
// copies of it are from, too.
type stretch struct {
	section  string
	from, to int
}

// asItCame returns where in the object as it came the last instruction of a function was.
func (p *planner) asItCame(fn *function) bpf.Place {
	at := bpf.Place{Section: fn.section.Name, Slot: fn.End - 1}
	if old := p.drivers.oldSlots[at.Section]; at.Slot < len(old) {
		at.Slot = old[at.Slot]
	}
	return at
}

// isLowered reports whether the stack of a function has been moved down.
func (p *planner) isLowered(fn *function) bool {
	if p.drivers == nil || len(p.drivers.lowered) == 0 {
		return false
	}
	at := p.asItCame(fn)
	return slices.ContainsFunc(p.drivers.lowered, func(s stretch) bool {
		return s.section == at.Section && s.from <= at.Slot && at.Slot < s.to
	})
}

// noteCramped notes a function that would have to have its stack moved down.
func (p *planner) noteCramped(fn *function) {
	if p.drivers != nil {
		p.drivers.cramped[p.asItCame(fn)] = true
	}
}

// lowerStacks returns the object with the stack of the functions moved down that some
// instructions are in, and which these are: those that use r10 in ways that are understood.
func lowerStacks(object []byte, in map[bpf.Place]bool) ([]byte, []stretch) {
	if len(in) == 0 {
		return object, nil
	}
	lowered, err := elfobj.Parse(object)
	if err != nil {
		return object, nil
	}
	var stretches []stretch
	for _, section := range lowered.Sections {
		for _, symbol := range lowered.Functions(section) {
			s := stretch{section.Name, int(symbol.Value / insn.SlotSize), int((symbol.Value + symbol.Size) / insn.SlotSize)}
			isIn := func(at bpf.Place) bool { return at.Section == s.section && s.from <= at.Slot && at.Slot < s.to }
			if slices.Contains(stretches, s) || !slices.ContainsFunc(slices.Collect(maps.Keys(in)), isIn) {
				continue
			}
			if s.to*insn.SlotSize > len(section.Data) {
				continue
			}
			code := section.Data[s.from*insn.SlotSize : s.to*insn.SlotSize]
			if moved := bytes.Clone(code); lowerStack(moved, lowered.Order) {
				copy(code, moved)
				stretches = append(stretches, s)
			}
		}
	}
	return lowered.Bytes(), stretches
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

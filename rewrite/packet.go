package rewrite

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
)

// Some NICs put what they know into the bytes beside the packet. It is there as long as
// nobody has moved the packet, or written in front of it.

// checkPacket refuses an access to a field that is read beside the packet where that may
// have changed since the program was entered.
func (p *planner) checkPacket(fn *function, slot int) error {
	at, ok := p.spoiledBefore(fn, slot, make(map[*function]bool))
	if !ok {
		return nil
	}
	ins, err := at.fn.section.Instruction(at.slot)
	if err != nil {
		return err
	}
	by := fmt.Sprintf("%q", insn.Spell(ins))
	if ins.OpCode.JumpOp() == asm.Call && ins.OpCode.Class().IsJump() {
		by = p.calledName(at.fn, at.slot, ins)
	}
	return refuse.Because("read it into a variable before that", "it is read from the bytes beside the packet, which %s (%s) may have changed", by, p.lineAt(at.fn.section.Name, at.slot))
}

// spoiler is an instruction that may change the bytes beside the packet.
type spoiler struct {
	fn   *function
	slot int
}

// spoiledBefore returns what may have changed the bytes beside the packet when a function
// comes to a slot, and whether anything may.
func (p *planner) spoiledBefore(fn *function, slot int, seen map[*function]bool) (spoiler, bool) {
	if fn.Err != nil {
		return spoiler{fn, fn.Start}, true
	}
	for from := fn.Start; from < fn.End; from++ {
		if p.spoils(fn, from, make(map[*function]bool)) && fn.Flow.Leads(from, slot) {
			return spoiler{fn, from}, true
		}
	}
	if seen[fn] {
		return spoiler{}, false
	}
	seen[fn] = true
	for _, call := range p.callsOf(fn) {
		if !call.isCall && p.spoilsAnywhere(fn, make(map[*function]bool)) { // it may be called again and again
			return spoiler{call.caller, call.slot}, true
		}
		if by, ok := p.spoiledBefore(call.caller, call.slot, seen); ok {
			return by, true
		}
	}
	return spoiler{}, false
}

// spoils reports whether an instruction of a function may change the bytes beside the
// packet, or what it calls does.
func (p *planner) spoils(fn *function, slot int, seen map[*function]bool) bool {
	ins := fn.section.Read(slot)
	switch {
	case ins.IsSecondHalf():
		return false
	case ins.IsHelperCall():
		return ins.MovesPacket()
	case ins.Writes():
		pointees, _ := p.program.pointers.Address(p.program.subs[fn.Place()], slot)
		return regionsOf(pointees).has(flow.Area)
	}
	if insn.KfuncMovesPacket(fn.section.KFuncs()[slot]) {
		return true
	}
	callee, ok := fn.References()[slot]
	return ok && p.object.IsFunction(callee) && p.spoilsAnywhere(p.functionAt(callee), seen)
}

// spoilsAnywhere reports whether any instruction of a function does.
func (p *planner) spoilsAnywhere(fn *function, seen map[*function]bool) bool {
	if seen[fn] {
		return false
	}
	seen[fn] = true
	for slot := fn.Start; slot < fn.End; slot++ {
		if p.spoils(fn, slot, seen) {
			return true
		}
	}
	return false
}

package rewrite

import (
	"fmt"
	"slices"

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
	case ins.Writes():
		pointees, _ := p.program.pointers.Address(p.program.subs[fn.Place()], slot)
		return regionsOf(pointees).has(flow.Area)
	case ins.MovesPacket(), insn.KfuncMovesPacket(fn.section.KFuncs()[slot]):
		return true
	}
	callee, isOwn := fn.References()[slot]
	if isOwn = isOwn && p.object.IsFunction(callee); isOwn && p.spoilsAnywhere(p.functionAt(callee), seen) {
		return true
	}
	isFollowed := isOwn && !p.functionAt(callee).IsGlobal
	return ins.IsCall() && !isFollowed && p.givesArea(fn, slot, &ins)
}

// givesArea reports whether a call gives away an address in front of the packet: of what a
// helper, a kfunc or a global function writes there nobody knows.
func (p *planner) givesArea(fn *function, slot int, ins *insn.Instruction) bool {
	sub := p.program.subs[fn.Place()]
	return slices.ContainsFunc(insn.Arguments.List(), func(argument asm.Register) bool {
		return ins.TakesAddress(int(argument)) && regionsOf(p.program.pointers.Argument(sub, slot, argument)).has(flow.Area)
	})
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

package rewrite

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// registersAt returns what a sequence may use in place of an instruction.
func (p *planner) registersAt(access *reloc.Access, slot int) *slotRegisters {
	return &slotRegisters{planner: p, fn: p.function(access), slot: slot}
}

// slotRegisters are the registers at one instruction. What it finds out it only
// finds out when asked.
type slotRegisters struct {
	planner *planner
	fn      *function
	slot    int
	taken   []asm.Register
	spilled int
}

func (r *slotRegisters) Spare(s *convert.Sequence, inUse ...asm.Register) (asm.Register, func(), error) {
	live, err := r.fn.liveness()
	if err != nil {
		return 0, nil, err
	}
	busy := insn.Of(append(inUse, r.taken...)...)
	for _, free := range []insn.Registers{live.Free(r.slot), live.Dies(r.slot)} {
		if free := (free &^ busy).List(); len(free) > 0 {
			r.taken = append(r.taken, free[0])
			return free[0], func() {}, nil
		}
	}
	return r.spill(s, busy|insn.Accessible&^live.Always(r.slot))
}

// spill frees a register that the program still needs by keeping its value on the stack.
func (r *slotRegisters) spill(s *convert.Sequence, busy insn.Registers) (asm.Register, func(), error) {
	reg := asm.R0
	for busy.Has(reg) {
		if reg++; reg == asm.RFP {
			return 0, nil, errNoRegister
		}
	}
	restore, err := r.keep(s, reg)
	r.taken = append(r.taken, reg)
	return reg, restore, err
}

// save keeps the registers that the program still needs of some that are going to be
// overwritten in place of a load, in registers that it does not need, or else on the
// stack. What is read before they are overwritten it leaves alone.
func (r *slotRegisters) save(s *convert.Sequence, clobbered, read insn.Registers, load asm.Instruction) (restore func(), err error) {
	live, err := r.fn.liveness()
	if err != nil {
		return nil, err
	}
	needed := live.LiveOut(r.slot) & clobbered &^ insn.Of(load.Dst)
	if unwritten := needed &^ live.Always(r.slot); unwritten != 0 { // may be for a path that the layout rules out
		allowed, err := r.planner.livenessUnder(r.fn)
		if err != nil {
			return nil, err
		}
		needed &= live.Always(r.slot) | allowed.LiveOut(r.slot)
	}
	if unwritten := needed &^ live.Always(r.slot); !r.fn.initialize(unwritten) {
		return nil, refuse.Because("give every variable a value where it is declared",
			"code has to stand in its place, which needs %s, and that has a value on some paths only", unwritten.List()[0])
	}
	r.fn.saved[r.slot] |= needed
	var undo []func()
	free := (live.Free(r.slot) &^ (clobbered | read)).List()
	for _, reg := range needed.List() {
		if len(free) > 0 {
			home := free[0]
			free = free[1:]
			s.Move(home, reg)
			undo = append(undo, func() { s.Move(reg, home) })
			continue
		}
		restore, err := r.keep(s, reg)
		if err != nil {
			return nil, err
		}
		undo = append(undo, restore)
	}
	return func() {
		for _, restore := range undo {
			restore()
		}
	}, nil
}

// keep puts the value of a register on the stack, below what the function uses of it.
func (r *slotRegisters) keep(s *convert.Sequence, reg asm.Register) (restore func(), err error) {
	floor, err := r.floor(8)
	if err != nil {
		return nil, err
	}
	depth := floor + 8
	r.spilled++
	r.fn.saved[r.slot] |= insn.Of(reg)
	s.EmitAs(insn.Spill, asm.StoreMem(asm.RFP, int16(-depth), reg, asm.DWord))
	return func() { s.EmitAs(insn.Restore, asm.LoadMem(reg, asm.RFP, int16(-depth), asm.DWord)) }, nil
}

// floor returns down to what depth the function uses the stack, with what was kept there,
// if there is room for some more bytes below.
func (r *slotRegisters) floor(more int) (int, error) {
	depth, known := r.planner.stackDepth(r.fn)
	depth = max((depth+7)/8*8, r.fn.keptDepth()) + 8*r.spilled
	if !known || !r.planner.hasStack(r.fn, depth+more) {
		return 0, errNoRegister
	}
	return depth, nil
}

func (r *slotRegisters) Dead(reg asm.Register) bool {
	live, err := r.fn.liveness()
	return err == nil && live.Dies(r.slot).Has(reg)
}

func (r *slotRegisters) Constant(reg asm.Register) (int64, bool) {
	constants, err := r.planner.constantsOf(r.fn)
	if err != nil {
		return 0, false
	}
	return constants.Value(r.slot, reg)
}

func (r *slotRegisters) Extended(reg asm.Register, bits int, signed bool) bool {
	constants, err := r.planner.constantsOf(r.fn)
	if err != nil || bits%8 != 0 && r.fn.trustsBool {
		return false
	}
	if signed {
		return constants.SignExtended(r.slot, reg, bits)
	}
	return constants.ZeroExtended(r.slot, reg, bits)
}

// sequence returns an empty one for an access.
func (p *planner) sequence(access *reloc.Access, resolution *reloc.Resolution) *convert.Sequence {
	from, to := resolution.Field.Offset, resolution.Field.Offset+resolution.Field.Size
	// The program may have checked for no more than its own type's size.
	to = min(to, access.Local.TypeSize, resolution.TypeSize)
	return &convert.Sequence{Items: make(Instructions, 0, 4), Order: p.order, InstructionSet: p.object.InstructionSet(), From: int64(from), To: int64(to)}
}

var errNoRegister = refuse.Because("keep fewer values at the same time around this access",
	"it takes more instructions in this layout, and there is neither a free register for them nor room on the stack")

// spilledTo returns how far below r10 a sequence keeps registers; 0 if it keeps none.
func spilledTo(insns Instructions) int {
	depth := 0
	for _, item := range insns {
		switch item.Kind {
		case insn.Spill:
			depth = max(depth, -int(item.Offset))
		case insn.Stack:
			depth = max(depth, -int(item.Constant))
		}
	}
	return depth
}

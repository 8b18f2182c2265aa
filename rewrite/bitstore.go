package rewrite

import (
	"cmp"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// For the assignment to a bit-field clang makes
//
//	around = *(u32 *)(base + 8)
//	around &= everything but the field
//	number <<= where the field is; number &= the field
//	around |= number
//	*(u32 *)(base + 8) = around
//
// with other instructions in between, and shorter for constants. The layout may
// ask for anything between a plain store and other masks in other bytes. So all
// of it goes, and what stores a number in the layout's field takes its place.

// bitStore is the assignment to a bit-field.
type bitStore struct {
	load    asm.Instruction
	around  asm.Register  // with what the load and later the store moves
	image   convert.Image // of the field in these bytes
	removed []Patch       // besides the load
	stage   bitStage

	isNumber bool         // what is stored is in a register, not a constant
	register asm.Register // with the number, from the or on
	or       int          // its slot
	constant int64

	store resolvedAccess
	ins   asm.Instruction // the store
}

// bitStage is how far an assignment has come.
type bitStage int

const (
	bitsLoaded bitStage = iota
	bitsCleared
	bitsSet
)

// stored is what becomes of the store.
type stored struct {
	after Instructions
	note  string
}

// assignBits replaces the assignment to a bit-field as a whole, given the plan for its
// load. It returns false if that is not the load of one that is understood.
func (s *shortening) assignBits(plan *accessPlan) bool {
	p, access, ins := s.planner, plan.Access, plan.Before[0].Instruction
	if checkConvertible(access.Local.Field, plan.Resolution.Field, ins) != nil {
		return false
	}
	b := p.findBitStore(access, ins)
	if b == nil {
		return false
	}
	if _, same := p.offsetOfSameBits(b.image, plan.Resolution); same {
		return false
	}
	assigned, removed := p.assign(b)
	if assigned == nil {
		return false
	}
	store := s.planOf(b.store.access)
	if store.refused != nil || p.stays(store.Access) {
		return false
	}
	s.change(store, func() {
		store.After, store.Note, store.Others = assigned.after, assigned.note, nil
		store.unconverted, store.isAssigned = nil, true
	})
	s.change(plan, func() {
		plan.After, plan.Note, plan.Others = Instructions{}, "", removed
		plan.unconverted = nil
	})
	return true
}

// assign returns what becomes of the store, and what is taken out besides the
// load. It returns nil if that is not possible.
func (p *planner) assign(b *bitStore) (*stored, []Patch) {
	shortest, removed := p.assignment(b, b.image, b.or, nil)
	var moves []Patch
	img, at, moved := b.image, b.or, b.isNumber && shortest != nil
	for moved {
		if at, moves, moved = p.movedBy(b, &img, at, moves); !moved {
			break
		}
		s, gone := p.assignment(b, img, at, moves)
		if s != nil && s.after.Slots()-slotsOf(gone) < shortest.after.Slots()-slotsOf(removed) {
			shortest, removed = s, gone
		}
	}
	return shortest, removed
}

// assignment is assign of a number that the register holds at a slot as an image
// has it, before the moves that are taken out as well.
func (p *planner) assignment(b *bitStore, img convert.Image, slot int, moves []Patch) (*stored, []Patch) {
	removed := slices.Concat(b.removed, moves)
	access, resolution := b.store.access, b.store.resolution
	target, err := convert.TargetImage(resolution.Field, resolution.TypeSize, p.order)
	if err != nil {
		return nil, nil
	}
	s, note := p.sequence(access, resolution), ""
	regs := &numberRegisters{p.registersAt(access, access.Insn), p.registersAt(access, slot)}
	if b.isNumber {
		ins := b.ins
		ins.Src = b.register
		note, err = s.Store(ins, img, target, regs)
	} else {
		ins := asm.Instruction{OpCode: asm.StoreImmOp(b.ins.OpCode.Size()), Dst: b.ins.Dst, Offset: b.ins.Offset, Constant: b.constant}
		note, err = s.StoreConstant(ins, img, target, regs)
	}
	if err != nil {
		return nil, nil
	}
	slices.SortFunc(removed, func(a, b Patch) int { return cmp.Compare(a.Insn, b.Insn) })
	return &stored{s.Items, note}, removed
}

// numberRegisters are the registers at the store to a bit-field.
type numberRegisters struct {
	*slotRegisters
	number *slotRegisters // where the number is in its register
}

func (r *numberRegisters) Dead(reg asm.Register) bool {
	live, err := r.fn.liveness()
	return err == nil && !live.LiveOut(r.slot).Has(reg)
}

func (r *numberRegisters) Constant(reg asm.Register) (int64, bool) { return r.number.Constant(reg) }

func (r *numberRegisters) Extended(reg asm.Register, bits int, signed bool) bool {
	return r.number.Extended(reg, bits, signed)
}

// movedBy finds the last instruction before a slot that moves the number to its
// place or clears what is beside it, and adds it and what it needs to the moves.
// It changes the image to what is in the register before.
func (p *planner) movedBy(b *bitStore, img *convert.Image, slot int, moves []Patch) (int, []Patch, bool) {
	access := b.store.access
	at, ins, ok := p.lastBefore(access, slot, b.register)
	live, err := p.function(access).liveness()
	if !ok || err != nil || live.LiveOut(access.Insn).Has(b.register) || !p.untouched(access, at) || !ins.OpCode.Class().IsALU() || ins.Dst != b.register {
		return 0, nil, false
	}
	operand, known := p.operand(access, at, ins)
	bits := bitsOf(64)
	if !known || !bits.step(ins, operand) {
		return 0, nil, false
	}
	shift, ok := bits.shiftOf(*img)
	if !ok {
		return 0, nil, false
	}
	img.Shift = shift
	return at, p.withOperand(append(moves, removal(at, ins)), access, at, ins), true
}

// aluBits returns how many bits of its register an ALU instruction works on.
func aluBits(ins asm.Instruction) int {
	if ins.OpCode.Class() == asm.ALUClass {
		return 32
	}
	return 64
}

// findBitStore returns the assignment that starts with a load; nil if there is
// none, or it is not understood.
func (p *planner) findBitStore(access *reloc.Access, load asm.Instruction) *bitStore {
	field, fn := access.Local.Field, p.function(access)
	isLoad := load.OpCode.Class() == asm.LdXClass && load.OpCode.Mode() == asm.MemMode && load.Dst != load.Src
	if !isLoad || !field.IsBitField() || fn.Err != nil {
		return nil
	}
	img, err := p.bitImage(access, load, 0)
	if err != nil || img.IsPart() {
		return nil
	}
	b := &bitStore{load: load, around: load.Dst, image: img}
	block := fn.Flow.BlockAt(access.Insn)
	for slot := access.Insn + 1; slot < fn.Flow.End() && fn.Flow.BlockAt(slot) == block; {
		ins, err := fn.section.Instruction(slot)
		if err != nil {
			return nil
		}
		isOther := !fn.mentions(slot, b.around)
		switch {
		case isOther && fn.mentions(slot, load.Src) && !onlyReads(ins, load.Src):
			return nil
		case !isOther && p.ends(b, access, ins, slot):
			return b
		case !isOther && !p.follow(b, access, ins, slot):
			return nil
		}
		slot += int(ins.Width())
	}
	return nil
}

// onlyReads reports whether an instruction that mentions a register leaves it as
// it is.
func onlyReads(ins asm.Instruction, reg asm.Register) bool {
	switch class := ins.OpCode.Class(); {
	case class == asm.LdXClass, class.IsALU():
		return ins.Dst != reg
	case class == asm.StXClass:
		return ins.OpCode.Mode() == asm.MemMode
	}
	return ins.OpCode.Class() == asm.StClass
}

// ends notes the store of an assignment, and reports whether the instruction is one.
func (p *planner) ends(b *bitStore, access *reloc.Access, ins asm.Instruction, slot int) bool {
	fn := p.function(access)
	store, isRecorded := fn.stores[slot]
	isStore := ins.OpCode.Class() == asm.StXClass && ins.OpCode.Mode() == asm.MemMode
	if !isRecorded || !isStore || store.access.Path != access.Path || store.access.Root != access.Root {
		return false
	}
	live, err := fn.liveness()
	if err != nil || live.LiveOut(slot).Has(ins.Src) {
		return false
	}
	b.store, b.ins = store, ins
	sameBytes := ins.Dst == b.load.Src && ins.Offset == b.load.Offset && insn.Bytes(ins) == b.image.Width
	// Other sequences must not use the number's register before the store.
	isNext := !b.isNumber || slot == b.or+1 && b.register != ins.Dst
	return b.stage > bitsLoaded && ins.Src == b.around && ins.Dst != ins.Src && sameBytes && isNext
}

// follow looks at an instruction on what is around the field. It returns false
// if that is no step of an assignment.
func (p *planner) follow(b *bitStore, access *reloc.Access, ins asm.Instruction, slot int) bool {
	if !ins.OpCode.Class().IsALU() || aluBits(ins) < int(b.image.Width)*8 || !p.untouched(access, slot) {
		return false
	}
	b.removed = append(b.removed, removal(slot, ins))
	op, operand, known := ins.OpCode.ALUOp(), int64(0), false
	if ins.Dst == b.around {
		operand, known = p.operand(access, slot, ins)
	}
	switch {
	case op == asm.And && b.stage == bitsLoaded && known:
		b.stage = bitsCleared
		b.removed = p.withOperand(b.removed, access, slot, ins)
		return b.isAt(^uint64(operand))
	case op == asm.Or && b.stage == bitsLoaded && known:
		b.stage, b.constant = bitsSet, operand
		b.removed = p.withOperand(b.removed, access, slot, ins)
		return b.isAt(uint64(operand))
	case op == asm.Or && b.stage == bitsCleared:
		return p.combine(b, access, ins, slot)
	}
	return false
}

// isAt reports whether a mask is that of the field.
func (b *bitStore) isAt(mask uint64) bool { return mask&ones(int(b.image.Width)*8) == b.image.Mask() }

// combine looks at the or that puts the number into its place.
func (p *planner) combine(b *bitStore, access *reloc.Access, ins asm.Instruction, slot int) bool {
	b.stage, b.or = bitsSet, slot
	value, put, isPut := p.putFor(access, slot, ins.Src)
	switch {
	case ins.Dst != b.around:
	case ins.OpCode.Source() == asm.ImmSource:
		return b.sets(ins.Constant)
	case isPut && b.sets(value):
		b.removed = append(b.removed, put)
		return true
	}
	live, err := p.function(access).liveness()
	if err != nil || ins.Dst == ins.Src {
		return false
	}
	b.isNumber, b.register = true, ins.Src
	if ins.Src == b.around {
		b.register, b.around = ins.Dst, ins.Dst
		return live.Dies(slot).Has(ins.Src)
	}
	return true
}

// sets notes the constant that is stored, and reports whether it has no bits beside the
// field.
func (b *bitStore) sets(constant int64) bool {
	b.constant = constant
	return uint64(constant)&ones(int(b.image.Width)*8)&^b.image.Mask() == 0
}

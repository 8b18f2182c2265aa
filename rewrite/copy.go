package rewrite

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// Of a copy of a struct or an array clang makes loads and stores of its own
// choice, which have nothing to do with the members. Where the layout keeps these
// in another way, each instruction becomes one for each member that it moves, or
// moves a part of.

// piece is a part of a member, or all of it, and where it lies in the bytes that
// an instruction moves.
type piece struct {
	part
	at            int // its lowest bit in the register
	local, target image
	path          string
}

// isCopy reports whether an access is to a struct, union or array on both sides.
func isCopy(q question) bool {
	return q.access.Local.Field.Class == reloc.Aggregate && q.resolution.Field.Class == reloc.Aggregate
}

// convertedCopy returns what a load or store of some bytes of a struct, union or
// array becomes.
func (p *planner) convertedCopy(q question, ins asm.Instruction, offset int64, slot int) (Instructions, string, error) {
	pieces, err := p.pieces(q, ins, offset)
	if err != nil {
		return nil, "", err
	}
	if len(pieces) == 1 && pieces[0].moves(ins) {
		moved, err := setSpan(ins, pieces[0].target.offset, width(ins))
		return Instructions{moved}, "", err
	}
	if mode := ins.OpCode.Mode(); mode != asm.MemMode && mode != asm.MemSXMode {
		return nil, "", refuse(remedySameType, "the instruction %q needs a field of the same type, and the layout has %s", insn.Spell(ins), q.resolution.Field)
	}
	s := &sequence{insns: Instructions{}, order: p.order, instructionSet: p.instructionSet(), from: math.MaxInt64} // no bytes but the members'
	if ins.OpCode.Class() == asm.LdXClass {
		for _, pc := range pieces {
			if err := p.checkSign(q, ins, pc.part, pc.target, slot); err != nil {
				return nil, "", err
			}
		}
		pieces = slices.DeleteFunc(pieces, func(pc piece) bool { return pc.low >= pc.target.bits && !pc.target.signed }) // 0
		err := s.gather(ins, pieces, p.registersAt(q.access, slot))
		return s.insns, "", err
	}
	err = s.scatter(ins, pieces, func() registers { return p.registersAt(q.access, slot) })
	return s.insns, scatterNote(pieces), err
}

// pieces returns what an instruction moves of the members of a struct, union or
// array. No two of them overlap.
func (p *planner) pieces(q question, ins asm.Instruction, offset int64) ([]piece, error) {
	local, target := q.access.Local.Field, q.resolution.Field
	leaves, why, err := reloc.Leaves(local, target, offset, width(ins), p.order)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, refuse(remedySameType, "%s: %s in the program, %s in the layout: %s", "a copy of it can't be converted", local, target, why)
	}
	var pieces []piece
	for _, run := range joined(leaves, p.order) {
		found, err := p.piecesOf(run, q, ins, offset)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, found...)
	}
	var covered uint64
	for _, piece := range pieces {
		bits := ones(piece.bits) << piece.at
		if covered&bits != 0 {
			return nil, refuse(remedySameType, "members of %s overlap", local)
		}
		covered |= bits
	}
	return pieces, nil
}

// run is a leaf, or several that lie in the same order on both sides and only
// move.
type run struct {
	reloc.Leaf
	first, size uint32 // of bytes that only move, in the program
	there       uint32 // where the layout has them
}

// joined makes one run of leaves that only move, and by the same distance.
func joined(leaves []reloc.Leaf, order binary.ByteOrder) []run {
	var runs []run
	for _, leaf := range leaves {
		if !leaf.Moves(order) {
			runs = append(runs, run{Leaf: leaf})
			continue
		}
		next := run{leaf, leaf.Local.Offset, leaf.Local.Size, leaf.Target.Offset}
		if last := len(runs) - 1; last >= 0 && runs[last].size > 0 && runs[last].first+runs[last].size == next.first && runs[last].there+runs[last].size == next.there {
			runs[last].size += next.size
			continue
		}
		runs = append(runs, next)
	}
	return runs
}

// piecesOf returns what an instruction moves of a run.
func (p *planner) piecesOf(r run, q question, ins asm.Instruction, offset int64) ([]piece, error) {
	if r.size > 0 {
		return r.moved(offset, width(ins), p.order), nil
	}
	if err := checkConvertible(r.Local, r.Target, ins); err != nil {
		return nil, err
	}
	if r.Local.IsBitField() && r.Local.Swapped(p.order) {
		return nil, refuse(remedyMacro, "%s is a bit-field in foreign byte order", r.Local)
	}
	target, err := targetImage(r.Target, q.resolution.TypeSize, p.order)
	if err != nil {
		return nil, err
	}
	local := localImage(r.Local, offset, width(ins), p.order)
	whole := piece{partOf(local), max(0, local.shift), local, target, r.Path}
	if target.boolean && whole.bits < local.bits && ins.OpCode.Class() != asm.LdXClass {
		return nil, refuse("store the field as a whole", "the instruction %q stores a part of %s, and the layout's %s holds whether it is 0 as a whole",
			insn.Spell(ins), r.Local, r.Target)
	}
	if r.Local.IsBitField() {
		return []piece{whole}, nil
	}
	return whole.split(p.order), nil
}

// moved returns the bytes of a run that an instruction moves, in pieces that
// one instruction can move.
func (r run) moved(offset int64, width uint32, order binary.ByteOrder) []piece {
	from := max(int64(r.first), offset)
	to := min(int64(r.first)+int64(r.size), offset+int64(width))
	var pieces []piece
	for from < to {
		size := int64(1) << (bits.Len64(uint64(min(to-from, 8))) - 1)
		img := image{offset: from, width: uint32(size), bits: int(size) * 8}
		there := img
		there.offset += int64(r.there) - int64(r.first)
		at := lowestBit((from-offset)*8, img.bits, width, order)
		pieces = append(pieces, piece{part{bits: img.bits}, at, img, there, r.Path})
		from += size
	}
	return pieces
}

// split returns a piece of a plain number as pieces that one instruction can
// move.
func (pc piece) split(order binary.ByteOrder) []piece {
	var pieces []piece
	for done := 0; done < pc.bits; {
		next := pc
		next.bits = 8 << (bits.Len64(uint64(pc.bits-done)/8) - 1)
		next.at, next.low = pc.at+done, pc.low+done
		if pc.swapped {
			next.low = pc.low + pc.bits - done - next.bits
		}
		next.swapped = pc.swapped && next.bits > 8
		pieces = append(pieces, next)
		done += next.bits
	}
	return pieces
}

// moves reports whether a piece is all that an instruction moves, and only has
// another place in the layout.
func (pc *piece) moves(ins asm.Instruction) bool {
	return pc.bits == int(width(ins))*8 && pc.isWhole() && pc.target.bits == pc.bits && pc.target.whole() && !pc.target.swapped && !pc.local.swapped && !pc.target.boolean && !pc.local.boolean
}

// isWhole reports whether the piece is all of the program's number.
func (pc *piece) isWhole() bool { return pc.bits == pc.local.bits }

// number returns what a register holds of a number at its low-order end, with
// anything above.
func (pc *piece) number() image {
	img := pc.image()
	img.signed, img.boolean = pc.local.signed, pc.local.boolean
	return img
}

// truth returns what a register is to hold of a bool.
func (pc *piece) truth() image {
	img := pc.loaded()
	img.boolean = true
	return img
}

// gather emits what leaves in the destination register of ins all pieces in
// their places, and zeros between them.
func (s *sequence) gather(ins asm.Instruction, pieces []piece, regs registers) error {
	sum, other, restore, err := s.gatherInto(ins, len(pieces), regs)
	if err != nil {
		return err
	}
	for i := range pieces {
		reg := other
		switch i {
		case len(pieces) - 1:
			reg = ins.Dst // which may be the pointer
		case 0:
			reg = sum
		}
		if err := s.loadPiece(reg, ins.Src, &pieces[i]); err != nil {
			return err
		}
		if i > 0 && i < len(pieces)-1 {
			s.emit(asm.Or.Reg(sum, reg))
		}
	}
	if len(pieces) == 0 {
		s.emit(asm.Mov.Imm(ins.Dst, 0))
	}
	if len(pieces) > 1 {
		s.emit(asm.Or.Reg(ins.Dst, sum))
	}
	if ins.OpCode.Mode() == asm.MemSXMode {
		s.extend(ins.Dst, int(width(ins))*8, 8)
	}
	restore()
	return nil
}

// gatherInto returns a register for the pieces that are there already, and one for
// the next: those that so many pieces need.
func (s *sequence) gatherInto(ins asm.Instruction, pieces int, regs registers) (sum, other asm.Register, restore func(), err error) {
	restore = func() {}
	if pieces < 2 {
		return ins.Dst, ins.Dst, restore, nil
	}
	if sum, restore, err = regs.spare(s, ins.Dst, ins.Src); err != nil || pieces == 2 || ins.Dst != ins.Src {
		return sum, ins.Dst, restore, err
	}
	other, restoreOther, err := regs.spare(s, ins.Dst, ins.Src, sum)
	restoreSum := restore
	return sum, other, func() { restoreOther(); restoreSum() }, err
}

// loadPiece emits what leaves a piece in its place in a register, with zeros
// beside it.
func (s *sequence) loadPiece(reg, base asm.Register, pc *piece) error {
	ins := asm.LoadMem(reg, base, 0, asm.DWord)
	load := func() error { return s.loadPart(ins, pc.part, pc.target) }
	if pc.local.boolean {
		load = func() error { return s.load(ins, pc.truth(), pc.target) }
	}
	err := load()
	s.shiftLeft(reg, pc.at)
	return err
}

// scatter emits what stores each piece of what ins stores. spare gives the
// registers that are free again for each.
func (s *sequence) scatter(ins asm.Instruction, pieces []piece, spare func() registers) error {
	if value, ok := constantStored(ins, spare()); ok {
		for i := range pieces {
			part := asm.Instruction{OpCode: asm.StoreImmOp(asm.DWord), Dst: ins.Dst, Constant: int64(uint64(value) >> pieces[i].at)}
			if err := s.storePiece(part, &pieces[i], spare()); err != nil {
				return err
			}
		}
		return nil
	}
	// The one that is in place already comes last: it may use the register up.
	slices.SortStableFunc(pieces, func(a, b piece) int { return b.at - a.at })
	for i := range pieces {
		if err := s.storeFrom(ins, &pieces[i], spare()); err != nil {
			return err
		}
	}
	return nil
}

// constantStored returns the constant that an instruction stores, if it stores
// one.
func constantStored(ins asm.Instruction, regs registers) (int64, bool) {
	if ins.OpCode.Class() == asm.StClass {
		return ins.Constant, true
	}
	return regs.constant(ins.Src)
}

// storeFrom emits what stores a piece of a register.
func (s *sequence) storeFrom(ins asm.Instruction, pc *piece, regs registers) error {
	if pc.at == 0 {
		return s.storePiece(ins, pc, regs)
	}
	value, restore, err := regs.spare(s, ins.Dst, ins.Src)
	if err != nil {
		return err
	}
	s.emit(asm.Mov.Reg(value, ins.Src))
	s.shiftRight(value, pc.at)
	err = s.storePiece(asm.StoreMem(ins.Dst, 0, value, asm.DWord), pc, &ownRegister{registers: regs, own: value, keep: ins.Src})
	restore()
	return err
}

// storePiece emits what stores a piece that is at the low-order end of what ins
// stores.
func (s *sequence) storePiece(ins asm.Instruction, pc *piece, regs registers) error {
	if !pc.isWhole() {
		return s.storePart(ins, pc.part, pc.local, pc.target, regs)
	}
	_, err := s.store(ins, pc.number(), pc.target, regs)
	return err
}

// scatterNote says what a store loses.
func scatterNote(pieces []piece) string {
	for _, pc := range pieces {
		if note := truncationNote(pc.local, pc.target); note != "" {
			return fmt.Sprintf("%s: %s", pc.path, note)
		}
	}
	return ""
}

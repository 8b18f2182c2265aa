package convert

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Piece is a part of a member, or all of it, and where it lies in the bytes that
// an instruction moves.
type Piece struct {
	Part
	At            int // its lowest bit in the register
	Local, Target Image
	Path          string
}

// LoadAmong emits what leaves a piece in its place in the destination register of
// ins, with anything beside it that are no bits of the number.
func (s *Sequence) LoadAmong(ins asm.Instruction, pc *Piece, regs Registers) error {
	switch {
	case pc.Bits <= 0:
		return s.Gather(ins, nil, regs)
	case pc.At == 0:
		return s.loadPart(ins, pc.Part, pc.Target)
	}
	return s.Gather(ins, []Piece{*pc}, regs)
}

// StoreAmong emits what stores a piece of what ins stores.
func (s *Sequence) StoreAmong(ins asm.Instruction, pc *Piece, regs Registers) error {
	if pc.At == 0 {
		return s.storePart(ins, pc.Part, pc.Local, pc.Target, regs)
	}
	return s.Scatter(ins, []Piece{*pc}, func() Registers { return regs })
}

// Split returns a piece of a plain number as pieces that one instruction can
// move.
func (pc Piece) Split(order binary.ByteOrder) []Piece {
	var pieces []Piece
	for done := 0; done < pc.Bits; {
		next := pc
		next.Bits = 8 << (bits.Len64(uint64(pc.Bits-done)/8) - 1)
		next.At, next.Low = pc.At+done, pc.Low+done
		if pc.Swapped {
			next.Low = pc.Low + pc.Bits - done - next.Bits
		}
		next.Swapped = pc.Swapped && next.Bits > 8
		pieces = append(pieces, next)
		done += next.Bits
	}
	return pieces
}

// Moves reports whether a piece is all that an instruction moves, and only has
// another place in the layout.
func (pc *Piece) Moves(ins asm.Instruction) bool {
	return pc.Bits == int(insn.Bytes(ins))*8 && pc.IsWhole() && pc.Target.Bits == pc.Bits && pc.Target.IsWhole() && !pc.Target.Swapped && !pc.Local.Swapped && !pc.Target.Boolean && !pc.Local.Boolean
}

// IsWhole reports whether the piece is all of the program's number.
func (pc *Piece) IsWhole() bool { return pc.Bits == pc.Local.Bits }

// number returns what a register holds of a number at its low-order end, with
// anything above.
func (pc *Piece) number() Image {
	img := pc.image()
	img.Signed, img.Boolean = pc.Local.Signed, pc.Local.Boolean
	return img
}

// truth returns what a register is to hold of a bool.
func (pc *Piece) truth() Image {
	img := pc.loaded()
	img.Boolean = true
	return img
}

// Gather emits what leaves in the destination register of ins all pieces in
// their places, and zeros between them.
func (s *Sequence) Gather(ins asm.Instruction, pieces []Piece, regs Registers) error {
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
			s.Emit(asm.Or.Reg(sum, reg))
		}
	}
	if len(pieces) == 0 {
		s.Emit(asm.Mov.Imm(ins.Dst, 0))
	}
	if len(pieces) > 1 {
		s.Emit(asm.Or.Reg(ins.Dst, sum))
	}
	if ins.OpCode.Mode() == asm.MemSXMode {
		s.extend(ins.Dst, int(insn.Bytes(ins))*8, 8)
	}
	restore()
	return nil
}

// gatherInto returns a register for the pieces that are there already, and one for
// the next: those that so many pieces need.
func (s *Sequence) gatherInto(ins asm.Instruction, pieces int, regs Registers) (sum, other asm.Register, restore func(), err error) {
	restore = func() {}
	if pieces < 2 {
		return ins.Dst, ins.Dst, restore, nil
	}
	if sum, restore, err = regs.Spare(s, ins.Dst, ins.Src); err != nil || pieces == 2 || ins.Dst != ins.Src {
		return sum, ins.Dst, restore, err
	}
	other, restoreOther, err := regs.Spare(s, ins.Dst, ins.Src, sum)
	restoreSum := restore
	return sum, other, func() { restoreOther(); restoreSum() }, err
}

// loadPiece emits what leaves a piece in its place in a register, with zeros
// beside it.
func (s *Sequence) loadPiece(reg, base asm.Register, pc *Piece) error {
	ins := asm.LoadMem(reg, base, 0, asm.DWord)
	load := func() error { return s.loadPart(ins, pc.Part, pc.Target) }
	if pc.Local.Boolean {
		load = func() error { return s.Load(ins, pc.truth(), pc.Target) }
	}
	err := load()
	s.shiftLeft(reg, pc.At)
	return err
}

// Scatter emits what stores each piece of what ins stores. spare gives the
// registers that are free again for each.
func (s *Sequence) Scatter(ins asm.Instruction, pieces []Piece, spare func() Registers) error {
	if value, ok := constantStored(ins, spare()); ok {
		for i := range pieces {
			part := asm.Instruction{OpCode: asm.StoreImmOp(asm.DWord), Dst: ins.Dst, Constant: int64(uint64(value) >> pieces[i].At)}
			if err := s.storePiece(part, &pieces[i], spare()); err != nil {
				return err
			}
		}
		return nil
	}
	// The one that is in place already comes last: it may use the register up.
	slices.SortStableFunc(pieces, func(a, b Piece) int { return b.At - a.At })
	for i := range pieces {
		if err := s.storeFrom(ins, &pieces[i], spare()); err != nil {
			return err
		}
	}
	return nil
}

// constantStored returns the constant that an instruction stores, if it stores
// one.
func constantStored(ins asm.Instruction, regs Registers) (int64, bool) {
	if ins.OpCode.Class() == asm.StClass {
		return ins.Constant, true
	}
	return regs.Constant(ins.Src)
}

// storeFrom emits what stores a piece of a register.
func (s *Sequence) storeFrom(ins asm.Instruction, pc *Piece, regs Registers) error {
	if pc.At == 0 {
		return s.storePiece(ins, pc, regs)
	}
	value, restore, err := regs.Spare(s, ins.Dst, ins.Src)
	if err != nil {
		return err
	}
	s.Emit(asm.Mov.Reg(value, ins.Src))
	s.shiftRight(value, pc.At)
	err = s.storePiece(asm.StoreMem(ins.Dst, 0, value, asm.DWord), pc, &ownRegister{Registers: regs, own: value, keep: ins.Src})
	restore()
	return err
}

// storePiece emits what stores a piece that is at the low-order end of what ins
// stores.
func (s *Sequence) storePiece(ins asm.Instruction, pc *Piece, regs Registers) error {
	if !pc.IsWhole() {
		return s.storePart(ins, pc.Part, pc.Local, pc.Target, regs)
	}
	_, err := s.Store(ins, pc.number(), pc.Target, regs)
	return err
}

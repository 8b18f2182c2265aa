package rewrite

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// Of a copy of a struct or an array clang makes loads and stores of its own
// choice, which have nothing to do with the members. Where the layout keeps these
// in another way, each instruction becomes one for each member that it moves, or
// moves a part of.

// isCopy reports whether an access is to a struct, union or array on both sides.
func isCopy(q resolvedAccess) bool {
	return q.access.Local.Field.Class == reloc.Aggregate && q.resolution.Field.Class == reloc.Aggregate
}

// convertedCopy returns what a load or store of some bytes of a struct, union or
// array becomes.
func (p *planner) convertedCopy(q resolvedAccess, ins asm.Instruction, offset int64, slot int) (Instructions, string, error) {
	pieces, err := p.pieces(q, ins, offset)
	if err != nil {
		return nil, "", err
	}
	if len(pieces) == 1 && pieces[0].Moves(ins) {
		moved, err := convert.SetSpan(ins, pieces[0].Target.Offset, insn.Bytes(ins))
		return instructions(moved), "", err
	}
	if mode := ins.OpCode.Mode(); mode != asm.MemMode && mode != asm.MemSXMode {
		return nil, "", refuse.Because(refuse.SameType, "the instruction %q needs a field of the same type, and the layout has %s", insn.Spell(ins), q.resolution.Field)
	}
	s := &convert.Sequence{Items: Instructions{}, Order: p.order, InstructionSet: p.object.InstructionSet(), From: math.MaxInt64} // no bytes but the members'
	if ins.OpCode.Class() == asm.LdXClass {
		for _, pc := range pieces {
			if err := p.checkSign(q, ins, pc.Part, pc.Target, slot); err != nil {
				return nil, "", err
			}
		}
		pieces = slices.DeleteFunc(pieces, func(pc convert.Piece) bool { return pc.Low >= pc.Target.Bits && !pc.Target.Signed }) // 0
		err := s.Gather(ins, pieces, p.registersAt(q.access, slot))
		return s.Items, "", err
	}
	err = s.Scatter(ins, pieces, func() convert.Registers { return p.registersAt(q.access, slot) })
	return s.Items, scatterNote(pieces), err
}

// pieces returns what an instruction moves of the members of a struct, union or
// array. No two of them overlap.
func (p *planner) pieces(q resolvedAccess, ins asm.Instruction, offset int64) ([]convert.Piece, error) {
	local, target := q.access.Local.Field, q.resolution.Field
	leaves, why, err := reloc.Leaves(local, target, offset, insn.Bytes(ins), p.order)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, refuse.Because(refuse.SameType, "%s: %s in the program, %s in the layout: %s", "a copy of it can't be converted", local, target, why)
	}
	var pieces []convert.Piece
	for _, run := range joined(leaves, p.order) {
		found, err := p.piecesOf(run, q, ins, offset)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, found...)
	}
	var covered uint64
	for _, piece := range pieces {
		bits := ones(piece.Bits) << piece.At
		if covered&bits != 0 {
			return nil, refuse.Because(refuse.SameType, "members of %s overlap", local)
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
func (p *planner) piecesOf(r run, q resolvedAccess, ins asm.Instruction, offset int64) ([]convert.Piece, error) {
	if r.size > 0 {
		return r.moved(offset, insn.Bytes(ins), p.order), nil
	}
	if err := checkConvertible(r.Local, r.Target, ins); err != nil {
		return nil, err
	}
	if r.Local.IsBitField() && r.Local.Swapped(p.order) {
		return nil, refuse.Because(remedyMacro, "%s is a bit-field in foreign byte order", r.Local)
	}
	target, err := convert.TargetImage(r.Target, q.resolution.TypeSize, p.order)
	if err != nil {
		return nil, err
	}
	local := convert.LocalImage(r.Local, offset, insn.Bytes(ins), p.order)
	whole := convert.Piece{Part: convert.PartOf(local), At: max(0, local.Shift), Local: local, Target: target, Path: r.Path}
	if target.Boolean && whole.Bits < local.Bits && ins.OpCode.Class() != asm.LdXClass {
		return nil, refuse.Because("store the field as a whole", "the instruction %q stores a part of %s, and the layout's %s holds whether it is 0 as a whole",
			insn.Spell(ins), r.Local, r.Target)
	}
	if r.Local.IsBitField() {
		return []convert.Piece{whole}, nil
	}
	return whole.Split(p.order), nil
}

// moved returns the bytes of a run that an instruction moves, in pieces that
// one instruction can move.
func (r run) moved(offset int64, width uint32, order binary.ByteOrder) []convert.Piece {
	from := max(int64(r.first), offset)
	to := min(int64(r.first)+int64(r.size), offset+int64(width))
	var pieces []convert.Piece
	for from < to {
		size := int64(1) << (bits.Len64(uint64(min(to-from, 8))) - 1)
		img := convert.Image{Offset: from, Width: uint32(size), Bits: int(size) * 8}
		there := img
		there.Offset += int64(r.there) - int64(r.first)
		at := convert.LowestBit((from-offset)*8, img.Bits, width, order)
		pieces = append(pieces, convert.Piece{Part: convert.Part{Bits: img.Bits}, At: at, Local: img, Target: there, Path: r.Path})
		from += size
	}
	return pieces
}

// scatterNote says what a store loses.
func scatterNote(pieces []convert.Piece) string {
	for _, pc := range pieces {
		if note := convert.TruncationNote(pc.Local, pc.Target); note != "" {
			return fmt.Sprintf("%s: %s", pc.Path, note)
		}
	}
	return ""
}

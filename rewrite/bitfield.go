package rewrite

import (
	"encoding/binary"
	"math/bits"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// Clang records where the declared type of a bit-field would be aligned to, but
// loads and stores the bytes that it chose itself, which may be others: for
//
//	struct { __u16 a; __u8 flags : 2; ... }
//
// it records byte 0 for a load of one byte that is meant to be byte 2. Only the
// instructions that pick the bits out of what was loaded tell where in it they
// are. What is not plain from them is refused.

const remedyMacro = "read it with BPF_CORE_READ_BITFIELD, write it with BPF_CORE_WRITE_BITFIELD"

// bitImage returns what a load or store moves that the program accesses a
// bit-field with, without a macro; the offset of these bytes it does not know.
func (p *planner) bitImage(access *reloc.Access, ins asm.Instruction, slot int) (image, error) {
	field := access.Local.Field
	img := fieldImage(field, p.order)
	img.width = width(ins)
	if field.Swapped(p.order) {
		return img, refuse(remedyMacro, "%s is a bit-field in foreign byte order", field)
	}
	use, ok := p.bitsOf(access, ins, slot, img)
	if !ok {
		return img, refuse(remedyMacro, "where the bit-field %s is in what the instruction %q moves is not plain from the code around it", field, spell(ins))
	}
	img.shift = use.low
	return img, nil
}

// bitsOf returns which of the bits that an instruction moves are the field.
func (p *planner) bitsOf(access *reloc.Access, ins asm.Instruction, slot int, img image) (bitUse, bool) {
	whole := int(img.width) * 8
	if img.bits == whole { // unless each of two loads has a part of it
		return bitUse{high: whole}, possibleShifts(access.Local.Field, img, p.order).first == 0
	}
	fn, unit := p.function(access), unitOf(access, ins)
	if ins.OpCode.Class() != asm.LdXClass {
		use, ok := fn.replaced[unit]
		return use, ok
	}

	t := &bitTracker{
		bitUse:    bitUse{high: whole},
		reg:       ins.Dst,
		wanted:    img.bits,
		possible:  possibleShifts(access.Local.Field, img, p.order),
		canChange: fn.stored[unit],
	}
	if !p.track(t, fn, slot) || t.high-t.low != img.bits || !t.possible.has(t.low) || !(t.certain || t.possible.count() == 1) {
		return bitUse{}, false
	}
	if t.replaces && !fn.replaces(unit, t.bitUse) {
		return bitUse{}, false
	}
	return t.bitUse, true
}

// replaces notes which bits of some bytes a function replaces. It returns false
// if that can't be, as elsewhere it replaces others there: what looks as if it
// made room for a field may pick out a part of it.
func (fn *function) replaces(unit unit, use bitUse) bool {
	if other, ok := fn.replaced[unit]; ok && other != use {
		return false
	}
	fn.replaced[unit] = use
	return true
}

// unit names bytes that a function accesses a bit-field in.
type unit struct {
	path   string
	width  uint32
	offset int16
}

func unitOf(access *reloc.Access, ins asm.Instruction) unit {
	return unit{access.Path, width(ins), ins.Offset}
}

// shifts are the places that a bit-field can have within the bytes that hold it
// whole.
type shifts struct{ first, last int }

// possibleShifts follows from where the field is within its byte.
func possibleShifts(field *reloc.Field, img image, order binary.ByteOrder) shifts {
	first := int(field.BitOffset) % 8
	if order == binary.BigEndian {
		first = (8 - int(field.BitOffset+field.BitSize)%8) % 8
	}
	return shifts{first, int(img.width)*8 - img.bits}
}

func (s shifts) has(shift int) bool {
	return shift >= s.first && shift <= s.last && (shift-s.first)%8 == 0
}

func (s shifts) count() int { return max(0, s.last-s.first+8) / 8 }

// track follows the register of a bitTracker to the end of its block. It
// returns false if the code is not understood.
func (p *planner) track(t *bitTracker, fn *function, slot int) bool {
	constants, err := p.constantsOf(fn)
	if err != nil {
		return false
	}
	t.constants = constants
	block := fn.flow.BlockAt(slot)
	for at := slot + 1; at < fn.flow.End() && fn.flow.BlockAt(at) == block; {
		ins, err := fn.section.instruction(at)
		if err != nil {
			return false
		}
		if mentions(ins, t.reg) && t.step(ins, at) {
			break
		}
		at += int(ins.Width())
		t.end = at
	}
	if !t.replaces {
		t.certain = t.keepsAll(fn)
	}
	return true
}

// keepsAll reports whether the program keeps all the bits that are left of a
// value, wherever it goes: then they are the field's and no others, as the
// program has no use for those.
func (t *bitTracker) keepsAll(fn *function) bool {
	const patience = 1000 // instructions
	type point struct {
		slot int
		reg  asm.Register
	}
	seen := make(map[point]bool)
	work := []point{{t.end, t.reg}}
	blocks := fn.flow.Blocks()
	for len(work) > 0 {
		at := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[at] || at.slot >= fn.flow.End() {
			continue
		}
		seen[at] = true
		ins, err := fn.section.instruction(at.slot)
		index := fn.flow.BlockAt(at.slot)
		if err != nil || index < 0 || len(seen) > patience {
			return false
		}
		if mentions(ins, at.reg) {
			switch use := t.useOf(ins, at.reg); use {
			case throwsAway:
				return false
			case overwrites:
				continue
			case copies:
				work = append(work, point{at.slot + 1, ins.Dst})
			}
		}
		next := at.slot + int(ins.Width())
		if block := blocks[index]; next == block.End {
			for _, successor := range block.Succs {
				work = append(work, point{blocks[successor].Start, at.reg})
			}
			continue
		}
		work = append(work, point{next, at.reg})
	}
	return true
}

// mentions reports whether an instruction reads or writes a register.
func mentions(ins asm.Instruction, reg asm.Register) bool {
	class := ins.OpCode.Class()
	switch {
	case class.IsJump() && ins.OpCode.JumpOp() == asm.Call:
		return reg <= asm.R5 || ins.OpCode.Source() == asm.RegSource && ins.Dst == reg
	case class.IsJump() && ins.OpCode.JumpOp() == asm.Exit:
		return reg == asm.R0
	case class.IsJump() && ins.OpCode.JumpOp() == asm.Ja: // gotox reads one
		return ins.OpCode.Source() == asm.RegSource && ins.Dst == reg
	case class == asm.LdClass && !ins.OpCode.IsDWordLoad(): // of the packet, which is a call
		return reg <= asm.R6 || ins.OpCode.Mode() == asm.IndMode && ins.Src == reg
	case class == asm.StXClass && ins.OpCode.Mode() == asm.AtomicMode && reg == asm.R0: // may be a compare and exchange
		return true
	case ins.Dst == reg:
		return true
	}
	readsSource := class == asm.LdXClass || class == asm.StXClass || ins.OpCode.Source() == asm.RegSource
	return readsSource && ins.Src == reg
}

// bitUse says which bits of a loaded value the program uses.
type bitUse struct {
	low, high int  // of the value as loaded, high exclusive
	replaces  bool // it replaces these bits and keeps the others
}

// bitTracker finds out which bits of a loaded value the program uses, from the
// shifts and masks after the load.
type bitTracker struct {
	bitUse
	certain bool // none of these bits is thrown away later
	end     int  // the instruction that picks no more bits out, if there is one in the block

	reg       asm.Register
	wanted    int    // how many bits they should be
	possible  shifts // where they can be
	canChange bool   // whether the program also stores the field
	moved     int    // by how much to the left they are in the register now
	constants *flow.Constants
}

// step looks at the next instruction that mentions the register. It returns
// true if this is the end of what picks the bits out.
func (t *bitTracker) step(ins asm.Instruction, slot int) bool {
	if !ins.OpCode.Class().IsALU() || ins.Dst != t.reg {
		t.end = slot
		return true
	}
	size := 64
	if ins.OpCode.Class() == asm.ALUClass {
		size = 32
	}
	operand, known := ins.Constant, true
	if ins.OpCode.Source() == asm.RegSource {
		operand, known = t.constants.Value(slot, ins.Src)
	}
	switch op := ins.OpCode.ALUOp(); {
	case op == asm.Mov && ins.OpCode.Source() == asm.RegSource && ins.Src == t.reg:
		t.cut(0, size)
	case signExtensions[op] > 0 && ins.Src == t.reg:
		t.cut(0, signExtensions[op])
	case !known:
		return true
	case op == asm.LSh:
		t.moved += int(operand)
		t.cut(0, size)
	case op == asm.RSh || op == asm.ArSh:
		t.cut(int(operand), size)
		t.moved -= int(operand)
	case op == asm.And:
		return t.mask(uint64(operand)&ones(size), size)
	case op == asm.Or:
		t.set(uint64(operand))
		return true
	default:
		return true
	}
	return false
}

// cut keeps the bits that are between two places of the register now.
func (t *bitTracker) cut(low, high int) {
	t.low, t.high = max(t.low, low-t.moved), min(t.high, high-t.moved)
}

// mask takes a logical and for what it is: it picks a stretch of bits out, or it
// makes room for other bits.
func (t *bitTracker) mask(operand uint64, size int) bool {
	low, high, picks := stretch(operand)
	pick := bitUse{low: max(t.low, low-t.moved), high: min(t.high, high-t.moved)}
	hole, end, clears := stretch(^operand & ones(t.high))
	room := bitUse{low: hole, high: end, replaces: true}

	clears = clears && t.canChange && t.untouched() && t.fits(room)
	switch {
	case clears && picks && t.fits(pick):
		t.high = t.low // nobody can tell
		return true
	case clears:
		t.bitUse, t.certain = room, true
		return true
	case picks:
		t.bitUse = pick
		return false
	}
	t.high = t.low
	return true
}

// set takes a logical or with as many ones as the field has bits for an
// assignment of ones to it.
func (t *bitTracker) set(operand uint64) {
	low, high, ok := stretch(operand & ones(t.high))
	if all := (bitUse{low: low, high: high, replaces: true}); ok && t.canChange && t.untouched() && t.fits(all) {
		t.bitUse, t.certain = all, true
		return
	}
	t.high = t.low
}

func (t *bitTracker) untouched() bool { return t.moved == 0 && t.low == 0 }

func (t *bitTracker) fits(use bitUse) bool {
	return use.high-use.low == t.wanted && t.possible.has(use.low)
}

// registerUse is what an instruction does with a register.
type registerUse int

const (
	keeps      registerUse = iota // all its bits matter
	copies                        // it goes to another register as well
	overwrites                    // its value is not read
	throwsAway                    // some of its bits may not matter
)

// useOf returns what an instruction that mentions a register does with the bits
// that are left of the value in it.
func (t *bitTracker) useOf(ins asm.Instruction, reg asm.Register) registerUse {
	class, top := ins.OpCode.Class(), t.high+t.moved
	keepsIf := func(all bool) registerUse {
		if all {
			return keeps
		}
		return throwsAway
	}
	isMove := class.IsALU() && ins.OpCode.ALUOp() == asm.Mov
	switch {
	case class == asm.ALU64Class && isMove && ins.OpCode.Source() == asm.RegSource && ins.Src == reg && ins.Offset == 0:
		return copies
	case ins.OpCode.IsDWordLoad(), class == asm.LdXClass && ins.Src != reg, isMove && (ins.OpCode.Source() == asm.ImmSource || ins.Src != reg):
		return overwrites
	case class == asm.StXClass && ins.OpCode.Mode() == asm.MemMode && ins.Src == reg && ins.Dst != reg && ins.Dst != asm.RFP:
		return keepsIf(top <= int(width(ins))*8)
	case class.IsJump() && ins.OpCode.JumpOp() == asm.JSet:
		return throwsAway
	case class == asm.Jump32Class:
		return keepsIf(top <= 32)
	case class == asm.JumpClass && ins.OpCode.JumpOp() == asm.Call && reg == asm.R0:
		return overwrites
	case class == asm.JumpClass && ins.OpCode.JumpOp() == asm.Exit:
		return keepsIf(top <= 32)
	case class == asm.JumpClass:
		return keeps
	}
	return throwsAway
}

// signExtensions are the moves of a number of so many bits.
var signExtensions = map[asm.ALUOp]int{asm.MovSX8: 8, asm.MovSX16: 16, asm.MovSX32: 32}

func ones(n int) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<max(n, 0) - 1
}

// stretch returns where the ones of a number are if they are all in a row.
func stretch(x uint64) (low, high int, ok bool) {
	if x == 0 {
		return 0, 0, false
	}
	low = bits.TrailingZeros64(x)
	length := bits.TrailingZeros64(^(x >> low))
	return low, low + length, bits.OnesCount64(x) == length
}

package rewrite

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// Clang records where the declared type of a bit-field would be aligned to, but
// loads and stores the bytes of a unit that it chose itself, which may be others:
// for
//
//	struct { __u16 a; __u8 flags : 2; ... }
//
// it records byte 0 for a load of one byte that is meant to be byte 2. Where the
// unit begins is as good as known: all that the function moves for the field has to
// be in it and aligned, as clang makes no load or store of BPF that is not.
//
// From there on nothing has to be understood of the code. A load is for the field
// alone, whatever else is in its bytes, and C's meaning does not depend on that.
// What stores the bytes has the field's new bits in their place; the others are
// those of the layout.

const remedyMacro = "read it with BPF_CORE_READ_BITFIELD, write it with BPF_CORE_WRITE_BITFIELD"

// bitImage returns the image of a bit-field in the bytes that a load or store moves, so
// many bytes past the recorded offset, and not for a macro.
func (p *planner) bitImage(access *reloc.Access, ins asm.Instruction, behind int64) (convert.Image, error) {
	field := access.Local.Field
	if field.Swapped(p.order) {
		return convert.Image{}, refuse.Because(remedyMacro, "%s is a bit-field in foreign byte order", field)
	}
	var found []convert.Image
	for _, start := range p.unitStarts(access) {
		img := convert.LocalImage(field, start+behind, insn.Bytes(ins), p.order)
		if len(found) == 0 || !found[0].MovesSame(img) {
			found = append(found, img)
		}
	}
	if len(found) != 1 {
		return convert.Image{}, refuse.Because(remedyMacro, "where the bit-field %s is in what the instruction %q moves is not plain from its struct", field, insn.Spell(ins))
	}
	return found[0], nil
}

// recordedAt returns the offset that the program holds for an access: in the load or
// store in a slot, if that is the access, or in an instruction before.
func (p *planner) recordedAt(access *reloc.Access, ins asm.Instruction, slot int) int64 {
	if access.Insn == slot && insn.IsMemory(ins) {
		return int64(ins.Offset)
	}
	return p.accessesOf(access).present[access.Insn]
}

// bitMove is a load or store for a bit-field.
type bitMove struct {
	behind int64 // in bytes past the recorded offset
	width  int64
	direct bool // with the record, not through a register
	stores bool
}

// bitMoves returns what the function of an access moves of its bit-field without a
// macro.
func (p *planner) bitMoves(access *reloc.Access) []bitMove {
	moves, others := p.directMoves(p.accessesOf(access).bits[nameOf(access)])
	for _, other := range others {
		if !p.macros[keyOf(other)] {
			moves = append(moves, p.movesThrough(other)...)
		}
	}
	return moves
}

// directMoves returns what is moved by the loads and stores among some accesses, and the
// accesses that keep an offset in a register.
func (p *planner) directMoves(accesses []*reloc.Access) (moves []bitMove, others []*reloc.Access) {
	for _, access := range accesses {
		ins, err := p.section(access.Section).Instruction(access.Insn)
		switch {
		case err != nil:
		case insn.IsMemory(ins):
			moves = append(moves, bitMove{0, int64(insn.Bytes(ins)), true, ins.OpCode.Class() != asm.LdXClass})
		default:
			others = append(others, access)
		}
	}
	return moves, others
}

// movesThrough is bitMoves of an offset in a register.
func (p *planner) movesThrough(access *reloc.Access) []bitMove {
	uses, err := p.usesOf(access)
	if err != nil || uses.reached == nil {
		return nil // which leaves more starts possible
	}
	var moves []bitMove
	for _, use := range uses.dereferences[access.Insn] {
		ins, err := p.section(access.Section).Instruction(use.Slot)
		if err != nil {
			continue
		}
		for _, origin := range use.Origins {
			if origin.Slot == access.Insn {
				moves = append(moves, bitMove{origin.Delta, int64(insn.Bytes(ins)), false, ins.OpCode.Class() != asm.LdXClass})
			}
		}
	}
	return moves
}

// unitStarts returns where the access unit of a bit-field may begin, in bytes from
// the start of the root type, for all that a function moves of it.
func (p *planner) unitStarts(access *reloc.Access) []int64 {
	fn := p.function(access)
	if starts, ok := fn.unitStarts[nameOf(access)]; ok {
		return starts
	}
	ins, err := p.section(access.Section).Instruction(access.Insn)
	if err != nil {
		return nil
	}
	starts := p.unitSearch(access, ins, p.bitMoves(access)).starts()
	fn.unitStarts[nameOf(access)] = starts
	return starts
}

func (p *planner) unitSearch(access *reloc.Access, ins asm.Instruction, moves []bitMove) *unitSearch {
	first, end := layoutBytes(access.Local.Field)
	return &unitSearch{
		unit:     access.Local.Field.AccessUnit(),
		recorded: p.recordedAt(access, ins, access.Insn),
		moves:    moves,
		first:    int64(first),
		end:      int64(end),
	}
}

// unitSearch is the search for where the access unit of a bit-field begins, all in
// bytes from the start of the root type.
type unitSearch struct {
	unit       *reloc.AccessUnit
	recorded   int64
	moves      []bitMove
	first, end int64 // of the field
}

// longestUnit is how many bytes the units have at most that are looked for.
const longestUnit = 64

// starts returns where the unit may begin.
//
// An offset in a register need not be clang's own: the program may have asked for
// it, and then means that place.
func (u *unitSearch) starts() []int64 {
	isAsked := slices.ContainsFunc(u.moves, func(move bitMove) bool { return !move.direct })
	isOne := !slices.ContainsFunc(u.moves, func(move bitMove) bool { return move.behind != u.moves[0].behind })
	var withParts, others []int64
	for start := max(0, u.first-longestUnit); start <= u.first; start++ {
		mayStart := u.unit.MayStart(start) || isAsked && start == u.recorded
		switch {
		case !mayStart || !u.each(start, u.isIn):
		case u.each(start, u.hasPart) && (isOne || u.movesAll(start)):
			withParts = append(withParts, start)
		case u.movesAll(start) && u.stores(start): // and bytes that have nothing of the field
			others = append(others, start)
		}
	}
	if len(withParts) == 0 {
		return others
	}
	return withParts
}

// each reports whether something holds for each move from a unit that begins at a
// byte.
func (u *unitSearch) each(start int64, holds func(at int64, move bitMove) bool) bool {
	return !slices.ContainsFunc(u.moves, func(move bitMove) bool { return !holds(start+move.behind, move) })
}

// isIn reports whether what is moved is in a unit, and aligned.
func (u *unitSearch) isIn(at int64, move bitMove) bool {
	return move.behind >= 0 && at+move.width <= u.unit.End && at%move.width == 0
}

// hasPart reports whether what is moved has something of the field.
func (u *unitSearch) hasPart(at int64, move bitMove) bool {
	return at < u.end && at+move.width > u.first
}

// stores reports whether a part of the field is stored, if anything is.
func (u *unitSearch) stores(start int64) bool {
	return u.each(start, func(_ int64, move bitMove) bool { return !move.stores }) ||
		!u.each(start, func(at int64, move bitMove) bool { return !move.stores || !u.hasPart(at, move) })
}

// movesAll reports whether each byte of the field is moved.
func (u *unitSearch) movesAll(start int64) bool {
	for byte := u.first; byte < u.end; byte++ {
		if u.each(start, func(at int64, move bitMove) bool { return byte < at || byte >= at+move.width }) {
			return false
		}
	}
	return true
}

// extents returns, by slot, which bytes from its address on each load or store is for that
// is recorded for a bit-field, where the layout has that as the program does. These may be
// more than it moves: what offsets in registers are used for is not known yet.
func (p *planner) extents(fn *function) map[int]flow.Extent {
	extents := make(map[int]flow.Extent)
	for _, accesses := range fn.bits {
		moves, others := p.directMoves(accesses)
		ins, err := fn.section.Instruction(accesses[0].Insn)
		if err != nil || len(moves) == 0 {
			continue
		}
		search := p.unitSearch(accesses[0], ins, moves)
		starts := search.starts()
		for _, access := range accesses {
			ins, err := fn.section.Instruction(access.Insn)
			switch {
			case err != nil || !insn.IsMemory(ins):
			case len(others) > 0 || len(starts) == 0:
				extents[access.Insn] = flow.Extent{From: int(max(0, search.first-longestUnit)), To: int(search.unit.End)}
			default:
				extents[access.Insn] = flow.Extent{From: int(slices.Min(starts)), To: int(slices.Max(starts)) + int(insn.Bytes(ins))}
			}
		}
	}
	return extents
}

package rewrite_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// difference is a shape of access that an oracle and we treat differently.
type difference struct {
	shape  string
	where  oracleCondition
	theirs action // what the oracle does
	ours   action
}

// What the tables say of an access, and of a verdict on it.
type (
	is   = *comparison
	does = *comparison
)

// checkDifferences wants a line of the table for each difference, and a
// difference for each line.
func checkDifferences(t *testing.T, table []difference, all []subject, theirs func(*testing.T, subject) map[int]verdict) {
	t.Helper()
	seen := make([]int, len(table))
	same, unexpected := 0, 0
	for _, s := range all {
		ours, _, _ := ourVerdicts(t, s)
		for _, c := range compareVerdicts(t, s, ours, theirs(t, s)) {
			line, shape := findDifference(table, &c)
			switch {
			case c.ours.equal(c.theirs) && !shape:
				same++
			case line >= 0:
				seen[line]++
			case unexpected < 20:
				unexpected++
				t.Errorf("%s: %s", s.name, &c)
			}
		}
	}
	t.Logf("%6d accesses: both do the same", same)
	for i, n := range seen {
		t.Logf("%6d %s", n, table[i].shape)
		if n == 0 {
			t.Errorf("does not occur, or not as the table says: %s", table[i].shape)
		}
	}
}

// findDifference returns the line that both verdicts on an access fit, -1 if
// there is none, and whether there is one for its shape.
func findDifference(table []difference, c *comparison) (line int, shape bool) {
	for i, d := range table {
		if !d.where(c) {
			continue
		}
		if shape = true; d.theirs(c, c.theirs) && d.ours(c, c.ours) {
			return i, true
		}
	}
	return -1, shape
}

// oracleCondition is a property of an access.
type oracleCondition func(*comparison) bool

func allOf(conditions ...oracleCondition) oracleCondition {
	return func(c *comparison) bool {
		for _, met := range conditions {
			if !met(c) {
				return false
			}
		}
		return true
	}
}

func not(met oracleCondition) oracleCondition {
	return func(c *comparison) bool { return !met(c) }
}

// What kind of record there is on what kind of instruction.

func (c *comparison) load() bool {
	return c.accessed() && c.before.OpCode.Class() == asm.LdXClass
}

func (c *comparison) store() bool {
	return c.accessed() && c.before.OpCode.Class() != asm.LdXClass && c.inMemory()
}

func (c *comparison) inMemory() bool { return isMemory(c.before) }

func isMemory(ins asm.Instruction) bool {
	switch ins.OpCode.Class() {
	case asm.LdXClass, asm.StXClass, asm.StClass:
		return true
	}
	return false
}

// inRegister: the offset is an immediate, for an address or as a number.
func (c *comparison) inRegister() bool { return c.accessed() && !c.inMemory() }

// accessed: the record is about the offset of a field that the layout has.
func (c *comparison) accessed() bool {
	return c.access.Kind == reloc.ByteOffset && c.resolution.Field != nil
}

func recordOf(kinds ...reloc.Kind) oracleCondition {
	return func(c *comparison) bool { return slices.Contains(kinds, c.access.Kind) }
}

// answersZero: what is not there is 0, for libbpf as for us.
var answersZero = recordOf(reloc.FieldExists, reloc.TypeExists, reloc.TypeMatches, reloc.EnumExists, reloc.TypeSize, reloc.TargetTypeID)

// asksExistence: what is not there is 0, for all.
var asksExistence = recordOf(reloc.FieldExists, reloc.TypeExists, reloc.TypeMatches, reloc.EnumExists)

func (c *comparison) lddw() bool { return c.before.OpCode.IsDWordLoad() }

// What the program and the layout have.

func (c *comparison) bigEndian() bool { return c.order == binary.BigEndian }

// disagree: types of one name in the layout resolve the access differently.
func (c *comparison) disagree() bool { return errors.Is(c.unresolved, reloc.ErrAmbiguous) }

// partial: one of these types lacks the field.
func (c *comparison) partial() bool {
	return c.disagree() && strings.Contains(c.unresolved.Error(), "not there")
}

// copied: the oracle can't choose between types that are equal.
func (c *comparison) copied() bool {
	return c.resolution.Exists && strings.Contains(c.theirs.refusal, "ambigu")
}

// namedThere: a member of the program's type is an anonymous struct, that of
// the layout's type is struct nic_ring.
func (c *comparison) namedThere() bool {
	return c.access.RootName() == "md_desc___kinds" && c.resolution.Type == "struct md_desc___nic"
}

// hasFloat: a member is a floating-point number.
func (c *comparison) hasFloat() bool { return c.access.RootName() == "reals" }

// pointsElsewhere: it is a pointer to a struct that has another name in the layout.
func (c *comparison) pointsElsewhere() bool { return c.access.RootName() == "to_struct_t" }

// pastEnd: it is the address of one past the last element of an array.
func (c *comparison) pastEnd() bool { return c.access.PastEnd() }

// element: the path ends with an index.
func (c *comparison) element() bool { return strings.HasSuffix(c.access.Path, "]") }

// noDescriptor: the layout is one that Rewrite takes for the wrong file.
func (c *comparison) noDescriptor() bool {
	return c.missing() && c.resolution.Type == "" && strings.Contains(c.ours.refusal, rewrite.ErrNoDescriptor.Error())
}

func (c *comparison) missing() bool { return c.unresolved == nil && !c.resolution.Exists }

func (c *comparison) local() *reloc.Field  { return c.access.Local.Field }
func (c *comparison) target() *reloc.Field { return c.resolution.Field }

func (c *comparison) narrower() bool  { return c.target().Size < c.local().Size }
func (c *comparison) wider() bool     { return c.target().Size > c.local().Size }
func (c *comparison) sameWidth() bool { return c.target().Size == c.local().Size }

func (c *comparison) integers() bool {
	return c.plain() && c.local().Class == reloc.Integer && c.target().Class == reloc.Integer
}

func (c *comparison) numbers() bool {
	isNumber := func(f *reloc.Field) bool { return f.Class == reloc.Integer || f.Class == reloc.Bool }
	return c.plain() && isNumber(c.local()) && isNumber(c.target())
}

func (c *comparison) plain() bool     { return !c.local().IsBitField() && !c.target().IsBitField() }
func (c *comparison) bitFields() bool { return c.local().IsBitField() && c.target().IsBitField() }
func (c *comparison) onlyThere() bool { return !c.local().IsBitField() && c.target().IsBitField() }
func (c *comparison) onlyHere() bool {
	return c.exists() && c.local().IsBitField() && !c.target().IsBitField()
}

func (c *comparison) unsigned() bool { return !c.local().Signed && !c.target().Signed }

func (c *comparison) orderDiffers() bool {
	return c.local().Swapped(c.order) != c.target().Swapped(c.order)
}

// foreign: of a byte order that is not the machine's, on one side or both.
func (c *comparison) foreign() bool { return c.local().Swapped(c.order) || c.target().Swapped(c.order) }

func (c *comparison) enums() bool {
	return c.exists() && strings.HasPrefix(c.local().Type, "enum ") && strings.HasPrefix(c.target().Type, "enum ")
}

// unnamed: the record starts at a struct that has no name, within the descriptor.
func (c *comparison) unnamed() bool { return c.access.RootName() == "" }

// enumOnOneSide: an enumeration here and an integer there, or the reverse.
func (c *comparison) enumOnOneSide() bool {
	isEnum := func(f *reloc.Field) bool { return strings.HasPrefix(f.Type, "enum ") }
	return c.exists() && isEnum(c.local()) != isEnum(c.target()) && c.target().Class == reloc.Integer
}

func (c *comparison) boolean() bool {
	return c.local().Class == reloc.Bool || c.target().Class == reloc.Bool
}

func (c *comparison) aggregate() bool { return c.local().Class == reloc.Aggregate }

// sameBits: the bits are at the same place within the unit that the record
// names, so that moving the unit is right, if the instruction accesses that.
func (c *comparison) sameBits() bool {
	here := int64(c.local().BitOffset) - int64(c.before.Offset)*8
	there := int64(c.target().BitOffset) - int64(c.target().Offset)*8
	return here == there && c.local().BitSize == c.target().BitSize
}

// outside: by its record, the instruction does not access the bits.
func (c *comparison) outside() bool {
	first := uint32(c.before.Offset) * 8
	last := first + uint32(c.before.OpCode.Size().Sizeof())*8
	return c.local().BitOffset < first || c.local().BitOffset+c.local().BitSize > last
}

// partOf: the instruction accesses fewer bytes than the field has.
func (c *comparison) partOf() bool { return sizeOf[c.local().Size] != c.before.OpCode.Size() }

// signUnknown: clang before version 15 does not record the sign of an enum.
func (c *comparison) signUnknown() bool { return c.local().SignUnknown || c.target().SignUnknown }

// unaligned: in a packed struct.
func (c *comparison) unaligned() bool {
	return c.exists() && !c.target().IsBitField() && c.target().Size > 0 && c.target().Offset%c.target().Size != 0
}

// unalignedHere: the same in the program.
func (c *comparison) unalignedHere() bool {
	return c.exists() && !c.local().IsBitField() && c.local().Size > 0 && c.local().Offset%c.local().Size != 0
}

// acrossUnits: no 4 aligned bytes have all bits of a __u32.
func (c *comparison) acrossUnits() bool {
	f := c.target()
	return c.exists() && f.IsBitField() && strings.HasPrefix(f.Type, "__u32") && f.BitOffset%32+f.BitSize > 32
}

// exists: the record is about a field that the layout has.
func (c *comparison) exists() bool { return c.local() != nil && c.target() != nil }

// What only the rest of the program tells: whether an access can be reached,
// what is behind an offset in a register, what is known of a number to store.

// An oracle that refuses one past the end of an array does so whatever is missing.
func (c *comparison) reached() bool {
	refused := c.access.PastEnd() && c.theirs.insns == nil
	return c.missing() && !refused && refusedFor("the program can reach it")(c)
}

// beyondGuard: the program checks for the size of its own struct.
func (c *comparison) beyondGuard() bool { return refusedFor("in the layout it ends at byte")(c) }

func refusedFor(reason string) oracleCondition {
	return func(c *comparison) bool { return strings.Contains(c.ours.refusal, reason) }
}

// followed: the offset leads to loads or stores that have to change.
func (c *comparison) followed() bool { return len(c.ours.others) > 0 }

func (c *comparison) unequal() bool { return !c.ours.equal(c.theirs) }

// action is what becomes of an access.
type action func(*comparison, verdict) bool

func (c *comparison) refuse(v verdict) bool { return v.insns == nil }

func (c *comparison) anything(verdict) bool { return true }

// choose takes the field of the type that has it.
func (c *comparison) choose(v verdict) bool { return v.insns != nil && !c.poison(v) }

// poison: by a call of a helper that does not exist, for each half of an LDDW.
func (c *comparison) poison(v verdict) bool {
	call := asm.BuiltinFunc(btf.COREBadRelocationSentinel).Call()
	return v.equal(verdict{insns: slices.Repeat(instructions(call), int(c.before.Width()))})
}

// poisonRegister: by an LDDW of a register that can't be written.
func (c *comparison) poisonRegister(v verdict) bool {
	return v.equal(verdict{insns: instructions(asm.LoadImm(asm.R10, btf.COREBadRelocationSentinel, asm.DWord))})
}

// nothing leaves the instruction alone.
func (c *comparison) nothing(v verdict) bool {
	return v.equal(verdict{insns: instructions(c.before)})
}

// answer puts the value in that the record asks for.
func (c *comparison) answer(v verdict) bool {
	return v.equal(c.withConstant(int64(c.resolution.Value)))
}

// deny puts 0 in.
func (c *comparison) deny(v verdict) bool { return v.equal(c.withConstant(0)) }

func (c *comparison) withConstant(value int64) verdict {
	after := c.before
	after.Constant = value
	return verdict{insns: instructions(after)}
}

// move changes the offset and nothing else.
func (c *comparison) move(v verdict) bool {
	return v.equal(c.withSpan(c.target().Offset, c.before.OpCode.Size()))
}

// resize accesses the layout's field whole, whatever the program's is.
func (c *comparison) resize(v verdict) bool {
	return v.equal(c.withSpan(c.target().Offset, sizeOf[c.target().Size]))
}

// readLowOrder accesses as many bytes as before, those of the low-order end.
func (c *comparison) readLowOrder(v verdict) bool {
	offset := c.target().Offset
	if c.order == binary.BigEndian {
		offset += c.target().Size - c.local().Size
	}
	return v.equal(c.withSpan(offset, c.before.OpCode.Size()))
}

// convert accesses the layout's field, all of it if it is a bit-field, and
// nothing else but neighbours of a bit-field in the same bytes.
func (c *comparison) convert(v verdict) bool {
	if v.insns != nil && len(v.insns) == 0 {
		return c.load() && c.local().IsBitField() // of an assignment, which needs none
	}
	final := false // the last access to memory is of the kind of the program's
	for _, ins := range plain(v.insns) {
		if !isMemory(ins) || ins.Dst == asm.RFP || ins.Src == asm.RFP {
			continue
		}
		final = (ins.OpCode.Class() == asm.LdXClass) == c.load()
		if !final && !c.target().IsBitField() || !c.coveredBy(ins) {
			return false
		}
	}
	return final
}

// coveredBy reports whether the bytes that an instruction accesses are those of
// the field, or around a bit-field, and within the layout's type.
func (c *comparison) coveredBy(ins asm.Instruction) bool {
	first := uint32(ins.Offset)
	last := first + uint32(ins.OpCode.Size().Sizeof())
	if f := c.target(); f.IsBitField() {
		return first*8 <= f.BitOffset && f.BitOffset+f.BitSize <= last*8 && last <= c.resolution.TypeSize
	}
	return c.target().Offset <= first && last <= c.target().Offset+c.target().Size
}

// convertPart is convert for a part of the layout's field, or for none where the
// layout does not have that part.
func (c *comparison) convertPart(v verdict) bool {
	return v.insns != nil && !c.local().IsBitField() && !slices.ContainsFunc(plain(v.insns), func(ins asm.Instruction) bool {
		return isMemory(ins) && ins.Dst != asm.RFP && ins.Src != asm.RFP && !c.coveredBy(ins)
	})
}

// truncate is a store that says so if it loses some of what it was given, other than to a bool. Of
// a constant that may be nothing.
func (c *comparison) truncate(v verdict) bool {
	constant := slices.ContainsFunc(plain(v.insns), func(ins asm.Instruction) bool { return ins.OpCode.Class() == asm.StClass })
	return c.convert(v) && (constant || c.boolean() || strings.Contains(v.note, "truncated"))
}

// follow answers, and has the loads and stores access no more than the field.
func (c *comparison) follow(v verdict) bool {
	for _, patch := range v.others {
		for _, ins := range plain(patch.After) {
			if isMemory(ins) && !c.target().IsBitField() && uint32(ins.OpCode.Size().Sizeof()) > c.target().Size {
				return false
			}
		}
	}
	return len(v.others) > 0 && c.answer(verdict{insns: v.insns})
}

// fold takes the offset out and puts it into the loads and stores.
func (c *comparison) fold(v verdict) bool {
	return v.insns != nil && len(v.insns) == 0 && len(v.others) > 0
}

// answerOtherwise puts another value in than the record asks for.
func (c *comparison) answerOtherwise(v verdict) bool {
	return len(v.insns) == 1 && !c.answer(v) && v.equal(c.withConstant(v.insns[0].Constant))
}

// moveAligned changes the offset to where the field would begin if it were
// aligned.
func (c *comparison) moveAligned(v verdict) bool {
	return v.equal(c.withSpan(c.target().Offset/c.target().Size*c.target().Size, c.before.OpCode.Size()))
}

func (c *comparison) withSpan(offset uint32, size asm.Size) verdict {
	after := c.before
	after.Offset = int16(offset)
	after.OpCode = after.OpCode.SetSize(size)
	return verdict{insns: instructions(after)}
}

var sizeOf = map[uint32]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}

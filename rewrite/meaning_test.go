package rewrite_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// "Never silently wrong": an edited load leaves what the program's own would
// have left, had the program's own field held the number that the layout's
// field holds, converted as C does. An edited store leaves the number in the
// layout's field that the program's own would have left in its own, and every
// other bit as it was. In either byte order.
func TestLoadsAndStoresMeanTheField(t *testing.T) {
	asIs := func(options rewrite.Options) rewrite.Options { return options }
	shapes := loadsAndStoresMeanTheField(t, asIs, false)
	for _, shape := range append(sequenceShapes, "load by offset", "store by offset") {
		if shapes[shape] == 0 {
			t.Errorf("no %s, but %v", shape, slices.Sorted(maps.Keys(shapes)))
		}
	}
}

// So it is if no edit is made shorter together with the code around it, of which some are.
func TestUnshortenedMeanTheField(t *testing.T) {
	if !slices.ContainsFunc(pairs(t), func(p pair) bool { return p.isShortened(t) }) {
		t.Error("no object is made shorter")
	}
	shapes := loadsAndStoresMeanTheField(t, rewrite.Unshortened, false)
	for _, shape := range []string{"store bit-field to plain", "store bit-field to bit-field", "load sign", "store constant"} {
		if shapes[shape] == 0 {
			t.Errorf("no %s, but %v", shape, slices.Sorted(maps.Keys(shapes)))
		}
	}
}

// So it is if what is loaded is computed by code that needs registers of its own.
func TestComputedMeanTheField(t *testing.T) {
	shapes := loadsAndStoresMeanTheField(t, rewrite.Computed(), true)
	for _, shape := range []string{"load swap", "load widen", "load narrow", "load sign", "load bool", "load part", "load spill", "load bit-field from plain", "load plain from bit-field"} {
		if shapes[shape] == 0 {
			t.Errorf("no %s, but %v", shape, slices.Sorted(maps.Keys(shapes)))
		}
	}
}

// survivors finds the registers that are live behind accesses.
type survivors struct {
	before, after *bpf.Object
	allowed       map[*bpf.Function]*flow.Liveness // of the rewritten object, where the layout has decided some branches
}

func newSurvivors(t *testing.T, r rewritten) *survivors {
	return &survivors{modelOf(t, r.in), modelOf(t, r.out), make(map[*bpf.Function]*flow.Liveness)}
}

// of returns the registers that are live behind an access, and still are in the rewritten
// object.
func (s *survivors) of(edit *rewrite.Edit) map[asm.Register]bool {
	before, after := functionOf(s.before, edit), functionOf(s.after, edit)
	if s.allowed[after] == nil {
		s.allowed[after] = after.LivenessUnder(after.Flow.Constants(flow.Assumptions{Linked: after.Section.Linked(), Program: after.IsProgram}))
	}
	last := after.Start + edit.Position + edit.After.Slots() - 1
	live := make(map[asm.Register]bool)
	for _, reg := range (before.Liveness().LiveOut(edit.Access.Insn) & s.allowed[after].LiveOut(last)).List() {
		live[reg] = true
	}
	return live
}

// functionOf returns the function of an object that an edit is in.
func functionOf(object *bpf.Object, edit *rewrite.Edit) *bpf.Function {
	section := object.Section(edit.Access.Section)
	symbols := object.File.Functions(section.Section)
	symbol := slices.IndexFunc(symbols, func(symbol elf.Symbol) bool { return symbol.Name == edit.Access.Program })
	return object.Function(bpf.Place{Section: section.Name, Slot: int(symbols[symbol].Value / insn.SlotSize)})
}

// isShortened reports whether a program has fewer instructions for some accesses together
// with the code around them.
func (p pair) isShortened(t *testing.T) bool {
	o := p.rewrite(t)
	if o.err != nil {
		return false
	}
	_, unshortened, err := rewrite.Rewrite(o.in, readLayout(t, p.layout), rewrite.Unshortened(p.options()))
	if err != nil {
		return false
	}
	slots := func(report *rewrite.Report) (n int) {
		for _, edit := range report.Edits {
			n += edit.After.Slots()
		}
		return n
	}
	return slots(o.report) < slots(unshortened)
}

// loadsAndStoresMeanTheField returns how many there are of each shape.
func loadsAndStoresMeanTheField(t *testing.T, by func(rewrite.Options) rewrite.Options, computed bool) map[string]int {
	random := rand.New(rand.NewPCG(5, 6))
	shapes := make(map[string]int)
	eachRewrittenBy(t, by, func(t *testing.T, r rewritten) {
		code, live := decodeSections(t, r.in), newSurvivors(t, r)
		for i := range r.report.Edits {
			edit := &r.report.Edits[i]
			if edit.Poisoned || edit.Access.Kind != reloc.ByteOffset || !isNumber(edit.Access.Local.Field) {
				continue
			}
			if len(edit.After) == 0 {
				continue // the load of an assignment, which is checked with its store
			}
			uses := usesOf(t, r.order(), edit, code[edit.Access.Section])
			if load := assignedWith(r.report.Edits[:i], edit); load != nil {
				uses = assignmentOf(r.order(), load, edit, code[edit.Access.Section])
			}
			for _, use := range uses {
				if computed {
					use.live = live.of(edit)
				}
				for _, shape := range use.shapes() {
					shapes[shape]++
				}
				for range 8 {
					if err := use.check(random); err != nil {
						t.Errorf("%s: %s -> %s: %q -> %q: %v", edit.Access.Path, use.local, use.target, use.before, use.after, err)
						break
					}
				}
			}
		}
	})
	return shapes
}

// sequenceShapes are those of memoryUse.shapes that a sequence has to be right for.
var sequenceShapes = []string{
	"load swap", "load widen", "load narrow", "load sign", "load bool", "load part",
	"load bit-field from plain", "load plain from bit-field", "load bit-field from bit-field",
	"store swap", "store widen", "store narrow", "store sign", "store bool", "store part", "store spill",
	"store bit-field to plain", "store plain to bit-field", "store bit-field to bit-field", "store constant",
}

// What the bit-field macros are told of a field is true: so many bytes from
// there, shifted to the left and back to the right, are the number.
func TestMacrosMeanTheField(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	needed := []reloc.Kind{reloc.ByteOffset, reloc.ByteSize, reloc.LeftShift, reloc.RightShift, reloc.Signed}
	checked := make(map[binary.ByteOrder]int)
	eachRewritten(t, func(t *testing.T, r rewritten) {
		type use struct{ program, path string }
		answers := make(map[use]map[reloc.Kind]int64)
		targets := make(map[use]*reloc.Resolution)
		for i := range r.report.Edits {
			edit := &r.report.Edits[i]
			if edit.Poisoned || edit.Resolution.Field == nil || !edit.Before[0].OpCode.Class().IsALU() || len(edit.After) == 0 {
				continue
			}
			use := use{edit.Access.Program, edit.Access.Path}
			if answers[use] == nil {
				answers[use], targets[use] = make(map[reloc.Kind]int64), edit.Resolution
			}
			answer, known := answers[use][edit.Access.Kind]
			if answers[use][edit.Access.Kind] = edit.After[0].Constant; known && answer != edit.After[0].Constant {
				t.Errorf("%s of %s is both %d and %d", edit.Access.Kind, use.path, answer, edit.After[0].Constant)
			}
		}
		for use, told := range answers {
			if slices.ContainsFunc(needed, func(kind reloc.Kind) bool { _, ok := told[kind]; return !ok }) {
				continue
			}
			checked[r.order()]++
			m := (&memoryUse{order: r.order()}).machine(random, int(targets[use].TypeSize))
			window := m.Number(m.Area()[told[reloc.ByteOffset]:][:told[reloc.ByteSize]]) << told[reloc.LeftShift]
			got := window >> told[reloc.RightShift]
			if told[reloc.Signed] == 1 {
				got = uint64(int64(window) >> told[reloc.RightShift])
			}
			field := *targets[use].Field
			field.Order = reloc.Native // is not among the questions
			if want := fieldNumber(&field, r.order(), m.Area()); got != want {
				t.Errorf("%s: %s: %#x instead of %#x", use.path, field.String(), got, want)
			}
		}
	})
	if checked[binary.LittleEndian] == 0 || checked[binary.BigEndian] == 0 {
		t.Errorf("checked %v", checked)
	}
}

func (p pair) order() binary.ByteOrder {
	if strings.HasSuffix(p.program, "-eb") {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// isNumber reports whether a field is a number that loads and stores move.
func isNumber(field *reloc.Field) bool {
	return (field.Class == reloc.Integer || field.Class == reloc.Bool) && field.Size <= 8
}

// memoryUse is a load or store of a field, and what it has become. Both may
// include the instructions before and after it that an edit changes as well.
type memoryUse struct {
	order         binary.ByteOrder
	local, target *reloc.Field
	size          int // of the layout's type
	before, after rewrite.Instructions
	at            int // of the load or store in before

	// What the base register is beyond the start of the root type.
	baseBefore, baseAfter int64

	source func(uint64) uint64   // see knownSource
	needed map[asm.Register]bool // that may be read later
	stack  int                   // how deep the function's stack is
	offset bool                  // the offset is in a register

	// live are the registers that a load must not change; nil for all.
	live map[asm.Register]bool
}

// usesOf returns the load or store that an access is recorded on, or those that
// the recorded offset is used for.
func usesOf(t *testing.T, order binary.ByteOrder, edit *rewrite.Edit, code []asm.Instruction) []*memoryUse {
	t.Helper()
	use := memoryUse{
		order: order, local: edit.Access.Local.Field, target: edit.Resolution.Field,
		size: int(edit.Resolution.TypeSize), before: edit.Before, after: edit.After, stack: stackDepth(code, edit.Access.FunctionStart),
	}
	at := edit.Access.Insn
	if edit.Before[0].OpCode.Class().IsALU() {
		return use.throughRegister(t, edit, code)
	}
	var setUp, instead rewrite.Instructions // what comes in between has nothing to do with it
	use.before, use.after = slices.Clone(use.before), slices.Clone(use.after)
	for _, other := range edit.Others {
		if other.Insn < edit.Access.Insn {
			setUp, instead = append(setUp, other.Before...), append(instead, other.After...)
			continue
		}
		for at++; at < other.Insn; at++ {
			between := instructions(code[at])
			use.before, use.after = append(use.before, between...), append(use.after, between...)
		}
		use.before, use.after = append(use.before, other.Before...), append(use.after, other.After...)
	}
	use.needed, use.source = neededAfter(code, at), knownSource(code, edit.Access.Insn)
	use.before, use.after, use.at = append(setUp, use.before...), append(instead, use.after...), len(setUp)
	use.before[use.at].Offset = use.window()
	return []*memoryUse{&use}
}

// assignedWith returns the edit that takes out the load of an assignment to a
// bit-field, of which the edit has the store; nil if it is none.
func assignedWith(before []rewrite.Edit, store *rewrite.Edit) *rewrite.Edit {
	isStore := store.Before[0].OpCode.Class() == asm.StXClass && store.Access.Local.Field.IsBitField()
	for _, edit := range slices.Backward(before) {
		same := edit.Access.Section == store.Access.Section && edit.Access.Path == store.Access.Path && edit.Access.Program == store.Access.Program
		if isStore && same && isMemory(edit.Before[0].Instruction) {
			if len(edit.After) > 0 {
				return nil
			}
			return &edit
		}
	}
	return nil
}

// assignmentOf returns the assignment to a bit-field from the start of the block
// that it is in. What loads leave of other memory is random.
func assignmentOf(order binary.ByteOrder, load, store *rewrite.Edit, code []asm.Instruction) []*memoryUse {
	u := &memoryUse{
		order: order, local: store.Access.Local.Field, target: store.Resolution.Field, size: int(store.Resolution.TypeSize),
		stack: stackDepth(code, store.Access.FunctionStart), needed: neededAfter(code, store.Access.Insn), source: func(random uint64) uint64 { return random },
	}
	patches := map[int]rewrite.Instructions{load.Access.Insn: load.After, store.Access.Insn: store.After}
	for _, other := range load.Others {
		patches[other.Insn] = other.After
	}
	base, targets := store.Before[0].Dst, jumpTargets(code)
	start := store.Access.Insn
	for start > 0 && !targets[start] && !code[start-1].OpCode.Class().IsJump() {
		start--
	}
	for slot := start; slot < store.Access.Insn; slot++ {
		before := instructions(code[slot])
		_, writesBase := touches(code[slot], base)
		switch {
		case code[slot].OpCode == 0, writesBase: // the second half of LDDW
			continue
		case slot == load.Access.Insn:
			ins := code[slot]
			ins.Offset = (&memoryUse{local: u.local, before: before}).window()
			before = instructions(ins)
		case isMemory(code[slot]):
			before = elsewhere(code[slot], slot)
		}
		after, isPatched := patches[slot]
		if !isPatched {
			after = before
		}
		u.before, u.after = append(u.before, before...), append(u.after, after...)
	}
	u.at = len(u.before)
	u.before, u.after = append(u.before, store.Before...), append(u.after, store.After...)
	u.before[u.at].Offset = u.window()
	return []*memoryUse{u}
}

// elsewhere returns an instruction that loads what is random, and the same in
// both runs, in place of one that loads other memory. Stores to that are none of
// the assignment's.
func elsewhere(ins asm.Instruction, slot int) rewrite.Instructions {
	const words = 8
	if ins.OpCode.Class() != asm.LdXClass {
		return nil
	}
	ins.Src, ins.Offset = asm.RFP, int16(-interpret.StackSize+8*(slot%words))
	return instructions(ins)
}

// throughRegister returns the loads and stores that an offset in a register is
// used for, if they have to change.
func (u memoryUse) throughRegister(t *testing.T, edit *rewrite.Edit, code []asm.Instruction) (uses []*memoryUse) {
	t.Helper()
	u.offset = true
	u.baseBefore, u.baseAfter = edit.Before[0].Constant, 0 // if the offset is in the loads and stores now
	if len(edit.After) > 0 {
		u.baseAfter = edit.After[0].Constant
	}
	for _, other := range edit.Others {
		if !isMemory(other.Before[0].Instruction) {
			continue // it makes an address, or a constant that is stored
		}
		u.before, u.after = other.Before, other.After
		u.needed, u.source = neededAfter(code, other.Insn), knownSource(code, other.Insn)
		start := u.baseBefore + int64(u.before[0].Offset)
		if start < int64(u.local.Offset) || start >= int64(u.local.Offset+u.local.Size) {
			t.Errorf("%s: %q accesses byte %d", edit.Access.Path, u.before, start)
			continue
		}
		use := u
		uses = append(uses, &use)
	}
	return uses
}

// window returns the offset of the bytes that the program's load or store is
// for. Of a bit-field clang may record the bytes of the declared type, but mean
// the narrower ones with the field in them.
func (u *memoryUse) window() int16 {
	ins := u.own()
	width := int64(ins.OpCode.Size().Sizeof())
	first := int64(u.local.BitOffset)
	if !u.local.IsBitField() || (first >= int64(ins.Offset)*8 && first < (int64(ins.Offset)+width)*8) {
		return ins.Offset
	}
	return int16(first / 8 / width * width)
}

// own returns the load or store itself.
func (u *memoryUse) own() asm.Instruction { return u.before[u.at].Instruction }

func (u *memoryUse) isLoad() bool { return u.own().OpCode.Class() == asm.LdXClass }

// shapes names what is special about a use.
func (u *memoryUse) shapes() (shapes []string) {
	verb := map[bool]string{true: "load ", false: "store "}[u.isLoad()]
	note := func(applies bool, shape string) {
		if applies {
			shapes = append(shapes, verb+shape)
		}
	}
	from := map[bool]string{true: " from ", false: " to "}[u.isLoad()]
	kind := func(f *reloc.Field) string { return map[bool]string{true: "bit-field", false: "plain"}[f.IsBitField()] }
	note(isSwapped(u.local, u.order) != isSwapped(u.target, u.order), "swap")
	note(fieldBits(u.target) < fieldBits(u.local), "widen")
	note(fieldBits(u.target) > fieldBits(u.local), "narrow")
	note(u.local.Signed != u.target.Signed, "sign")
	note(u.local.Class != u.target.Class, "bool")
	note(u.local.IsBitField() || u.target.IsBitField(), kind(u.local)+from+kind(u.target))
	note(u.own().OpCode.Class() == asm.StClass, "constant")
	note(u.own().OpCode.Size().Sizeof() < int(u.local.Size) && !u.local.IsBitField(), "part")
	note(u.offset, "by offset")
	note(slices.ContainsFunc(u.after, func(item insn.Item) bool { return item.Kind == insn.Spill }), "spill")
	return shapes
}

// check runs both sequences on a random descriptor.
func (u *memoryUse) check(random *rand.Rand) error {
	local, target := u.machine(random, 1024), u.machine(random, u.size)
	if u.own().OpCode.Class() == asm.StXClass {
		local.Regs[u.own().Src] = u.stored(local.Regs[u.own().Src])
	}
	target.Regs = local.Regs
	copy(target.Stack(), local.Stack())
	base := u.own().Dst
	if u.isLoad() {
		base = u.own().Src
	}
	local.Regs[base], target.Regs[base] = uint64(interpret.AreaStart+u.baseBefore), uint64(interpret.AreaStart+u.baseAfter)
	started := local.Regs

	number := fieldNumber(u.target, u.order, target.Area())
	setField(u.target, u.order, target.Area(), number) // a bool is 0 or 1
	setField(u.local, u.order, local.Area(), number)
	initial, area, stack := target.Regs, bytes.Clone(target.Area()), bytes.Clone(target.Stack())
	if err := local.Run(plain(u.before)); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	if err := target.Run(plain(u.after)); err != nil {
		return fmt.Errorf("after: %w", err)
	}

	if !bytes.Equal(target.Stack()[interpret.StackSize-u.stack:], stack[interpret.StackSize-u.stack:]) {
		return fmt.Errorf("changes the program's stack")
	}
	for reg := range asm.RFP {
		if u.isLoad() && reg == u.own().Dst {
			continue
		}
		asBefore := initial[reg] + local.Regs[reg] - started[reg]
		if target.Regs[reg] != asBefore && u.keeps(reg) {
			return fmt.Errorf("changes %s", reg)
		}
	}
	if u.isLoad() {
		return u.checkLoad(local, target, area, number)
	}
	setField(u.target, u.order, area, fieldNumber(u.local, u.order, local.Area()))
	got, want := fieldNumber(u.target, u.order, target.Area()), fieldNumber(u.target, u.order, area)
	switch {
	case got != want:
		return fmt.Errorf("stores %#x instead of %#x", got, want)
	case !bytes.Equal(target.Area(), area):
		return fmt.Errorf("writes beside the field")
	}
	return nil
}

// keeps reports whether a register has to have the same value after both sequences.
func (u *memoryUse) keeps(reg asm.Register) bool {
	if u.isLoad() {
		return u.live == nil || u.live[reg]
	}
	return u.needed[reg]
}

// stored makes of a random number one that the program may store. Of a bool C
// guarantees that it is 0 or 1.
func (u *memoryUse) stored(random uint64) uint64 {
	value := u.source(random)
	if u.local.Class == reloc.Bool {
		return value & 1
	}
	return value
}

func (u *memoryUse) checkLoad(local, target *interpret.Machine, area []byte, number uint64) error {
	reg, mask := u.own().Dst, u.ownBits()
	got, want := target.Regs[reg]&mask, local.Regs[reg]&mask
	switch {
	case !bytes.Equal(target.Area(), area):
		return fmt.Errorf("writes")
	case got != want:
		return fmt.Errorf("leaves %#x instead of %#x for %#x", got, want, number)
	}
	return nil
}

// ownBits returns the bits of a loaded register that count: all but those of
// the neighbours of a bit-field.
func (u *memoryUse) ownBits() uint64 {
	if !u.local.IsBitField() || len(u.before) > 1 {
		return ^uint64(0)
	}
	m := interpret.New(u.order, make([]byte, 1024))
	m.Regs[u.own().Src] = uint64(interpret.AreaStart + u.baseBefore)
	setField(u.local, u.order, m.Area(), ^uint64(0))
	if err := m.Run(plain(u.before)); err != nil {
		panic(err)
	}
	width := u.own().OpCode.Size().Sizeof() * 8
	return m.Regs[u.own().Dst] | ^interpret.Extended(^uint64(0), width, false)
}

// machine returns one with random contents.
func (u *memoryUse) machine(random *rand.Rand, size int) *interpret.Machine {
	m := interpret.New(u.order, make([]byte, size))
	randomize(random, m.Area())
	randomize(random, m.Stack())
	for i := range m.Regs {
		m.Regs[i] = random.Uint64()
		if random.IntN(4) == 0 { // often enough 0, which bool is about
			m.Regs[i] >>= random.IntN(65)
		}
	}
	if random.IntN(4) == 0 {
		clear(m.Area())
	}
	m.Regs[asm.RFP] = interpret.StackTop
	return m
}

// randomize fills memory with random bytes, eight at a time: with those the tests spend
// most of their time.
func randomize(random *rand.Rand, memory []byte) {
	for i := 0; i < len(memory); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], random.Uint64())
		copy(memory[i:], word[:])
	}
}

// The numbers in fields, bit by bit, without the help of the code under test.

func isSwapped(f *reloc.Field, order binary.ByteOrder) bool {
	return f.Order == reloc.BigEndian && order == binary.LittleEndian || f.Order == reloc.LittleEndian && order == binary.BigEndian
}

func fieldBits(f *reloc.Field) int {
	if f.IsBitField() {
		return int(f.BitSize)
	}
	return int(f.Size) * 8
}

// fieldNumber returns the number that a field holds, as 64 bits in two's
// complement.
func fieldNumber(f *reloc.Field, order binary.ByteOrder, area []byte) uint64 {
	return numberOf(f, order).read(area)
}

// setField stores a number in a field as C does.
func setField(f *reloc.Field, order binary.ByteOrder, area []byte, number uint64) {
	numberOf(f, order).write(area, number)
}

// decodeSections returns the instructions of each section by slot; the second
// half of an LDDW is the zero value.
func decodeSections(t *testing.T, object []byte) map[string][]asm.Instruction {
	t.Helper()
	sections := make(map[string][]asm.Instruction)
	for name, slots := range newCodeWalk(t, object).sections {
		order := parseELF(t, object).ByteOrder
		code := sectionData(t, object, name)
		insns := make([]asm.Instruction, len(slots))
		for slot := 0; slot < len(slots); slot += slots[slot].slots() {
			if err := insns[slot].Unmarshal(bytes.NewReader(code[slot*reloc.InstructionSize:]), order, "linux"); err != nil {
				t.Fatal(err)
			}
		}
		sections[name] = insns
	}
	return sections
}

// knownSource tells, from the instruction of the same block that writes it, what
// the register may hold that the instruction at a slot stores.
func knownSource(code []asm.Instruction, slot int) func(uint64) uint64 {
	return knownRegister(code, slot, code[slot].Src)
}

func knownRegister(code []asm.Instruction, slot int, reg asm.Register) func(uint64) uint64 {
	targets := jumpTargets(code)
	for ; slot > 0 && !targets[slot]; slot-- {
		ins := code[slot-1]
		class, op := ins.OpCode.Class(), ins.OpCode
		switch _, writes := touches(ins, reg); {
		case class.IsJump() && op.JumpOp() != asm.Call:
			slot = 1
		case !writes:
		case op == asm.Mov.Op(asm.RegSource):
			reg = ins.Src
		case class.IsALU() && op.ALUOp() == asm.Mov && op.Source() == asm.ImmSource, op.IsDWordLoad():
			m := new(interpret.Machine)
			if err := m.Run([]asm.Instruction{ins}); err != nil {
				panic(err)
			}
			return func(uint64) uint64 { return m.Regs[ins.Dst] }
		case class == asm.LdXClass:
			width, signed := op.Size().Sizeof()*8, op.Mode() == asm.MemSXMode
			return func(random uint64) uint64 { return interpret.Extended(random, width, signed) }
		case class == asm.ALUClass:
			return func(random uint64) uint64 { return interpret.Extended(random, 32, false) }
		case op == asm.RSh.Op(asm.ImmSource):
			before := knownRegister(code, slot-1, reg)
			return func(random uint64) uint64 { return before(random) >> ins.Constant }
		default:
			slot = 1
		}
	}
	return func(random uint64) uint64 { return random }
}

func jumpTargets(code []asm.Instruction) map[int]bool {
	targets := make(map[int]bool)
	for slot, ins := range code {
		if ins.OpCode.Class().IsJump() {
			targets[slot+1+int(ins.Offset)] = true
			targets[slot+1+int(ins.Constant)] = true // of a gotol, or a call in the section
		}
	}
	return targets
}

// stackDepth returns a number of bytes below r10 that the function which starts at a
// slot does not go beyond, a multiple of 8.
func stackDepth(code []asm.Instruction, start int) int {
	lowest := int64(0)
	for slot := range ledTo(code, start, make(map[int]bool)) {
		ins := code[slot]
		class := ins.OpCode.Class()
		switch {
		case class == asm.LdXClass && ins.Src == asm.RFP, class.IsStore() && ins.Dst == asm.RFP:
			lowest = min(lowest, int64(ins.Offset))
		case class == asm.ALU64Class && ins.OpCode.ALUOp() == asm.Add && ins.OpCode.Source() == asm.ImmSource:
			lowest = min(lowest, max(ins.Constant, -interpret.StackSize))
		}
	}
	return int(-lowest+7) / 8 * 8
}

// ledTo returns the slots that a function comes to from one of them.
func ledTo(code []asm.Instruction, slot int, seen map[int]bool) map[int]bool {
	for !seen[slot] {
		seen[slot] = true
		ins := code[slot]
		if to, ok := jumpsTo(ins, slot); ok {
			ledTo(code, to, seen)
		}
		if op := ins.OpCode; op == asm.Exit.Op(asm.ImmSource) || op.Class().IsJump() && op.JumpOp() == asm.Ja {
			break
		}
		slot += int(ins.Width())
	}
	return seen
}

// jumpsTo returns where an instruction may lead, other than to the next one.
func jumpsTo(ins asm.Instruction, slot int) (int, bool) {
	op := ins.OpCode
	switch {
	case !op.Class().IsJump() || op.JumpOp() == asm.Call || op.JumpOp() == asm.Exit:
		return 0, false
	case op.Class() == asm.Jump32Class && op.JumpOp() == asm.Ja:
		return slot + 1 + int(ins.Constant), true
	}
	return slot + 1 + int(ins.Offset), true
}

// neededAfter returns the registers that are read after a slot before they are
// written. Calls are taken to read every register that they may.
func neededAfter(code []asm.Instruction, slot int) map[asm.Register]bool {
	needed := make(map[asm.Register]bool)
	for reg := range asm.RFP {
		needed[reg] = isRead(code, slot+1, reg, make(map[int]bool))
	}
	return needed
}

func isRead(code []asm.Instruction, slot int, reg asm.Register, seen map[int]bool) bool {
	for !seen[slot] {
		seen[slot] = true
		ins := code[slot]
		reads, writes := touches(ins, reg)
		switch op := ins.OpCode; {
		case reads:
			return true
		case writes, op == asm.Exit.Op(asm.ImmSource):
			return false
		}
		if to, ok := jumpsTo(ins, slot); ok {
			if isRead(code, to, reg, seen) {
				return true
			}
			if ins.OpCode.JumpOp() == asm.Ja {
				return false
			}
		}
		slot += int(ins.Width())
	}
	return false
}

// touches reports whether an instruction reads or writes a register.
func touches(ins asm.Instruction, reg asm.Register) (reads, writes bool) {
	isDst, isSrc := ins.Dst == reg, ins.Src == reg
	switch class, op := ins.OpCode.Class(), ins.OpCode; {
	case op.IsDWordLoad():
		return false, isDst
	case class == asm.LdXClass:
		return isSrc, isDst
	case class == asm.StClass:
		return isDst, false
	case class == asm.StXClass:
		return isDst || isSrc, false
	case class.IsALU() && op.ALUOp() == asm.Swap:
		return isDst, isDst
	case class.IsALU():
		fromRegister := op.Source() == asm.RegSource
		return fromRegister && isSrc || isDst && op.ALUOp()&0xff != asm.Mov, isDst
	case op.JumpOp() == asm.Call:
		return reg >= asm.R1 && reg <= asm.R5, reg <= asm.R5
	case op == asm.Exit.Op(asm.ImmSource):
		return reg == asm.R0, false
	}
	return isDst || isSrc && ins.OpCode.Source() == asm.RegSource, false
}

package rewrite

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"unicode"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

// Clang records the same for a field of the descriptor as for one of a copy that the
// program has made on its stack or in a map. Which it is follows from where the
// pointer comes from.

// site is an instruction that loads the address of the metadata area.
type site struct {
	unit *flow.Unit // nil for any
	slot int
}

func siteOf(p *flow.Pointee) site { return site{p.Unit, p.Slot} }

// ownCopy is what an access accesses that is a copy of the program's own.
type ownCopy struct {
	region flow.Region
	macro  bool // by a bit-field macro
}

// isOwn reports whether an access is to a copy of the program's own.
func (p *planner) isOwn(access *reloc.Access) bool {
	_, own := p.own[access.Record]
	return own
}

// stays reports whether an access to a copy of the program's own is right as it is. One
// to a bit-field may not be: clang puts the recorded offset into the instruction, which
// need not be that of the bytes it loads (see reloc.Field). It becomes what it would for
// a layout that is the program's own struct.
func (p *planner) stays(access *reloc.Access) bool {
	if !p.isOwn(access) {
		return false
	}
	isBits := access.Kind == reloc.ByteOffset && access.Local.Field.IsBitField()
	return !isBits || p.own[access.Record].macro
}

// isDescriptor reports whether the root type of an access is the descriptor, or
// nested in it. Of another type the target's is meant wherever it is not known to be
// the program's own, as for libbpf.
func isDescriptor(access *reloc.Access) bool {
	return access.Adopted() || btfraw.EssentialName(access.RootName()) == reloc.Descriptor
}

// judge finds out of each access whether it is to the descriptor, to a copy of the
// program's own, or whether nobody knows: then it is refused. It returns how many
// copies it found that were not known before, which takes planning anew.
func (p *planner) judge() (found int) {
	macros := make(map[macroKey][]int)
	for i := range p.accesses {
		access := &p.accesses[i]
		switch {
		case p.isOwn(access):
			continue
		case p.macros[keyOf(access)] && access.Kind != reloc.ByteOffset:
			macros[keyOf(access)] = append(macros[keyOf(access)], i)
			continue
		}
		found += p.judgeOne(i)
	}
	return found + p.judgeMacros(macros)
}

// judgeOne judges an access by itself.
func (p *planner) judgeOne(i int) (found int) {
	access := &p.accesses[i]
	unit := p.analyze().units[placeOf(access)]
	if unit == nil {
		return 0 // see checkFollowed
	}
	switch access.Kind {
	case reloc.TypeSize:
		return p.judgeSize(i, unit)
	case reloc.ByteOffset:
		return p.judgeOffset(i, unit)
	}
	return 0
}

// judgeOffset judges an access to a field.
func (p *planner) judgeOffset(i int, unit *flow.Unit) (found int) {
	access := &p.accesses[i]
	pointees, reached := p.pointeesOf(access, unit)
	if !reached {
		return 0
	}
	in := regionsOf(pointees)
	switch {
	case in.allOwn():
		p.own[access.Record] = ownCopy{in.first(), p.isMacroOffset(access)}
		return 1
	case in.hasOwn() && p.isSame(i): // whichever it is
	case in.hasOwn() && p.keepSums(access, unit):
		return 1
	case in.hasOwn() && p.isShared(access):
		p.verdicts[i] = refuse("access the copy in a function of its own",
			"clang keeps one offset in a register for a field of the descriptor and of a copy of the program's own, and the field is a bit-field or a macro for bit-fields accesses it")
	case in.hasOwn():
		p.dispute(access)
		p.verdicts[i] = refuse("use two variables, one for the descriptor and one for the copy",
			"its pointer points %s, depending on the path or on who calls the function", in)
	case !isDescriptor(access), in == 1<<flow.Unknown && p.isUnused(access):
	case in != 1<<flow.Area:
		p.verdicts[i] = refuse("get the descriptor by md_desc(ctx), and pass it to static functions only",
			"its pointer points %s, and nothing tells whether the descriptor is there or a copy of the program's own", in)
	case !access.Adopted():
		p.verdicts[i] = p.checkStart(i, pointees)
	}
	p.noteDescriptor(pointees)
	return 0
}

// keepSums lets an offset that clang keeps in one register, for the descriptor and for
// a copy of the program's own, be added to the copy's address as the program has it. It
// reports whether that is so of a sum that was not known before.
func (p *planner) keepSums(access *reloc.Access, unit *flow.Unit) bool {
	if p.section(access.Section).isMemoryAt(access.Insn) || p.isShared(access) {
		return false
	}
	present, err := p.section(access.Section).instruction(access.Insn)
	if err != nil || p.checkPresent(access, present) != nil {
		return false
	}
	kept := false
	for _, sum := range p.sums(unit)[access.Insn] {
		if !sum.Alone || !regionsOf(sum.Pointees).allOwn() {
			continue
		}
		at := placeOf(access)
		if p.ownSums[at] == nil {
			p.ownSums[at] = make(map[int]flow.OwnSum)
		}
		p.ownSums[at][sum.Slot] = flow.OwnSum{Of: access.Insn, Offset: present.Constant + sum.Delta, InDst: sum.InDst}
		kept = true
	}
	return kept
}

// isShared reports whether an offset in a register, if it is for both, can't be told
// apart: of a bit-field it need not be that of the bytes, and with a macro sizes and
// shifts go that nothing ties to it.
func (p *planner) isShared(access *reloc.Access) bool {
	return !p.section(access.Section).isMemoryAt(access.Insn) && (access.Local.Field.IsBitField() || p.macros[keyOf(access)])
}

// sums returns the additions of recorded offsets to addresses in a function, by the slot
// of the offset.
func (p *planner) sums(unit *flow.Unit) map[int][]flow.Sum {
	if p.sumsOf == nil {
		p.sumsOf = make(map[*flow.Unit]map[int][]flow.Sum)
	}
	if p.sumsOf[unit] == nil {
		p.sumsOf[unit] = make(map[int][]flow.Sum)
		for _, sum := range p.program.pointers.Sums(unit) {
			p.sumsOf[unit][sum.Offset] = append(p.sumsOf[unit][sum.Offset], sum)
		}
	}
	return p.sumsOf[unit]
}

// patchSums adds to an edit what becomes of the sums of its offset with addresses of the
// program's own.
func (p *planner) patchSums(edit *Edit) error {
	at := placeOf(&edit.Access)
	for _, slot := range slices.Sorted(maps.Keys(p.ownSums[at])) {
		sum := p.ownSums[at][slot]
		if sum.Of != edit.Access.Insn {
			continue
		}
		before, err := p.section(at.section).instruction(slot)
		if err != nil {
			return refuse(remedyRecompile, "instruction %d: %v", slot, err)
		}
		after := Instructions{asm.Add.Imm(before.Dst, int32(sum.Offset))}
		if sum.InDst {
			after = Instructions{asm.Mov.Reg(before.Dst, before.Src), after[0]}
		}
		edit.Others = append(edit.Others, Patch{Insn: slot, Before: Instructions{before}, After: after})
	}
	return nil
}

// isSame reports whether the layout keeps what is accessed where the program does.
func (p *planner) isSame(i int) bool {
	local, target := p.accesses[i].Local.Field, p.resolutions[i].Field
	if p.unresolved[i] != nil || target == nil {
		return false
	}
	by, same := p.distance(local, target)
	return same && by == 0
}

// isUnused reports whether an access is in a function that no loader loads, as it is no
// program and no other function calls it: clang leaves those that it has put in line
// everywhere. What they are called with nobody knows, and it does not matter.
func (p *planner) isUnused(access *reloc.Access) bool {
	fn := p.function(access)
	return !fn.isProgram && !p.called()[placeOf(access)]
}

// checkFollowed refuses an access in code of which nothing is known.
func (p *planner) checkFollowed(access *reloc.Access) error {
	if access.Kind != reloc.ByteOffset || !isDescriptor(access) || p.analyze().units[placeOf(access)] != nil {
		return nil
	}
	fn := p.function(access)
	if fn.err == nil {
		return refuse(remedySymbols, "nothing tells what its pointer points at, as no symbol says where the function starts")
	}
	return refuse(remedyFunction, "nothing tells what its pointer points at, as the function is not understood: %v", fn.err)
}

// pointeesOf returns what the pointer may point at that an access starts from, or
// that its offset is added to. reached is false if the program never comes there, or
// adds it to nothing.
func (p *planner) pointeesOf(access *reloc.Access, unit *flow.Unit) (pointees []flow.Pointee, reached bool) {
	if p.section(access.Section).isMemoryAt(access.Insn) {
		return p.program.pointers.Address(unit, access.Insn)
	}
	pointees = p.program.pointers.AddedTo(unit, access.Insn)
	return pointees, len(pointees) > 0
}

// dispute notes that paths are to be kept apart that bring different pointers to an
// access, or to the loads and stores that its offset is used for.
func (p *planner) dispute(access *reloc.Access) {
	at := placeOf(access)
	if p.section(access.Section).isMemoryAt(access.Insn) {
		p.disputed[at] = append(p.disputed[at], flow.Access{Slot: access.Insn})
		return
	}
	if reached, err := p.reachedAnyway(access); err == nil {
		p.disputed[at] = append(p.disputed[at], reached.accesses[access.Insn]...)
	}
}

// regions is a set of regions.
type regions uint16

func regionsOf(pointees []flow.Pointee) regions {
	var set regions
	for n := range pointees {
		set |= 1 << pointees[n].Region
	}
	return set
}

func (r regions) has(region flow.Region) bool { return r&(1<<region) != 0 }

// first returns one of the regions: always the same.
func (r regions) first() flow.Region { return flow.Region(bits.TrailingZeros16(uint16(r))) }

// own returns those that are the program's own.
func (r regions) own() regions {
	var own regions
	for region := range whereabouts {
		if flow.Region(region).IsOwn() {
			own |= r & (1 << region)
		}
	}
	return own
}

func (r regions) hasOwn() bool { return r.own() != 0 }
func (r regions) allOwn() bool { return r != 0 && r.own() == r }

// whereabouts says where pointers point, by region.
var whereabouts = [...]string{
	flow.Unknown:    "at what came out of memory, or of a function that is not followed",
	flow.Area:       "at the descriptor",
	flow.Packet:     "into the packet",
	flow.Ctx:        "at the ctx",
	flow.Stack:      "at a copy on the stack",
	flow.MapValue:   "at a copy in a map",
	flow.Data:       "at a copy in the program's data",
	flow.RingBuffer: "at a copy in a ring buffer",
	flow.Heap:       "at a copy in memory that was allocated",
	flow.Code:       "at code",
}

func (r regions) String() string {
	var spelled []string
	for region, where := range whereabouts {
		if r.has(flow.Region(region)) {
			spelled = append(spelled, where)
		}
	}
	if len(spelled) == 0 {
		return "nowhere, as it is a number"
	}
	return strings.Join(spelled, " or ")
}

// checkStart refuses an access whose pointer is not the descriptor's own address but
// a multiple of its size further, as that is the size of the program's struct.
func (p *planner) checkStart(i int, pointees []flow.Pointee) error {
	access, resolution := &p.accesses[i], &p.resolutions[i]
	size := int64(access.Local.TypeSize)
	if size == int64(resolution.TypeSize) || resolution.TypeSize == 0 {
		return nil
	}
	for n := range pointees {
		from, known := pointees[n].From()
		switch {
		case pointees[n].Past:
		case !known:
			return refuse("get the descriptor by md_desc(ctx)", "its pointer is the address of the metadata area plus something that is not constant and not recorded")
		case size > 0 && from != 0 && from%size == 0:
			return refuse("add bpf_core_type_size(struct md_desc) to the address instead",
				"its pointer is %d bytes into the metadata area, the size of %s in the program, and the layout's has %d", from, access.Root, resolution.TypeSize)
		}
	}
	return nil
}

// noteDescriptor notes where in the metadata area a descriptor is.
func (p *planner) noteDescriptor(pointees []flow.Pointee) {
	for n := range pointees {
		if pointees[n].Region != flow.Area || pointees[n].Past {
			continue
		}
		from, known := pointees[n].From()
		if !known {
			from = 0
		}
		at := siteOf(&pointees[n])
		if first, ok := p.descriptors[at]; !ok || from < first {
			p.descriptors[at] = from
		}
	}
}

// judgeSize decides whose size a program asks for: that of the NIC's descriptor, or
// that of the memory that it keeps its own in.
func (p *planner) judgeSize(i int, unit *flow.Unit) (found int) {
	access := &p.accesses[i]
	added, _ := p.pointeesOf(access, unit)
	in := regionsOf(added) | regionsOf(p.program.pointers.SizeOf(unit, access.Insn))
	p.noteDescriptor(added)
	switch {
	case in.allOwn():
		p.own[access.Record] = ownCopy{region: in.first()}
		return 1
	case in.hasOwn() && p.resolutions[i].Value != access.Local.Value:
		p.verdicts[i] = refuse("use sizeof for memory of the program's own",
			"the size is that of the descriptor in one place, and of memory of the program's own in another")
	}
	return 0
}

// judgeMacros judges what bit-field macros ask for besides the offset: it is about
// the same memory.
func (p *planner) judgeMacros(macros map[macroKey][]int) (found int) {
	type offsets struct{ own, others int }
	counts := make(map[macroKey]offsets)
	regions := make(map[macroKey]flow.Region)
	for i := range p.accesses {
		access := &p.accesses[i]
		key := keyOf(access)
		if access.Kind != reloc.ByteOffset || macros[key] == nil {
			continue
		}
		count := counts[key]
		if own, isOwn := p.own[access.Record]; isOwn && own.macro {
			count.own, regions[key] = count.own+1, own.region
		} else if !isOwn && p.isMacroOffset(access) {
			count.others++
		}
		counts[key] = count
	}
	for key, asked := range macros {
		if counts[key].own == 0 {
			continue
		}
		shared := counts[key].others > 0 || p.asksMore(asked, counts[key].own)
		found += p.judgeMacro(asked, regions[key], shared)
	}
	return found
}

// asksMore reports whether something is asked for more often than so many uses of the
// macro do. A use shifts to the right in one of two ways, for which it asks twice.
func (p *planner) asksMore(asked []int, uses int) bool {
	counts := make(map[reloc.Kind]int)
	for _, i := range asked {
		counts[p.accesses[i].Kind]++
	}
	counts[reloc.RightShift] = (counts[reloc.RightShift] + 1) / 2
	for kind, count := range counts {
		if kind != reloc.FieldExists && count > uses {
			return true
		}
	}
	return false
}

func (p *planner) judgeMacro(asked []int, region flow.Region, shared bool) (found int) {
	for _, i := range asked {
		access, resolution := &p.accesses[i], &p.resolutions[i]
		switch {
		case access.Kind == reloc.FieldExists:
		case !shared:
			p.own[access.Record] = ownCopy{region, true}
			found++
		case p.unresolved[i] != nil || resolution.Poison || resolution.Value != access.Local.Value:
			p.verdicts[i] = refuse("use the macro for the copy in a function of its own",
				"the bit-field macros ask for a field of the descriptor and of a copy of the program's own in one function, and nothing tells which asks for what")
		}
	}
	return found
}

// unrecorded refuses what the program does with the descriptor that the compiler
// did not record, once for each source line.
func (p *planner) unrecorded() []Refusal {
	var refused []Refusal
	for _, at := range p.analyze().order {
		fn := p.functions[at]
		seen := make(map[reloc.Source]bool)
		for _, use := range p.program.pointers.Uses(p.program.units[at]) {
			r := p.judgeUse(fn, use)
			if r == nil {
				continue
			}
			source := p.source(fn.section.Name, use.Slot)
			if seen[source] {
				continue
			}
			seen[source] = true
			refused = append(refused, Refusal{Access: p.unrecordedAt(fn, use.Slot), Reason: r.reason, Remedy: r.remedy, Unrecorded: true})
		}
	}
	return refused
}

// unrecordedAt returns an access that the compiler recorded nothing of.
func (p *planner) unrecordedAt(fn *function, slot int) reloc.Access {
	const root = "struct " + reloc.Descriptor
	return reloc.Access{
		Record: -1, Program: p.prototype(fn).Name, Section: fn.section.Name, Insn: slot,
		FunctionStart: fn.start, Root: root, Path: root, Source: p.source(fn.section.Name, slot),
	}
}

const remedyUnrecorded = "read it field by field, copy it with md_desc_copy(dst, md), and declare its type with __attribute__((preserve_access_index))"

// judgeUse says what is wrong with a use of an address that may be the descriptor's;
// nil if nothing is.
func (p *planner) judgeUse(fn *function, use flow.MemoryUse) *refusal {
	if use.Argument == 0 && fn.section.accessed[use.Slot] {
		return nil // recorded
	}
	ins, err := fn.section.instruction(use.Slot)
	if err != nil {
		return nil
	}
	for n := range use.Pointees {
		pointee := &use.Pointees[n]
		if pointee.Region != flow.Area || pointee.Past && !pointee.Indexed && pointee.Offset+int64(ins.Offset) >= 0 {
			continue
		}
		switch {
		case use.Argument > 0:
			if r := p.judgeArgument(fn, ins, use, pointee); r != nil {
				return r
			}
		case pointee.Field.Unit != nil:
			if r := p.judgeThroughField(fn, ins, use.Slot, pointee); r != nil {
				return r
			}
		case p.touches(pointee, int64(ins.Offset), int64(width(ins))):
			return &refusal{fmt.Sprintf("the compiler recorded nothing of the instruction %q, which accesses the descriptor at a place that is only right for the program's own struct", spell(ins)), remedyUnrecorded}
		}
	}
	return nil
}

// touches reports whether bytes at an address without a recorded offset may be the
// descriptor's: it is where that is, and not in front of it.
func (p *planner) touches(pointee *flow.Pointee, offset, size int64) bool {
	from, isDescriptor := p.descriptors[siteOf(pointee)]
	switch _, anywhere := p.descriptors[site{}]; {
	case anywhere:
		return true
	case pointee.Unit == nil:
		return len(p.descriptors) > 0
	}
	return isDescriptor && (pointee.Indexed || pointee.Past || pointee.Offset+offset+size > from)
}

// judgeThroughField looks at a load or store through the address of a field that
// another function made.
func (p *planner) judgeThroughField(fn *function, ins asm.Instruction, slot int, pointee *flow.Pointee) *refusal {
	if pointee.Field.Unit == p.program.units[place{fn.section.Name, fn.start}] {
		return nil // it is one of usesOf
	}
	first := pointee.Offset + int64(ins.Offset)
	for _, field := range p.fieldsAt(pointee) {
		switch {
		case pointee.Indexed && isElementwise(field):
		case pointee.Indexed || first < 0 || first+int64(width(ins)) > int64(field.Size):
			return beyondField(ins, field)
		}
	}
	return nil
}

func beyondField(ins asm.Instruction, field *reloc.Field) *refusal {
	return &refusal{fmt.Sprintf("the instruction %q accesses more than the field %s through its address, and what is beside it is something else in the layout", spell(ins), field),
		"access each field by its name"}
}

// isElementwise reports whether a field has parts that an index can choose from.
func isElementwise(field *reloc.Field) bool { return field.Class == reloc.Aggregate }

// fieldsAt returns the program's fields of which an address may have been made from one,
// without those that were for a copy, or are refused anyway.
func (p *planner) fieldsAt(pointee *flow.Pointee) (fields []*reloc.Field) {
	at, ok := p.program.places[pointee.Field.Unit]
	if !ok {
		return nil
	}
	offsets := p.questionsAt(at).offsets
	for _, slot := range p.program.pointers.FieldsOf(pointee) {
		if q, ok := offsets[slot]; ok {
			fields = append(fields, q.access.Local.Field)
		}
	}
	return fields
}

// judgeArgument looks at an address in the metadata area that a function of the
// kernel's is called with.
func (p *planner) judgeArgument(fn *function, ins asm.Instruction, use flow.MemoryUse, pointee *flow.Pointee) *refusal {
	if pointee.Field.Unit == nil {
		if !p.touches(pointee, 0, 1<<16) {
			return nil
		}
		return &refusal{fmt.Sprintf("the descriptor as a whole is passed to %s, which knows nothing of the layout", calledBy(ins)), remedyUnrecorded}
	}
	size, ok := p.sizeOfArgument(fn, ins, use)
	if !ok {
		return nil
	}
	for _, field := range p.fieldsAt(pointee) {
		if pointee.Indexed || pointee.Offset < 0 || pointee.Offset+size > int64(field.Size) {
			return &refusal{fmt.Sprintf("%d bytes are passed to %s from the address of the field %s, which has %d, and what is beside it is something else in the layout", size, calledBy(ins), field, field.Size),
				"pass each field by its name"}
		}
	}
	return nil
}

// calledBy names what a call calls.
func calledBy(ins asm.Instruction) string {
	if ins.Src == asm.R0 && ins.OpCode.Source() == asm.ImmSource {
		return helperName(asm.BuiltinFunc(ins.Constant))
	}
	return "a function of the kernel's"
}

// helperName returns the name that C has for what package asm calls FnRingbufOutput.
func helperName(helper asm.BuiltinFunc) string {
	var name strings.Builder
	name.WriteString("bpf")
	for _, letter := range strings.TrimPrefix(helper.String(), "Fn") {
		if unicode.IsUpper(letter) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToLower(letter))
	}
	return name.String()
}

// sizeArguments are the arguments of helpers that say how many bytes there are at
// another one, by that one.
var sizeArguments = map[asm.BuiltinFunc]map[int]asm.Register{
	asm.FnProbeRead:          {3: asm.R2},
	asm.FnProbeReadKernel:    {3: asm.R2},
	asm.FnProbeReadUser:      {3: asm.R2},
	asm.FnPerfEventOutput:    {4: asm.R5},
	asm.FnSkbOutput:          {4: asm.R5},
	asm.FnXdpOutput:          {4: asm.R5},
	asm.FnRingbufOutput:      {2: asm.R3},
	asm.FnCsumDiff:           {1: asm.R2, 3: asm.R4},
	asm.FnSkbLoadBytes:       {3: asm.R4},
	asm.FnSkbStoreBytes:      {3: asm.R4},
	asm.FnXdpLoadBytes:       {3: asm.R4},
	asm.FnXdpStoreBytes:      {3: asm.R4},
	asm.FnGetCurrentComm:     {1: asm.R2},
	asm.FnProbeReadStr:       {3: asm.R2},
	asm.FnProbeReadKernelStr: {3: asm.R2},
}

// sizeOfArgument returns how many bytes a helper is told that an argument has, if it
// is and that is constant.
func (p *planner) sizeOfArgument(fn *function, ins asm.Instruction, use flow.MemoryUse) (int64, bool) {
	if ins.Src != asm.R0 {
		return 0, false
	}
	register, ok := sizeArguments[asm.BuiltinFunc(ins.Constant)][use.Argument]
	if !ok {
		return 0, false
	}
	constants := p.program.constants[p.program.units[place{fn.section.Name, fn.start}]]
	return constants.Value(use.Slot, register)
}

package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/reloc"
)

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
	if use.Argument == 0 && fn.section.isRecorded(use.Slot) {
		return nil
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
			if r := p.judgeThroughField(fn, ins, pointee); r != nil {
				return r
			}
		case p.touches(pointee, int64(ins.Offset), int64(width(ins))) || p.isGuardedAsDescriptor(fn, use.Slot):
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

// isGuardedAsDescriptor reports whether a function that accesses descriptors, if only
// copies of its own, has checked the metadata area for as many bytes as its struct has.
// Nothing else tells that "m + 1 > data" and "mine = *m" are about one.
func (p *planner) isGuardedAsDescriptor(fn *function, slot int) bool {
	guards := p.guardsIn(fn)
	if guards == nil || len(fn.sizes) == 0 {
		return false
	}
	return slices.ContainsFunc(guards.Before(slot), func(g flow.Guard) bool { return g.Recorded < 0 && fn.sizes[g.Bytes] })
}

// judgeThroughField looks at a load or store through the address of a field that
// another function made.
func (p *planner) judgeThroughField(fn *function, ins asm.Instruction, pointee *flow.Pointee) *refusal {
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
		if !p.touches(pointee, 0, 1<<16) && !p.isGuardedAsDescriptor(fn, use.Slot) {
			return nil
		}
		return &refusal{fmt.Sprintf("the descriptor as a whole is passed to %s, which knows nothing of the layout", calledBy(ins)), remedyUnrecorded}
	}
	size, isTold := sizeArguments[asm.BuiltinFunc(ins.Constant)][use.Argument]
	if !isTold || ins.Src != asm.R0 {
		return nil
	}
	bytes, known := p.program.constants[p.program.units[place{fn.section.Name, fn.start}]].Value(use.Slot, size)
	for _, field := range p.fieldsAt(pointee) {
		if r := judgeSizeArgument(ins, pointee, field, bytes, known); r != nil {
			return r
		}
	}
	return nil
}

// judgeSizeArgument looks at how many bytes a helper is told to access from the address
// of a field.
func judgeSizeArgument(ins asm.Instruction, pointee *flow.Pointee, field *reloc.Field, bytes int64, known bool) *refusal {
	const reason = "%s bytes are passed to %s from the address of the field %s, which has %d, and what is beside it is something else in the layout"
	switch {
	case !known && isElementwise(field):
		return nil
	case !known:
		return &refusal{fmt.Sprintf(reason, "nobody knows how many", calledBy(ins), field, field.Size), "pass a constant as the size"}
	case !pointee.Indexed && pointee.Offset >= 0 && pointee.Offset+bytes <= int64(field.Size):
		return nil
	}
	return &refusal{fmt.Sprintf(reason, fmt.Sprint(bytes), calledBy(ins), field, field.Size), "pass each field by its name"}
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

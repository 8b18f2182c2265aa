package rewrite

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// unrecorded refuses what the program does with the descriptor that the compiler
// did not record, once for each source line.
func (p *planner) unrecorded() []Refusal {
	var refused []Refusal
	for _, at := range p.analyze().order {
		fn := p.functions[at]
		refused = append(refused, p.wholeAreas(fn)...)
		seen := make(map[reloc.Source]bool)
		for _, use := range p.program.pointers.Uses(p.program.subs[at]) {
			var r *refuse.Error
			if !errors.As(p.judgeUse(fn, use), &r) {
				continue
			}
			source := p.lineAt(fn.section.Name, use.Slot)
			if seen[source] {
				continue
			}
			seen[source] = true
			refused = append(refused, Refusal{Access: p.unrecordedAt(fn, use.Slot), Reason: r.Reason, Remedy: r.Remedy, Unrecorded: true})
		}
	}
	return refused
}

// areaFunctions are functions of the kernel's that give a program the metadata area as
// plain bytes.
var areaFunctions = map[string]bool{"bpf_dynptr_from_skb_meta": true}

// wholeAreas refuses what gives a function the metadata area as plain bytes in a program
// that has descriptors: they may be taken for one.
func (p *planner) wholeAreas(fn *function) []Refusal {
	var refused []Refusal
	kfuncs := fn.section.KFuncs()
	for _, slot := range slices.Sorted(maps.Keys(kfuncs)) {
		if areaFunctions[kfuncs[slot]] && fn.Start <= slot && slot < fn.End && len(p.sizes) > 0 {
			reason := fmt.Sprintf("%s gives the metadata area as plain bytes, which are laid out as the NIC has them", kfuncs[slot])
			refused = append(refused, Refusal{Access: p.unrecordedAt(fn, slot), Reason: reason, Remedy: remedyUnrecorded, Unrecorded: true})
		}
	}
	return refused
}

// unrecordedAt returns an access that the compiler recorded nothing of.
func (p *planner) unrecordedAt(fn *function, slot int) reloc.Access {
	const root = "struct " + reloc.Descriptor
	return reloc.Access{
		Record: -1, Program: fn.Prototype().Name, Section: fn.section.Name, Insn: slot,
		FunctionStart: fn.Start, Root: root, Path: root, Source: p.lineAt(fn.section.Name, slot), Local: &reloc.Resolution{},
	}
}

const remedyUnrecorded = "read it field by field, copy it with md_desc_copy(dst, md), and declare its type with __attribute__((preserve_access_index))"

// judgeUse says what is wrong with a use of an address that may be the descriptor's;
// nil if nothing is.
func (p *planner) judgeUse(fn *function, use flow.MemoryUse) error {
	if use.Argument == 0 && fn.section.accessed.Has(use.Slot) {
		return nil
	}
	ins, err := fn.section.Instruction(use.Slot)
	if err != nil {
		return nil
	}
	for n := range use.Pointees {
		pointee := &use.Pointees[n]
		if pointee.Region != p.home() || pointee.Past && !pointee.Indexed && pointee.Offset+int64(ins.Offset) >= 0 {
			continue
		}
		switch {
		case use.Argument > 0:
			if r := p.judgeArgument(fn, ins, use, pointee); r != nil {
				return r
			}
		case pointee.Field.Subprogram != nil:
			if r := p.judgeThroughField(fn, use.Slot, ins, pointee); r != nil {
				return r
			}
		case pointee.Region == flow.Driver, p.touches(pointee, int64(ins.Offset), int64(insn.Bytes(ins))), p.isGuardedAsDescriptor(fn, use.Slot):
			return refuse.Because(remedyUnrecorded, "the compiler recorded nothing of the instruction %q, which accesses the descriptor at a place that is only right for the program's own struct", insn.Spell(ins))
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
	case pointee.Subprogram == nil:
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

// mayBeDescriptor reports whether what a function is told to access in the metadata area
// is a whole descriptor, as the program has one of that size, or nobody knows.
func (p *planner) mayBeDescriptor(bytes int64, known bool) bool {
	for _, sizes := range p.sizes {
		if !known || sizes[bytes] {
			return true
		}
	}
	return false
}

// judgeThroughField looks at a load or store through the address of a field.
func (p *planner) judgeThroughField(fn *function, slot int, ins asm.Instruction, pointee *flow.Pointee) error {
	isHere := pointee.Field.Subprogram == p.program.subs[fn.Place()]
	first := pointee.Offset + int64(ins.Offset)
	for _, access := range p.fieldsAt(pointee) {
		field := access.Local.Field
		switch {
		case p.isInPlainC(pointee) && access.Adopted():
			return nestedInPlainC(access)
		case isHere && !p.isFollowed(access, slot):
			return refuse.Because(remedyRegister, "the instruction %q accesses the field %s, whose offset is kept where nothing tells what becomes of it", insn.Spell(ins), access.Path)
		case isHere && (!pointee.OfNested || pointee.Indexed || field.IsBitField()): // see usesOf
		case pointee.Indexed && isElementwise(field):
		case pointee.Indexed || first < 0 || first+int64(insn.Bytes(ins)) > int64(field.Size):
			return beyondField(ins, access)
		}
	}
	return nil
}

// isFollowed reports whether a load or store is one of those that the offset of an access
// is known to be used for, or that checkEscapes has an eye on. If not, it would stay as
// it is.
func (p *planner) isFollowed(access *reloc.Access, slot int) bool {
	if p.isMacro(access) {
		return true // see checkMacro
	}
	uses, err := p.usesOf(access)
	if err != nil || uses.reached == nil {
		return true // it is refused, or never comes to that
	}
	if slices.ContainsFunc(uses.escapes[access.Insn], func(escape flow.Escape) bool { return escape.Address }) {
		return true
	}
	_, found := slices.BinarySearchFunc(uses.dereferences[access.Insn], slot, func(use flow.Dereference, slot int) int { return use.Slot - slot })
	return found
}

func beyondField(ins asm.Instruction, access *reloc.Access) error {
	return refuse.Because("access each field by its name", "the instruction %q accesses more than the field %s through its address, and what is beside it is something else in the layout", insn.Spell(ins), access.Path)
}

// isElementwise reports whether a field has parts that an index can choose from.
func isElementwise(field *reloc.Field) bool { return field.Class == reloc.Aggregate }

// fieldsAt returns the accesses of which an address may have been made from one, without
// those that were for a copy, or are refused anyway.
func (p *planner) fieldsAt(pointee *flow.Pointee) (accesses []*reloc.Access) {
	at, ok := p.program.places[pointee.Field.Subprogram]
	if !ok {
		return nil
	}
	offsets := p.accessesAt(at).offsets
	for _, slot := range p.program.pointers.FieldsOf(pointee) {
		if q, ok := offsets[slot]; ok {
			accesses = append(accesses, q.access)
		}
	}
	return accesses
}

// judgeArgument looks at an address in the metadata area that a function of the
// kernel's is called with.
func (p *planner) judgeArgument(fn *function, ins asm.Instruction, use flow.MemoryUse, pointee *flow.Pointee) error {
	bytes, known := p.bytesAt(fn, ins, use)
	if pointee.Field.Subprogram == nil {
		if !p.touches(pointee, 0, 1<<16) && !p.isGuardedAsDescriptor(fn, use.Slot) && !p.mayBeDescriptor(bytes, known) {
			return nil
		}
		return refuse.Because(remedyUnrecorded, "the descriptor as a whole is passed to %s, which knows nothing of the layout", p.calleeName(fn, use.Slot, ins))
	}
	for _, access := range p.fieldsAt(pointee) {
		if p.isInPlainC(pointee) && access.Adopted() {
			return nestedInPlainC(access)
		}
		if err := judgeSizeArgument(p.calleeName(fn, use.Slot, ins), pointee, access, bytes, known); err != nil {
			return err
		}
	}
	return nil
}

// bytesAt returns how many bytes are accessed at an argument of a function that is not
// the object's, and whether anything tells.
func (p *planner) bytesAt(fn *function, ins asm.Instruction, use flow.MemoryUse) (bytes int64, known bool) {
	if kfunc := fn.section.KFuncs()[use.Slot]; kfunc != "" {
		return p.sizeInPrototype(kfunc, use.Argument)
	}
	if ins.Src != asm.R0 || ins.OpCode.Source() != asm.ImmSource {
		return 0, false
	}
	sub, address := p.program.subs[fn.Place()], asm.Register(use.Argument)
	if size, isTold := insn.SizeArgument(ins.Constant, address); isTold {
		return p.program.constants[sub].Value(use.Slot, size)
	}
	helper := asm.BuiltinFunc(ins.Constant)
	if !slices.Contains(mapHelpers, helper) {
		return 0, false
	}
	return p.sizeInMap(p.program.pointers.Argument(sub, use.Slot, asm.R1), isValue(helper, use.Argument))
}

// sizeInPrototype returns the size of what a function of the kernel's is declared to be
// given the address of. What has no size, or is a byte, may be followed by any number.
func (p *planner) sizeInPrototype(kfunc string, argument int) (size int64, known bool) {
	prototype, ok := p.recorded.Extern(kfunc)
	if !ok || argument > len(prototype.Parameters) {
		return 0, false
	}
	size = int64(prototype.Parameters[argument-1].Size)
	return size, size > 1
}

// mapHelpers are the helpers that take a map, and keys and values of it.
var mapHelpers = []asm.BuiltinFunc{
	asm.FnMapLookupElem, asm.FnMapUpdateElem, asm.FnMapDeleteElem, asm.FnMapLookupPercpuElem,
	asm.FnMapPushElem, asm.FnMapPopElem, asm.FnMapPeekElem,
}

// isValue reports whether an argument of a helper is a value of the map, not a key.
func isValue(helper asm.BuiltinFunc, argument int) bool {
	switch helper {
	case asm.FnMapPushElem, asm.FnMapPopElem, asm.FnMapPeekElem:
		return true
	}
	return argument == 3
}

// sizeInMap returns the size of the keys or values of the maps that a pointer may point
// at, if that is known and the same of all.
func (p *planner) sizeInMap(maps []flow.Pointee, value bool) (size int64, known bool) {
	for n := range maps {
		at, ok := p.program.places[maps[n].Subprogram]
		if maps[n].Region != flow.Map || !ok {
			return 0, false
		}
		found, ok := p.recorded.Map(p.section(at.Section).Symbols()[maps[n].Slot].Name)
		if !ok {
			return 0, false
		}
		bytes := int64(found.KeySize)
		if value {
			bytes = int64(found.ValueSize)
		}
		if n > 0 && bytes != size {
			return 0, false
		}
		size = bytes
	}
	return size, len(maps) > 0
}

// judgeSizeArgument looks at how many bytes a helper is told to access from the address
// of a field.
func judgeSizeArgument(called string, pointee *flow.Pointee, access *reloc.Access, bytes int64, known bool) error {
	field := access.Local.Field
	switch {
	case !known && isElementwise(field):
		return nil
	case !known:
		return refuse.Because("pass a constant as the size, or the address of a copy of the field",
			"nobody knows how many bytes are passed to %s from the address of the field %s, which has %d, and what is beside it is something else in the layout", called, access.Path, field.Size)
	case !pointee.Indexed && pointee.Offset >= 0 && pointee.Offset+bytes <= int64(field.Size):
		return nil
	}
	return refuse.Because("pass each field by its name",
		"%d bytes are passed to %s from the address of the field %s, which has %d, and what is beside it is something else in the layout", bytes, called, access.Path, field.Size)
}

// calleeName names what is called at a slot.
func (p *planner) calleeName(fn *function, slot int, ins asm.Instruction) string {
	if kfunc := fn.section.KFuncs()[slot]; kfunc != "" {
		return kfunc
	}
	if ins.Src == asm.R0 && ins.OpCode.Source() == asm.ImmSource {
		return helperName(asm.BuiltinFunc(ins.Constant))
	}
	return "a function that is not the object's"
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

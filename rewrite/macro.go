package rewrite

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// patchMacro edits the offset in BPF_CORE_READ_BITFIELD or BPF_CORE_WRITE_BITFIELD,
// which have a record for each thing that may differ but the byte order. They
// read and write the layout's number whole, whatever the program's type.
func (p *planner) patchMacro(edit *Edit, ins asm.Instruction) error {
	local, target := edit.Access.Local.Field, edit.Resolution.Field
	const differs = "%s: %s in the program, %s in the layout"
	switch {
	case !isNumber(local) || !isNumber(target):
		return refuse.Because(refuse.SameType, differs, "the types differ", local, target)
	case local.Class == reloc.Bool && target.Class != reloc.Bool:
		return refuse.Because("read it without the macro", differs, "a truth value differs from a number, and the bit-field macros know nothing of that", local, target)
	case target.SignUnknown:
		return refuse.Because("compile it with clang 16 or later", "the compiler of the layout did not record whether %s is signed", target)
	case target.IsBitField() && target.Size > 0 && target.Offset+target.Size > edit.Resolution.TypeSize:
		return refuse.Because("read it without the macro", "the %d bytes that the bit-field macros load for %s end beyond the layout's type, which has %d",
			target.Size, target, edit.Resolution.TypeSize)
	case target.Size == 0:
		return refuse.Because(refuse.SameType, "the bit-field %s crosses an 8-byte boundary, and the bit-field macros read no more", target)
	case local.Swapped(p.order) != target.Swapped(p.order):
		return refuse.Because("read it without the macro", differs, "the byte order differs, and the bit-field macros know nothing of that", local, target)
	case local.Swapped(p.order) && local.Size != target.Size:
		return refuse.Because("read it without the macro", differs, "the width in foreign byte order differs, and the bit-field macros know nothing of that", local, target)
	}
	if err := p.checkMacro(edit); err != nil {
		return err
	}
	return p.patchValue(edit, ins, edit.Resolution.Value)
}

// checkMacro makes sure that nothing but the macro uses the offset. The macro
// has a load, and for writing a store too, of each width at the field's address,
// of which it picks one by the size that is recorded. Any other access would not
// know how the layout keeps the field.
//
// A number that is written to a bool would have to be made 0 or 1.
func (p *planner) checkMacro(edit *Edit) error {
	local, target := edit.Access.Local.Field, edit.Resolution.Field
	readOnly := target.Class == reloc.Bool && local.Class != reloc.Bool
	_, same := p.distance(local, target)
	stores, err := p.checkMacroAlone(edit.Access, same)
	if err != nil {
		return err
	}
	if readOnly && stores {
		return refuse.Because("write it without the macro", "a truth value differs from a number, and the bit-field macros know nothing of that")
	}
	return nil
}

// checkMacroAlone refuses an offset that something else than a macro uses, too, and
// reports whether the macro is one for writing. If the field is the same in the layout it
// may be passed on.
func (p *planner) checkMacroAlone(access *reloc.Access, same bool) (writes bool, err error) {
	reached, err := p.reachedAnyway(access)
	if err != nil {
		return false, err
	}
	var loads, stores [9]int // by width in bytes
	section := p.section(access.Section)
	for _, use := range reached.dereferences[access.Insn] {
		ins, err := section.Instruction(use.Slot)
		if err != nil || !insn.IsMemory(ins) || len(use.Origins) > 1 || use.Origins[0].Delta != 0 || use.Mixed || use.Indexed {
			return false, errMacroShared
		}
		if ins.OpCode.Class() == asm.LdXClass {
			loads[insn.Bytes(ins)]++
		} else {
			stores[insn.Bytes(ins)]++
		}
	}
	if !eachWidth(loads) || !eachWidth(stores) || reached.passesOn(access.Insn) && !same {
		return false, errMacroShared
	}
	return stores[1] > 0, nil
}

var errMacroShared = refuse.Because("use the macro in a function of its own",
	"clang uses the offset that a bit-field macro asks for in other accesses too, which are not recorded")

func eachWidth(counts [9]int) bool {
	return counts[1] == counts[2] && counts[2] == counts[4] && counts[4] == counts[8]
}

// macroKey names the records that one use of a bit-field macro leaves.
type macroKey struct{ section, program, root, path string }

func keyOf(access *reloc.Access) macroKey {
	return macroKey{access.Section, access.Program, access.Root, access.Path}
}

// bitfieldMacros finds the functions and fields where the libbpf macros are
// used: they record size and both shifts.
func (p *planner) bitfieldMacros() map[macroKey]bool {
	needed := map[reloc.Kind]uint8{reloc.ByteSize: 1, reloc.LeftShift: 2, reloc.RightShift: 4}
	const all = 7
	seen := make(map[macroKey]uint8)
	macros := make(map[macroKey]bool)
	for i := range p.recorded.Accesses {
		access := &p.recorded.Accesses[i]
		if needed[access.Kind] == 0 || p.stays(access) {
			continue
		}
		key := keyOf(access)
		if seen[key] |= needed[access.Kind]; seen[key] == all {
			macros[key] = true
		}
	}
	return macros
}

// isMacro reports whether an offset is the one that a bit-field macro asks for: it
// is used for loads or stores of different widths, where the macro is used for the
// field. One of which no use as an address is known counts as such, too.
func (p *planner) isMacro(access *reloc.Access) bool {
	if !p.macros[keyOf(access)] {
		return false
	}
	isMacro, known := p.macroOffsets[access.Record]
	if !known {
		isMacro = p.differInWidth(access)
		p.macroOffsets[access.Record] = isMacro
	}
	return isMacro
}

// isMacroOffset is isMacro for any access: that of a load or store is none.
func (p *planner) isMacroOffset(access *reloc.Access) bool {
	return !p.section(access.Section).IsMemoryAt(access.Insn) && p.isMacro(access)
}

func (p *planner) differInWidth(access *reloc.Access) bool {
	reached, err := p.reachedAnyway(access)
	if err != nil {
		return true
	}
	widths := make(map[uint32]bool)
	for _, use := range reached.dereferences[access.Insn] {
		ins, err := p.section(access.Section).Instruction(use.Slot)
		if err != nil || !insn.IsMemory(ins) {
			return true
		}
		widths[insn.Bytes(ins)] = true
	}
	return len(widths) > 1 || len(widths) == 0 && !reached.passesOn(access.Insn)
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

// keeps reports whether the layout's answer is what the instruction holds: which, of a
// bit-field, is clang's own choice.
func (p *planner) keeps(i int) bool {
	access, resolution := &p.accesses[i], p.resolutions[i]
	ins, err := p.section(access.Section).Instruction(access.Insn)
	return err == nil && p.unresolved[i] == nil && !resolution.Poison && int64(resolution.Value) == ins.Constant
}

func (p *planner) judgeMacro(asked []int, region flow.Region, shared bool) (found int) {
	for _, i := range asked {
		access := &p.accesses[i]
		switch {
		case access.Kind == reloc.FieldExists:
		case !shared:
			p.own[access.Record] = ownCopy{region: region, macro: true}
			found++
		case !p.keeps(i):
			p.verdicts[i] = refuse.Because("use the macro for the copy in a function of its own",
				"the bit-field macros ask for a field of the descriptor and of a copy of the program's own in one function, and nothing tells which asks for what")
		}
	}
	return found
}

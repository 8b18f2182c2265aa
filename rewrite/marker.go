package rewrite

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// md_desc(ctx) of md_desc.h asks which source the program is loaded for:
//
//	r2 = 1				CO-RE <type_exists> struct xdp_load_source
//	if r2 == 0 goto area
//	r2 = *(u64 *)(r1 + 0)		CO-RE <byte_off> struct xdp_load_source.desc
//	goto found
//	area: ...			the guard
//
// The answer comes before everything else: what is left is what the program would be if
// it had been written for that source alone.

// Answers to the question whether the struct exists.
const (
	fromArea   int64 = 0
	fromDriver int64 = 1
)

// hasMarker reports whether an object asks where its descriptors come from: otherwise it
// was compiled with an md_desc.h that only knows the metadata area.
func hasMarker(recorded *reloc.Recorded) bool {
	return slices.ContainsFunc(recorded.Accesses, func(access reloc.Access) bool { return access.IsMarker() })
}

// answerSource answers the program's question, and takes out what it does not come to
// then. A question on which it depends in a way that is not understood stays, and what is
// recorded beside it.
func (r *rewriting) answerSource(answer int64) error {
	if !r.options.isRoot(reloc.Descriptor) || !hasMarker(r.recorded) {
		return nil
	}
	folds := r.folds(answer)
	if len(folds) == 0 {
		return nil
	}
	removed := make(map[bpf.Place]bool)
	replacements, slots := make(map[string][]code.Replacement), make(map[string][]int)
	for section, list := range folds {
		changes, err := r.replacementsOf(r.model.Section(section), list)
		if err != nil {
			return err
		}
		replacements[section] = changes
		for _, replacement := range changes {
			if len(replacement.Code) == 0 {
				removed[bpf.Place{Section: section, Slot: replacement.Slot}] = true
			}
		}
		r.rememberStarts(section)
		slots[section] = slotsWithout(r.model.Section(section), removed)
	}
	gone := make(map[int]bool)
	for i := range r.recorded.Accesses {
		access := &r.recorded.Accesses[i]
		if !removed[bpf.Place{Section: access.Section, Slot: access.Insn}] {
			continue
		}
		gone[access.Record] = true
		if !access.IsMarker() {
			r.otherSource = append(r.otherSource, r.accessBefore(access).Record)
		}
	}
	ext, err := dropRecords(r.object, r.ext, gone)
	if err != nil {
		return err
	}
	if err := code.Replace(r.object, ext, replacements); err != nil {
		return misfit(err)
	}
	return r.readAgain(slots)
}

// folds returns what becomes of the functions that ask, by section.
func (r *rewriting) folds(answer int64) map[string][]*flow.Fold {
	questions := make(map[bpf.Place]map[int]int64)
	open := make(map[string]*insn.Slots)
	for i := range r.recorded.Accesses {
		access := &r.recorded.Accesses[i]
		if open[access.Section] == nil {
			open[access.Section] = new(insn.Slots)
		}
		open[access.Section].Add(access.Insn)
		if at := functionPlace(access); access.IsMarker() && r.isQuestion(access) {
			if questions[at] == nil {
				questions[at] = make(map[int]int64)
			}
			questions[at][access.Insn] = answer
		}
	}
	folds := make(map[string][]*flow.Fold)
	for _, at := range slices.SortedFunc(maps.Keys(questions), comparePlaces) {
		if fold := r.model.Function(at).Fold(*open[at.Section], questions[at]); fold != nil {
			folds[at.Section] = append(folds[at.Section], fold)
		}
	}
	return folds
}

// isQuestion reports whether an access asks whether its type exists, by an instruction
// that holds what the record says.
func (r *rewriting) isQuestion(access *reloc.Access) bool {
	section := r.model.Section(access.Section)
	if access.Kind != reloc.TypeExists || !section.IsCode() || section.Linked().Has(access.Insn) {
		return false
	}
	ins, err := section.Instruction(access.Insn)
	return err == nil && isImmediate(ins) && uint64(ins.Constant) == access.Local.Value
}

// replacementsOf returns what folds take out of a section and put into it.
func (r *rewriting) replacementsOf(section *bpf.Section, folds []*flow.Fold) (replacements []code.Replacement, err error) {
	put := func(slot int, ins asm.Instruction, jumps ...code.Jump) error {
		encoded, err := instructions(ins).encode(r.object.Order)
		replacements = append(replacements, code.Replacement{Slot: slot, Code: encoded, Jumps: jumps})
		return err
	}
	for _, fold := range folds {
		for _, slot := range fold.Removed {
			replacements = append(replacements, code.Replacement{Slot: slot})
		}
		for slot, target := range fold.Jumps {
			if err := put(slot, asm.Instruction{OpCode: asm.Ja.Op(asm.ImmSource)}, code.Jump{Target: target}); err != nil {
				return nil, err
			}
		}
		for _, slot := range fold.Widened {
			ins := section.Read(slot)
			if err := put(slot, asm.Mov.Reg(asm.Register(ins.Dst), asm.Register(ins.Src))); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(replacements, func(a, b code.Replacement) int { return cmp.Compare(a.Slot, b.Slot) })
	return replacements, nil
}

// slotsWithout returns the slots of a section that are left without some instructions.
func slotsWithout(section *bpf.Section, removed map[bpf.Place]bool) (left []int) {
	for slot, end := 0, 0; slot < section.Slots(); slot = end {
		ins := section.Read(slot)
		end = slot + ins.Slots()
		if removed[bpf.Place{Section: section.Name, Slot: slot}] {
			continue
		}
		for ; slot < end; slot++ {
			left = append(left, slot)
		}
	}
	return left
}

// tellMarker returns the edits that are of accesses of the program's own, and of what it
// calls md_desc(ctx).
func tellMarker(edits []Edit) []Edit {
	if !slices.ContainsFunc(edits, func(edit Edit) bool { return edit.Access.IsMarker() }) {
		return edits
	}
	told := slices.DeleteFunc(slices.Clone(edits), func(edit Edit) bool { return edit.Access.IsMarker() && edit.body == nil })
	for i := range told {
		if told[i].Access.IsMarker() {
			named := *told[i].Access
			nameMarker(&named)
			told[i].Access = &named
		}
	}
	return told
}

// nameMarker gives an access to the marker the name of what the program says there.
func nameMarker(access *reloc.Access) {
	if access.IsMarker() {
		access.Root, access.Path = "struct "+reloc.Descriptor, "md_desc(ctx)"
	}
}

// marker is the source of what is left of a question about the source.
type marker struct{ area }

func (marker) resolve(_ *planner, access *reloc.Access) (*reloc.Resolution, error) {
	resolution := &reloc.Resolution{Missing: "the descriptor comes from the metadata area, and not from the driver"}
	resolution.Poison = access.Kind != reloc.TypeExists
	return resolution, nil
}

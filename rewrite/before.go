package rewrite

import (
	"cmp"
	"errors"
	"slices"
	"sort"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/reloc"
)

// Once code was copied or taken out, the object is planned for as if it had always
// been like that. What is told of it, edits and refusals, is of the object as it was.

// recordKey tells the records of a slot apart, which are few.
type recordKey struct {
	at         bpf.Place
	kind       reloc.Kind
	root, path string
}

func keyAt(access *reloc.Access, slot int) recordKey {
	return recordKey{bpf.Place{Section: access.Section, Slot: slot}, access.Kind, access.Root, access.Path}
}

// remember keeps the accesses as they are.
func (r *rewriting) remember() {
	accesses := r.recorded.Accesses
	r.before, r.oldSlots = make(map[recordKey]*reloc.Access, len(accesses)), make(map[string][]int)
	for i := range accesses {
		access := &accesses[i]
		r.before[keyAt(access, access.Insn)] = access
	}
}

// rememberStarts keeps where the functions of a section start.
func (r *rewriting) rememberStarts(section string) {
	starts := slices.Clone(r.model.Section(section).Starts())
	if old := r.oldSlots[section]; old != nil {
		for i, start := range starts {
			starts[i] = old[start]
		}
	}
	if r.oldStarts == nil {
		r.oldStarts = make(map[string][]int)
	}
	r.oldStarts[section] = starts
}

// readAgain reads an object that has changed, given by section and slot which slot of
// the code before each was.
func (r *rewriting) readAgain(slots map[string][]int) error {
	if r.before == nil {
		r.remember() // what was read before, which is still about the object as it was
	}
	for section, old := range slots {
		if first, ok := r.oldSlots[section]; ok {
			for i, slot := range old {
				old[i] = first[slot]
			}
		}
		r.oldSlots[section] = old
	}
	return r.read(r.object.Bytes())
}

// tellBefore makes edits and refusals tell of the object as it was before code
// was copied or taken out.
func (r *rewriting) tellBefore(err error) {
	if r.before == nil {
		return
	}
	r.edits = r.editsBefore(r.edits)
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return
	}
	refused.OtherSource = r.otherSource
	told := make(map[int]bool)
	var refusals []Refusal
	for _, refusal := range refused.Refusals {
		refusal.Access = *r.accessBefore(&refusal.Access)
		isCopy := func(other Refusal) bool {
			return other.Access.Record == refusal.Access.Record && other.Access.Section == refusal.Access.Section && other.Access.Insn == refusal.Access.Insn
		}
		if !slices.ContainsFunc(refusals, isCopy) {
			refusals = append(refusals, refusal)
			told[refusal.Access.Record] = true
		}
	}
	refused.Refusals = refusals
	refused.Edits = slices.DeleteFunc(r.editsBefore(refused.Edits), func(edit Edit) bool { return told[edit.Access.Record] })
	for i := range refused.Edits { // which are in no object
		refused.Edits[i].Position, refused.Edits[i].Copies = 0, nil
		for n := range refused.Edits[i].Others {
			refused.Edits[i].Others[n].Copies = nil
		}
	}
}

// editsBefore returns edits of the accesses as they were. Copies of an access
// have one together, unless they have become different things.
func (r *rewriting) editsBefore(edits []Edit) []Edit {
	slices.SortStableFunc(edits, func(a, b Edit) int {
		return cmp.Compare(r.accessBefore(a.Access).Record, r.accessBefore(b.Access).Record)
	})
	var merged []Edit
	for _, edit := range edits {
		if old := r.oldSlots[edit.Access.Section]; old != nil {
			for n := range edit.Others {
				edit.Others[n].Insn = old[edit.Others[n].Insn]
			}
		}
		edit.Access = r.accessBefore(edit.Access)
		if original := originalOf(&edit, merged); original != nil {
			original.Copies = append(original.Copies, edit.Position)
			original.Guarded = original.Guarded && edit.Guarded
			original.Others = append(original.Others, edit.Others...)
		} else {
			merged = append(merged, edit)
		}
	}
	for i := range merged {
		merged[i].Others = withoutCopies(merged[i].Others)
	}
	return merged
}

// originalOf returns the edit, of those that end with the ones of the same
// access, that one is a copy of, or nil.
func originalOf(edit *Edit, edits []Edit) *Edit {
	for i := len(edits) - 1; i >= 0 && edits[i].Access.Record == edit.Access.Record; i-- {
		if slices.Equal(edits[i].After, edit.After) && edits[i].Note == edit.Note && edits[i].Driver == edit.Driver {
			return &edits[i]
		}
	}
	return nil
}

// withoutCopies makes one of the patches that are copies of each other.
func withoutCopies(patches []Patch) []Patch {
	var kept []Patch
	for _, patch := range patches {
		same := func(p Patch) bool { return p.Insn == patch.Insn && slices.Equal(p.After, patch.After) }
		if i := slices.IndexFunc(kept, same); i >= 0 {
			kept[i].Copies = append(kept[i].Copies, patch.Position)
		} else {
			kept = append(kept, patch)
		}
	}
	return kept
}

// accessBefore returns the access that one is, or is a copy of.
func (r *rewriting) accessBefore(access *reloc.Access) *reloc.Access {
	if r.before == nil {
		return access
	}
	slot, start := access.Insn, access.FunctionStart
	if old := r.oldSlots[access.Section]; old != nil {
		slot, start = old[slot], old[start]
	}
	if access.Record < 0 { // see Refusal.Unrecorded
		before := *access
		before.Insn, before.FunctionStart = slot, start
		if starts := r.oldStarts[access.Section]; starts != nil {
			before.FunctionStart = starts[sort.SearchInts(starts, start+1)-1]
		}
		return &before
	}
	return r.before[keyAt(access, slot)]
}

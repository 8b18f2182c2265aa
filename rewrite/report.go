package rewrite

import (
	"iter"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// Report says what was done to an object.
type Report struct {
	// Layout is what messages call the layout, and Driver the driver that the fields come
	// from, or several, one for each kind of program: one of them is empty.
	Layout string `json:"layout,omitempty"`
	Driver string `json:"driver,omitempty"`

	// Lowering says how the kernel's memory is loaded, for a driver.
	Lowering string `json:"lowering,omitempty"`

	Edits []Edit `json:"edits"`

	// Rewritten is set if the object, or a part of it, had been rewritten for this
	// layout already. Edits are of what was not.
	Rewritten bool `json:"rewritten,omitempty"`

	// Unaccessed are the descriptor's structs in the object's BTF, such as "struct
	// md_desc", of which no access to a field is recorded, though there are perhaps
	// some: the structs lack preserve_access_index, or something else has taken the
	// records. If there are accesses to one of them, only flavours are listed.
	Unaccessed []string `json:"unaccessed,omitempty"`

	// OtherSource are the records of accesses in code that is only for descriptors of
	// the driver's, as compilers copy what follows md_desc(ctx): it is taken out.
	OtherSource []int `json:"otherSource,omitempty"`
}

// NothingToFit reports whether the object has a descriptor, but nothing that the
// layout says anything of.
func (r *Report) NothingToFit() bool {
	return len(r.Edits) == 0 && !r.Rewritten && len(r.Unaccessed) > 0
}

// Of returns the report of some functions alone.
func (r *Report) Of(isOf func(function string) bool) *Report {
	report := *r
	report.Edits = slices.DeleteFunc(slices.Clone(r.Edits), func(edit Edit) bool { return !isOf(edit.Access.Program) })
	return &report
}

// Edit is what became of one access.
type Edit struct {
	Access     *reloc.Access     `json:"access"`     // several edits may point at one
	Resolution *reloc.Resolution `json:"resolution"` // and at one of these
	Before     Instructions      `json:"before"`
	After      Instructions      `json:"after"`

	// Others are further instructions that have to change for this access:
	// loads and stores through an address that it makes.
	Others []Patch `json:"others,omitempty"`

	// Position is the slot of the first of After, counted from the start of the
	// function in the rewritten object.
	Position int `json:"position"`

	// Copies are where After is once more, counted as Position: code is copied
	// to keep paths apart that need different instructions further on.
	Copies []int `json:"copies,omitempty"`

	// Poisoned is set if the layout has no such field: the access is replaced by
	// instructions that the verifier refuses where they can be reached.
	Poisoned bool `json:"poisoned,omitempty"`

	// Guarded is set for a poisoned access that the program can't reach with this
	// layout. Of others only the verifier knows.
	Guarded bool `json:"guarded,omitempty"`

	// Own says where the copy of the program's own is that is accessed: "stack", "map
	// value", "data", "ring buffer", "heap" or "user space". It is laid out as the program declares
	// it, which is what Resolution tells. It is empty for the
	// descriptor.
	Own string `json:"own,omitempty"`

	// Driver is set if code reads the descriptor or the field of what a driver keeps of
	// the packet, and From says where it has the field from.
	Driver string `json:"driver,omitempty"`
	From   string `json:"from,omitempty"`

	// Kfunc is the metadata kfunc that is asked for the field, if one is: the program has to
	// be bound to the device.
	Kfunc string `json:"kfunc,omitempty"`

	// Exact is set if the layout keeps what is accessed just as the program was
	// compiled for: nothing is changed, and nothing is read in another way.
	Exact bool `json:"exact,omitempty"`

	// Note says what the edit means where that is not plain from the
	// instructions, such as that a store truncates.
	Note string `json:"note,omitempty"`

	body *body // that stands in After, if one does
}

// At reports whether a slot of the rewritten object, counted as Position, is one
// of After, or of what Others put there.
func (e *Edit) At(slot int) bool {
	for patch := range e.patches() {
		within := func(start int) bool { return start <= slot && slot < start+patch.After.Slots() }
		if within(patch.Position) || slices.ContainsFunc(patch.Copies, within) {
			return true
		}
	}
	return false
}

// Patch is a change to one instruction.
type Patch struct {
	Insn   int          `json:"insn"` // slot in the section, as in reloc.Access
	Before Instructions `json:"before"`
	After  Instructions `json:"after"`

	// Position and Copies are as those of an edit.
	Position int   `json:"position"`
	Copies   []int `json:"copies,omitempty"`

	body *body // that stands in After, if one does
}

// removal takes an instruction out.
func removal(slot int, ins asm.Instruction) Patch {
	return Patch{Insn: slot, Before: instructions(ins), After: Instructions{}}
}

func (p *Patch) changes() bool { return !slices.Equal(p.Before, p.After) }

// Changed reports whether the edit changes the object.
func (e *Edit) Changed() bool {
	for patch := range e.patches() {
		if patch.changes() {
			return true
		}
	}
	return false
}

// patches returns the changes to the access's own instruction and to others.
func (e *Edit) patches() iter.Seq[Patch] {
	return func(yield func(Patch) bool) {
		if !yield(Patch{e.Access.Insn, e.Before, e.After, e.Position, e.Copies, e.body}) {
			return
		}
		for _, patch := range e.Others {
			if !yield(patch) {
				return
			}
		}
	}
}

// becomes returns what the edit makes of the instruction at a slot, nil if it leaves it.
func (e *Edit) becomes(slot int) Instructions {
	for patch := range e.patches() {
		if patch.Insn == slot {
			return patch.After
		}
	}
	return nil
}

// Poisoned returns the edits that poison an access.
func (r *Report) Poisoned() []Edit {
	var poisoned []Edit
	for _, edit := range r.Edits {
		if edit.Poisoned {
			poisoned = append(poisoned, edit)
		}
	}
	return poisoned
}

// AsksKfuncs reports whether a program has to be bound to a device, as a metadata kfunc is
// asked for a field.
func (r *Report) AsksKfuncs() bool {
	return slices.ContainsFunc(r.Edits, func(e Edit) bool { return e.Kfunc != "" })
}

// Exact reports whether the program was compiled for exactly this layout, as far
// as it accesses it.
func (r *Report) Exact() bool {
	return !r.NothingToFit() && !slices.ContainsFunc(r.Edits, func(e Edit) bool { return !e.Exact })
}

// slotsOf returns how many slots the instructions take that patches change.
func slotsOf(patches []Patch) int {
	slots := 0
	for _, patch := range patches {
		slots += patch.Before.Slots()
	}
	return slots
}

package rewrite

import (
	"cmp"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// uses are the loads and stores of a function whose address is made with
// recorded offsets.
type uses struct {
	*reached
	origins *flow.Origins
	patches map[int]*agreed // by slot of the load or store

	// disputed are those that can't become one thing for all the offsets.
	disputed []flow.Dereference
}

// reached is what flow.Origins says, by the slot of the offset.
type reached struct {
	dereferences map[int][]flow.Dereference
	escapes      map[int][]flow.Escape
}

func reachedFrom(origins *flow.Origins) *reached {
	r := &reached{make(map[int][]flow.Dereference), make(map[int][]flow.Escape)}
	for _, access := range origins.Dereferences {
		for i, origin := range access.Origins {
			// An offset that comes with several distances is there more than once.
			if i == 0 || origin.Slot != access.Origins[i-1].Slot {
				r.dereferences[origin.Slot] = append(r.dereferences[origin.Slot], access)
			}
		}
	}
	for _, escape := range origins.Escapes {
		r.escapes[escape.Origin] = append(r.escapes[escape.Origin], escape)
	}
	return r
}

// passesOn reports whether an address made with an offset gets out of sight. A
// bit-field macro shifts what is in the register of the offset, where no width fits:
// that does not count.
func (r *reached) passesOn(slot int) bool {
	return slices.ContainsFunc(r.escapes[slot], func(e flow.Escape) bool { return e.Address && e.Use != flow.Computed })
}

// agreed is what becomes of a load or store: the same for each of the offsets
// that it may be reached with.
type agreed struct {
	before, after Instructions
	body          *body             // that stands in after, if one does
	through       map[int]*adjusted // by the slot of the offset
	errs          map[int]error     // the same, where that can't be said
	err           error             // for all of them
}

// usesOf returns the uses of the recorded offsets in the function of an access.
func (p *planner) usesOf(access *reloc.Access) (*uses, error) {
	fn := p.function(access)
	if fn.uses != nil {
		return fn.uses, nil
	}
	constants, ok := p.constantsAt(access)
	if !ok {
		if fn.Err == nil {
			return nil, refuse.Because(refuse.Symbols, "its offset is kept in a register, and no symbol says where the function starts")
		}
		return nil, refuse.Because(remedyRegister, "its offset is kept in a register, and the function is not understood: %v", fn.Err)
	}
	fn.uses = &uses{patches: make(map[int]*agreed)}
	if constants != nil { // the function is called
		fn.uses.origins = constants.Origins(fn.offsetSlots())
		fn.uses.reached = reachedFrom(fn.uses.origins)
	}
	return fn.uses, nil
}

const remedyRegister = "read the field into a variable of its own type, before choosing between fields"

// patch adds to an edit what has to change in the loads and stores that its
// offset is used for.
func (u *uses) patch(p *planner, edit *Edit) error {
	if u.reached == nil {
		return nil
	}
	if err := p.checkEscapes(u, edit); err != nil {
		return err
	}
	var refused error // all uses are looked at, so that paths are kept apart for all of them at once
	for _, use := range u.dereferences[edit.Access.Insn] {
		patch := u.agree(p, edit.Access, use)
		through := patch.through[edit.Access.Insn]
		if err := cmp.Or(patch.errs[edit.Access.Insn], patch.err); err != nil {
			refused = cmp.Or(refused, err)
			continue
		}
		if through == nil {
			continue
		}
		if err := p.checkGuard(edit.Access, use.Slot, through.end); err != nil {
			refused = cmp.Or(refused, err)
			continue
		}
		if !slices.Equal(patch.before, patch.after) {
			edit.Others = append(edit.Others, Patch{Insn: use.Slot, Before: patch.before, After: patch.after, body: patch.body})
		}
		if edit.Note == "" {
			edit.Note = through.note
		}
	}
	return refused
}

// checkEscapes refuses an address that gets out of sight, unless all that can be
// done with it is right for the layout's field too.
func (p *planner) checkEscapes(u *uses, edit *Edit) error {
	local, target := edit.Access.Local.Field, edit.Resolution.Field
	if _, same := p.distance(local, target); same && p.bodyOf(edit.Access) == nil {
		return nil
	}
	for _, escape := range u.escapes[edit.Access.Insn] {
		if !escape.Address {
			continue
		}
		if p.bodyOf(edit.Access) != nil {
			return refuse.Because("use the field's value instead of its address", "its address is %s, and what the driver keeps has none for it", escape.Use)
		}
		return refuse.Because("use the field's value instead of its address, or "+refuse.SameType,
			"its address is %s, where nothing tells what reads %s that the layout keeps as %s", escape.Use, local, inLayout(local, target))
	}
	return nil
}

// inLayout spells a field of the layout that differs from the program's.
func inLayout(local, target *reloc.Field) string {
	if target.Type == local.Type && target.Class == reloc.Aggregate {
		return target.String() + " with other members"
	}
	return target.String()
}

// agree works out what becomes of a load or store for each of the offsets that
// it may be reached with. They have to agree, as long as the code is not copied
// to keep them apart.
func (u *uses) agree(p *planner, access *reloc.Access, use flow.Dereference) *agreed {
	if patch, ok := u.patches[use.Slot]; ok {
		return patch
	}
	patch := &agreed{through: make(map[int]*adjusted), errs: make(map[int]error)}
	u.patches[use.Slot] = patch
	before, err := p.section(access.Section).Instruction(use.Slot)
	if err != nil {
		patch.err = refuse.Because(refuse.Recompile, "instruction %d: %v", use.Slot, err)
		return patch
	}
	patch.before = instructions(before)
	if p.accessesOf(access).apart[use.Slot] || !p.isOwn(access) && p.isOwnUse(access, use.Slot) {
		patch.after = patch.before // the offset is the same for both, or the access is refused
		return patch
	}

	changed, differ, offsets := false, false, p.accessesOf(access).offsets
	for _, origin := range use.Origins {
		q := offsets[origin.Slot]
		through, err := p.throughOffset(q, origin, before, use.Slot)
		if err == nil && through != nil && use.Indexed {
			err = p.checkIndexed(q, before)
		}
		if err != nil {
			patch.errs[origin.Slot], differ = err, true
			continue
		}
		if through == nil {
			continue
		}
		body := p.bodyOf(q.access)
		differ = differ || patch.after != nil && (!slices.Equal(through.after, patch.after) || body != patch.body)
		patch.after, patch.body = through.after, body
		if other := patch.through[origin.Slot]; other != nil { // at another distance
			through.end = max(through.end, other.end)
		}
		patch.through[origin.Slot] = through
		changed = changed || !slices.Equal(patch.before, patch.after)
	}
	if (differ || changed && use.Mixed) && (len(use.Origins) > 1 || use.Mixed) {
		u.disputed = append(u.disputed, use)
	}
	switch {
	case differ:
		patch.err = refuse.Because(remedyRegister, "the instruction %q is shared by several fields, which the layout keeps in different ways", insn.Spell(before))
	case changed && use.Mixed:
		patch.err = refuse.Because(remedyRegister, "the instruction %q also accesses what is no field of it", insn.Spell(before))
	case patch.after == nil:
		patch.after = patch.before
	}
	return patch
}

// isOwnUse reports whether a load or store in the function of an access is one of memory
// of the program's own.
func (p *planner) isOwnUse(access *reloc.Access, slot int) bool {
	sub := p.analyze().subs[functionPlace(access)]
	if sub == nil {
		return false
	}
	pointees, _ := p.program.pointers.Address(sub, slot)
	return regionsOf(pointees).allOwn()
}

// checkIndexed refuses a load or store at an index into a field that is not
// constant, unless all that it can reach is the same in the layout. What is beside a
// number is another field, which the layout has elsewhere.
func (p *planner) checkIndexed(q resolvedAccess, ins asm.Instruction) error {
	local, target := q.access.Local.Field, q.resolution.Field
	if !isElementwise(local) || p.bodyOf(q.access) != nil {
		return refuse.Because("use a constant index, or declare an array", "the instruction %q accesses %s at an index that is not constant, and what is beside it is something else in the layout", insn.Spell(ins), local)
	}
	if _, same := p.distance(local, target); same || reloc.SameElements(local, target, p.order) {
		return nil
	}
	return refuse.Because("use a constant index", "the instruction %q accesses %s at an index that is not constant, and the layout has %s", insn.Spell(ins), local, inLayout(local, target))
}

// adjusted is what a load or store becomes for one of the offsets that it may be
// reached with, and where in the root type it ends then.
type adjusted struct {
	after Instructions
	note  string
	end   int64
}

// throughOffset returns what a load or store through an offset becomes; nil if
// that does not matter, as it is never reached that way.
func (p *planner) throughOffset(q resolvedAccess, origin flow.Origin, ins asm.Instruction, slot int) (*adjusted, error) {
	if q.resolution.Poison {
		return nil, nil
	}
	local, target := q.access.Local.Field, q.resolution.Field
	if p.isMacro(q.access) {
		return &adjusted{after: instructions(ins), end: int64(target.Offset + target.Size)}, nil
	}
	if origin.Delta < 0 || origin.Delta+int64(insn.Bytes(ins)) > int64(local.Size) && !local.IsBitField() {
		return nil, refuse.Because(refuse.Report, "the instruction %q accesses bytes %d to %d of the field %s, which has %d",
			insn.Spell(ins), origin.Delta, origin.Delta+int64(insn.Bytes(ins))-1, local, local.Size)
	}
	// The offset within the root type that the instruction accesses, before and
	// after the offset in the register changes.
	before := p.accessesOf(q.access).present[q.access.Insn] + origin.Delta
	after := int64(p.offsetFor(q.access, q.resolution)) + origin.Delta
	if p.bodyOf(q.access) != nil {
		load := loadAt{ins, slot, after - int64(ins.Offset)}
		if q.access.IsMarker() {
			found, err := findDescriptor(p, p.bodyOf(q.access), q.access, load)
			return &adjusted{after: found}, err
		}
		computed, note, err := p.accessorOf(q.access, q.resolution).computed(p, q.access, load, before)
		return &adjusted{after: computed, note: note}, err
	}
	if _, same := p.distance(local, target); same {
		return &adjusted{after: instructions(ins), end: after + int64(insn.Bytes(ins))}, nil
	}
	converted, note, err := p.converted(q, ins, before, slot)
	if err != nil {
		return nil, err
	}
	end := accessEnd(converted)
	return &adjusted{rebased(converted, int64(ins.Offset)-after), note, end}, nil
}

// rebased moves the loads and stores of a sequence, which address the root
// type from its start, to where a register points instead.
func rebased(insns Instructions, by int64) Instructions {
	for i := range insns {
		if insns[i].Kind == insn.Field {
			insns[i].Offset = int16(int64(insns[i].Offset) + by)
		}
	}
	return insns
}

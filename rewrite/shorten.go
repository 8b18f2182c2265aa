package rewrite

import (
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// Edits that are right on their own can be shorter together with the code around them:
// what the program does with a number that it has loaded, or before it stores one, need
// not be undone and done again.

// shorten makes edits shorter, or possible, where instructions around them can go. It
// looks at finished edits, in the order of the object, and leaves alone what another one
// changes. Without it all edits are right, and some accesses are refused that need more
// registers, or more bytes, on their own.
func (p *planner) shorten(plans []accessPlan) {
	s := &shortening{planner: p, plans: plans}
	for i := range plans {
		s.note(&plans[i], 1)
	}
	for i := range plans {
		switch plan := &plans[i]; {
		case plan.refused != nil || p.stays(plan.Access) || plan.isAssigned:
		case plan.converts:
			s.shortenConversion(plan)
		case p.isFoldable(plan.Edit):
			s.change(plan, func() { p.foldOffset(plan.Edit) })
		}
	}
}

// shortening is the pass over the plans for an object.
type shortening struct {
	*planner
	plans    []accessPlan
	byRecord map[int]*accessPlan // nil until somebody asks, see planOf
}

// planOf returns the plan for an access.
func (s *shortening) planOf(access *reloc.Access) *accessPlan {
	if s.byRecord == nil {
		s.byRecord = make(map[int]*accessPlan, len(s.plans))
		for i := range s.plans {
			s.byRecord[s.plans[i].Access.Record] = &s.plans[i]
		}
	}
	return s.byRecord[access.Record]
}

// change lets a function change a plan, and notes what it changes of the object then.
func (s *shortening) change(plan *accessPlan, by func()) {
	s.note(plan, -1)
	by()
	s.note(plan, 1)
}

// note counts what a plan changes of the object.
func (s *shortening) note(plan *accessPlan, by int32) {
	if plan.refused != nil || plan.unconverted != nil {
		return
	}
	section := s.section(plan.Access.Section)
	for patch := range plan.patches() {
		section.patched[patch.Insn] += by
	}
}

// shortenConversion shortens what a load or store has become.
func (s *shortening) shortenConversion(plan *accessPlan) {
	if s.assignBits(plan) || plan.unconverted != nil || isCopy(resolvedAccess{plan.Access, plan.Resolution}) {
		return
	}
	s.change(plan, func() {
		switch before := plan.Before[0].Instruction; before.OpCode.Class() {
		case asm.StXClass:
			s.storeConstantAlone(plan.Edit, before)
			s.storeChoice(plan.Edit, before)
		case asm.LdXClass:
			s.loadWhole(plan.Edit, before)
		}
	})
}

// isFoldable reports whether an edit is one of an offset in a register that may go.
func (p *planner) isFoldable(edit *Edit) bool {
	return edit.Access.Kind == reloc.ByteOffset && !edit.Resolution.Poison && isImmediate(edit.Before[0].Instruction) && !p.isMacro(edit.Access) && p.bodyOf(edit.Access) == nil
}

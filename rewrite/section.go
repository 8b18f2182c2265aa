package rewrite

import (
	"slices"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// section is what planning knows of one section with code.
type section struct {
	*bpf.Section

	recorded insn.Slots          // slots that have a record, ours or not, after which they may change
	accessed insn.Slots          // those that are for a field, ours or not, or for the size of the descriptor
	theirs   map[int]string      // what records are about that are left to the loader, by slot
	left     insn.Slots          // the slots of those
	answers  map[int]int64       // of the layout, by slot, to what is no question for an offset
	sizes    map[int]bool        // slots that hold a size of the descriptor
	others   map[int]bool        // and those that hold one of a struct in it
	loads    map[int]flow.Region // what loads lead to, by slot, where a record tells
	patched  []int32             // how many edits change a slot, as far as they are planned
	planned  []*Edit             // which settles what it becomes, by slot
}

// section returns the section of a name.
func (p *planner) section(name string) *section {
	s, ok := p.sections[name]
	if !ok {
		s = &section{
			Section: p.object.Section(name),
			theirs:  make(map[int]string),
			answers: make(map[int]int64),
			sizes:   make(map[int]bool),
			others:  make(map[int]bool),
			loads:   make(map[int]flow.Region),
		}
		if s.Section.Section != nil {
			s.patched, s.planned = make([]int32, s.Slots()), make([]*Edit, s.Slots())
		}
		p.sections[name] = s
	}
	return s
}

// undecided returns the slots with a record whose value is not known.
func (s *section) undecided() insn.Slots {
	slots := slices.Clone(s.recorded)
	for slot := range s.answers {
		slots.Remove(slot)
	}
	return slots
}

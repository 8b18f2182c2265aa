package code

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Detours are copies of stretches of a function's code, and the ways that lead
// to them. They come to lie behind the function's last instruction.
type Detours struct {
	Section string
	Last    int            // slot of the function's last instruction
	Copies  []Stretch      // of its code
	Exits   map[int][]Exit // by the slot of an instruction that stays: where it leads now
}

// Stretch is code that is only entered at its start and only left at its end: a
// basic block, or the start of one. The copy of a start goes on in the middle of
// the original, which does what the rest of a copy would do.
type Stretch struct {
	From, To int // slots, the end exclusive
	Exits    []Exit
}

// Exit is where an instruction leads: one that runs on has that first, a jump
// has its target last.
type Exit struct {
	Slot int // in the section as it was; if negative, the start of a copy
	Copy int // its index
}

// Split makes detours, of one function each. ext is that of the object's
// .BTF.ext, and brought up to date as by Replace, of which the errors are.
//
// A gotox can't lead to a copy, only the tables of all copies together could.
//
// It returns, by section and slot of the new code, which slot of the old code it
// is, or is a copy of.
func Split(obj *elfobj.Object, ext *btfraw.Ext, detours []Detours) (map[string][]int, error) {
	splitters := make(map[string]*splitter)
	for _, d := range detours {
		if splitters[d.Section] == nil {
			splitters[d.Section] = newSplitter(obj, obj.Section(d.Section))
		}
		if err := splitters[d.Section].add(&d); err != nil {
			return nil, err
		}
	}
	replacements, origins := make(map[string][]Replacement), make(map[string][]int)
	for name, s := range splitters {
		replacements[name], origins[name] = s.replacements(), s.origins()
	}
	if err := Replace(obj, ext, replacements); err != nil {
		return nil, err
	}
	return origins, nil
}

// splitter collects the replacements of a section.
type splitter struct {
	code      []byte
	order     binary.ByteOrder
	relocated map[int]bool // slots
	bySlot    map[int]*replaced
}

// replaced is a replacement that starts with what was there.
type replaced struct {
	Replacement
	origins []int // by slot of Code: the old one
}

func newSplitter(obj *elfobj.Object, section *elfobj.Section) *splitter {
	s := &splitter{section.Data, obj.Order, make(map[int]bool), make(map[int]*replaced)}
	for rel := range obj.Rels(obj.Relocations(section)) {
		s.relocated[int(rel.Offset/insn.SlotSize)] = true
	}
	return s
}

func (s *splitter) raw(slot int) []byte { return s.code[slot*insn.SlotSize:][:insn.SlotSize] }

func (s *splitter) read(slot int) insn.Instruction { return insn.Read(s.raw(slot), s.order) }

// end describes the last instruction of a stretch.
type end struct{ jumps, runsOn bool }

func (s *splitter) end(slot int) end {
	ins := s.read(slot)
	return end{ins.Jumps() && !ins.IsGotox(), ins.FallsThrough()}
}

// at returns the replacement of an instruction, which at first is the
// instruction itself.
func (s *splitter) at(slot int) *replaced {
	if s.bySlot[slot] != nil {
		return s.bySlot[slot]
	}
	r := &replaced{Replacement{Slot: slot}, nil}
	s.bySlot[slot] = r
	r.append(s.raw(slot), slot)
	ins := s.read(slot)
	if ins.Slots() == 2 {
		r.append(s.raw(slot+1), slot+1)
	}
	if distance, field, err := ins.Distance(); err == nil && field != insn.NoDistance && !s.relocated[slot] {
		r.Jumps = []Jump{{At: 0, Target: slot + 1 + distance}}
	}
	return r
}

func (r *replaced) append(raw []byte, origin int) {
	r.Code = append(r.Code, raw...)
	r.origins = append(r.origins, origin)
}

// add makes the detours of a function.
func (s *splitter) add(d *Detours) error {
	last := s.at(d.Last)
	starts := s.starts(d, len(last.origins))
	jump := func(at int, to Exit) Jump {
		if to.Slot >= 0 {
			return Jump{At: at, Target: to.Slot}
		}
		return Jump{At: at, Target: d.Last, Into: starts[to.Copy]}
	}
	for i := range d.Copies {
		if err := s.checkExits(s.lastOf(&d.Copies[i]), d.Copies[i].Exits); err != nil {
			return err
		}
		s.copy(last, d, i, jump)
	}
	for _, slot := range slices.Sorted(maps.Keys(d.Exits)) {
		exits, end, r := d.Exits[slot], s.end(slot), s.at(slot)
		if err := s.checkExits(slot, exits); err != nil {
			return err
		}
		if end.jumps && len(r.Jumps) == 0 {
			return fmt.Errorf("instruction %d: a relocation says where it jumps", slot)
		}
		if end.jumps {
			r.Jumps[0] = jump(0, exits[len(exits)-1])
		}
		if end.runsOn && exits[0].Slot < 0 {
			r.Jumps = append(r.Jumps, jump(len(r.origins), exits[0]))
			r.append(gotoAnywhere, slot)
		}
	}
	return nil
}

// checkExits wants no exit of a gotox to be a copy.
func (s *splitter) checkExits(slot int, exits []Exit) error {
	if ins := s.read(slot); ins.IsGotox() && slices.ContainsFunc(exits, func(e Exit) bool { return e.Slot < 0 }) {
		return fmt.Errorf("instruction %d: gotox to a copy", slot)
	}
	return nil
}

// gotoAnywhere is a jump whose distance is set later.
var gotoAnywhere = []byte{insn.ClassJMP | insn.OpJA, 0, 0, 0, 0, 0, 0, 0}

// starts returns where each copy starts, given where the first does.
func (s *splitter) starts(d *Detours, at int) []int {
	starts := make([]int, len(d.Copies))
	for i := range d.Copies {
		starts[i] = at
		at += s.bodyEnd(d, i) - d.Copies[i].From
		if s.leavesByGoto(d, i) {
			at++
		}
	}
	return starts
}

// leavesByGoto reports whether a copy runs on to something else than the next.
func (s *splitter) leavesByGoto(d *Detours, i int) bool {
	return s.end(s.lastOf(&d.Copies[i])).runsOn && !leadsToNext(d, i)
}

func leadsToNext(d *Detours, i int) bool {
	exits := d.Copies[i].Exits
	return len(exits) > 0 && exits[0] == Exit{Slot: -1, Copy: i + 1}
}

// bodyEnd returns where what is copied ends: a goto to the next copy is not.
func (s *splitter) bodyEnd(d *Detours, i int) int {
	stretch := &d.Copies[i]
	last := s.lastOf(stretch)
	if end := s.end(last); end.jumps && !end.runsOn && leadsToNext(d, i) {
		return last
	}
	return stretch.To
}

// lastOf returns the slot of the last instruction of a stretch.
func (s *splitter) lastOf(stretch *Stretch) int {
	last := s.read(stretch.To - 1)
	if last.IsSecondHalf() {
		return stretch.To - 2
	}
	return stretch.To - 1
}

// copy appends a copy to the replacement of the function's last instruction.
func (s *splitter) copy(last *replaced, d *Detours, i int, jump func(int, Exit) Jump) {
	stretch := &d.Copies[i]
	end := s.lastOf(stretch)
	for slot := stretch.From; slot < s.bodyEnd(d, i); slot++ {
		if ins := s.read(slot); !ins.IsSecondHalf() {
			last.Copies = append(last.Copies, Copy{len(last.origins), slot})
		}
		if slot == end && s.end(end).jumps {
			last.Jumps = append(last.Jumps, jump(len(last.origins), stretch.Exits[len(stretch.Exits)-1]))
		}
		last.append(s.raw(slot), slot)
	}
	if s.leavesByGoto(d, i) {
		last.Jumps = append(last.Jumps, jump(len(last.origins), stretch.Exits[0]))
		last.append(gotoAnywhere, end)
	}
}

// replacements returns what was collected, by slot.
func (s *splitter) replacements() []Replacement {
	var list []Replacement
	for _, slot := range slices.Sorted(maps.Keys(s.bySlot)) {
		list = append(list, s.bySlot[slot].Replacement)
	}
	return list
}

// origins returns the old slot by the new one.
func (s *splitter) origins() []int {
	origins := make([]int, 0, len(s.code)/insn.SlotSize)
	for slot := 0; slot < len(s.code)/insn.SlotSize; slot++ {
		r := s.bySlot[slot]
		if r == nil {
			origins = append(origins, slot)
			continue
		}
		origins = append(origins, r.origins...)
		if ins := s.read(slot); ins.Slots() == 2 {
			slot++ // the second half is in the replacement
		}
	}
	return origins
}

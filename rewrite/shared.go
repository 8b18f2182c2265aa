package rewrite

import (
	"maps"
	"slices"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/link"
)

// A static function that XDP programs and TC programs come to reads its descriptors from
// two places. TC programs get a copy of it, if it is in .text, where all loaders look for
// such functions.

// copyShared copies the functions that programs of both kinds come to and that lead to an
// access.
func (r *rewriting) copyShared() error {
	shared := r.shared()
	if len(shared) == 0 {
		return nil
	}
	places := make([]link.Place, len(shared))
	for n, at := range shared {
		places[n] = link.Place{Section: at.Section, Start: uint64(at.Slot) * insn.SlotSize}
	}
	slots := r.slotsWithCopies(shared)
	references, err := link.Copy(r.object, r.ext, places)
	if err != nil {
		return err
	}
	if err := r.readAgain(slots); err != nil {
		return err
	}
	copies := make(map[bpf.Place]code.Relocation, len(shared))
	for n, at := range shared {
		copies[at] = references[n]
	}
	return r.callCopies(copies)
}

const textSection = ".text"

// shared returns the functions to be copied.
func (r *rewriting) shared() []bpf.Place {
	reads := make(map[bpf.Place]bool)
	for i := range r.accesses {
		reads[functionPlace(&r.accesses[i])] = true
	}
	var shared []bpf.Place
	for _, at := range slices.SortedFunc(maps.Keys(r.drivers.contexts), comparePlaces) {
		fn := r.model.Function(at)
		if at.Section == textSection && len(r.drivers.contexts[at]) > 1 && !fn.IsEntered() && r.leadsTo(fn, reads, make(map[bpf.Place]bool)) {
			shared = append(shared, at)
		}
	}
	return shared
}

// leadsTo reports whether a function, or what it refers to, is one of some.
func (r *rewriting) leadsTo(fn *bpf.Function, some, seen map[bpf.Place]bool) bool {
	if some[fn.Place()] {
		return true
	}
	seen[fn.Place()] = true
	for _, callee := range fn.References() {
		if !seen[callee] && r.model.IsFunction(callee) && r.leadsTo(r.model.Function(callee), some, seen) {
			return true
		}
	}
	return false
}

// slotsWithCopies returns which slot of the code before each of .text is, once copies
// stand behind the others.
func (r *rewriting) slotsWithCopies(shared []bpf.Place) map[string][]int {
	section := r.model.Section(textSection)
	slots := make([]int, section.Slots())
	for slot := range slots {
		slots[slot] = slot
	}
	for _, at := range shared {
		for slot := at.Slot; slot < r.model.Function(at).End; slot++ {
			slots = append(slots, slot)
		}
	}
	return map[string][]int{textSection: slots}
}

// callCopies makes the functions that only TC programs come to call copies.
func (r *rewriting) callCopies(copies map[bpf.Place]code.Relocation) error {
	replacements := make(map[string][]code.Replacement)
	r.drivers.find(r.model)
	for _, at := range slices.SortedFunc(maps.Keys(r.drivers.contexts), comparePlaces) {
		if contexts := r.drivers.contexts[at]; len(contexts) > 1 || contexts[0] != &flow.TC {
			continue
		}
		fn := r.model.Function(at)
		references := fn.References()
		for _, slot := range slices.Sorted(maps.Keys(references)) {
			to, ok := copies[references[slot]]
			if !ok {
				continue
			}
			replacements[at.Section] = append(replacements[at.Section], referTo(fn, slot, to))
		}
	}
	if err := code.Replace(r.object, r.ext, replacements); err != nil {
		return misfit(err)
	}
	if err := r.read(r.object.Bytes()); err != nil {
		return err
	}
	r.drivers.find(r.model)
	return nil
}

// referTo returns what makes a call, or the address of a function, that of another one.
func referTo(fn *bpf.Function, slot int, to code.Relocation) code.Replacement {
	ins := fn.Section.Read(slot)
	return code.Replacement{
		Slot:     slot,
		Code:     slices.Clone(fn.Section.Data[slot*insn.SlotSize:][:ins.Slots()*insn.SlotSize]),
		Kept:     -1,
		Attached: &code.Attached{Relocations: []code.Relocation{to}},
	}
}

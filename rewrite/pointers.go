package rewrite

import (
	"slices"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// Clang records the same for a field of the descriptor as for one of a copy that the
// program has made on its stack or in a map. Which it is follows from where the
// pointer comes from.

// site is an instruction that loads the address of the metadata area.
type site struct {
	sub  *flow.Subprogram // nil for any
	slot int
}

func siteOf(p *flow.Pointee) site { return site{p.Subprogram, p.Slot} }

// ownCopy is what an access accesses that is a copy of the program's own.
type ownCopy struct {
	region flow.Region
	macro  bool  // by a bit-field macro
	err    error // why it is refused
}

// isOwn reports whether an access is to a copy of the program's own.
func (p *planner) isOwn(access *reloc.Access) bool {
	_, own := p.own[access.Record]
	return own
}

// stays reports whether an access to a copy of the program's own is right as it is. One
// to a bit-field may not be: clang puts the recorded offset into the instruction, which
// need not be that of the bytes it loads (see reloc.Field). It becomes what it would for
// a layout that is the program's own struct.
func (p *planner) stays(access *reloc.Access) bool {
	if !p.isOwn(access) {
		return false
	}
	isBits := access.Kind == reloc.ByteOffset && access.Local.Field.IsBitField()
	return !isBits || p.own[access.Record].macro
}

// isDescriptor reports whether the root type of an access is the descriptor, or
// nested in it. Of another type the target's is meant wherever it is not known to be
// the program's own, as for libbpf.
func isDescriptor(access *reloc.Access) bool {
	return access.Adopted() || btfraw.EssentialName(access.RootName()) == reloc.Descriptor
}

// judge finds out of each access whether it is to the descriptor, to a copy of the
// program's own, or whether nobody knows: then it is refused. It returns how many
// copies it found that were not known before, which takes planning anew.
func (p *planner) judge() (found int) {
	macros := make(map[macroKey][]int)
	for i := range p.accesses {
		access := &p.accesses[i]
		switch {
		case p.isOwn(access):
			continue
		case p.macros[keyOf(access)] && access.Kind != reloc.ByteOffset:
			macros[keyOf(access)] = append(macros[keyOf(access)], i)
			continue
		}
		found += p.judgeOne(i)
	}
	return found + p.judgeMacros(macros)
}

// checkOwnMacro refuses the offset that a macro asks for in a copy of the program's own
// if clang uses it in accesses to the bit-field, too: they may need another one, see
// stays.
func (p *planner) checkOwnMacro(access *reloc.Access) error {
	if !access.Local.Field.IsBitField() || !p.isMacroOffset(access) {
		return nil
	}
	_, err := p.checkMacroAlone(access, true)
	return err
}

// judgeOne judges an access by itself.
func (p *planner) judgeOne(i int) (found int) {
	access := &p.accesses[i]
	sub := p.analyze().subs[functionPlace(access)]
	if sub == nil || access.IsMarker() {
		return 0 // see checkFollowed
	}
	switch access.Kind {
	case reloc.TypeSize:
		return p.judgeSize(i, sub)
	case reloc.ByteOffset:
		return p.judgeOffset(i, sub)
	}
	return 0
}

// judgeOffset judges an access to a field.
func (p *planner) judgeOffset(i int, sub *flow.Subprogram) (found int) {
	access := &p.accesses[i]
	pointees, reached := p.pointeesOf(access, sub)
	if !reached {
		return 0
	}
	in := regionsOf(pointees)
	switch {
	case slices.ContainsFunc(pointees, func(pointee flow.Pointee) bool { return pointee.Part }):
		p.verdicts[i] = errPart
	case in.allOwn():
		p.own[access.Record] = ownCopy{in.first(), p.isMacroOffset(access), p.checkOwnMacro(access)}
		return 1
	case in.hasOwn() && p.isSame(i): // whichever it is
	case in.hasOwn() && p.keepSums(access, sub):
		return 1
	case in.hasOwn() && p.isShared(access):
		p.verdicts[i] = refuse.Because("access the copy in a function of its own",
			"clang keeps one offset in a register for a field of the descriptor and of a copy of the program's own, and the field is a bit-field or a macro for bit-fields accesses it")
	case in.hasOwn():
		p.dispute(access)
		p.verdicts[i] = refuse.Because("use two variables, one for the descriptor and one for the copy",
			"its pointer points %s, depending on the path or on who calls the function", in)
	case !isDescriptor(access), in == 1<<flow.Unknown && p.isUnused(access):
	case p.drivers != nil && in.has(flow.Area):
		p.verdicts[i] = refuse.Because("get the descriptor by md_desc(ctx) alone",
			"its pointer points into the metadata area, and the program is loaded for the descriptor that %s keeps", p.drivers.first.accessors.Name)
	case in != 1<<p.home():
		p.verdicts[i] = refuse.Because("get the descriptor by md_desc(ctx), and pass it to static functions only",
			"its pointer points %s, and nothing tells whether the descriptor is there or a copy of the program's own", in)
	default:
		if err := p.checkStart(i, pointees); err != nil {
			p.verdicts[i] = err
		}
	}
	p.noteDescriptor(pointees)
	return 0
}

// Where a bit-field macro and another access of a function ask for one offset, clang 14 to
// 22 load its 64 bits, and give the macro the 32 that come first in memory: on a big-endian
// machine the upper ones, which are 0.
var errPart = refuse.Because("use the field's value, and a bit-field macro in a function of its own",
	"what is added to its pointer is computed from the offset, as clang for big-endian machines takes half of one that a bit-field macro shares")

// home returns the region that the descriptor is in.
func (p *planner) home() flow.Region {
	if p.drivers != nil {
		return flow.Driver
	}
	return flow.Area
}

// isSame reports whether the layout keeps what is accessed where the program does.
func (p *planner) isSame(i int) bool {
	local, target := p.accesses[i].Local.Field, p.resolutions[i].Field
	if p.unresolved[i] != nil || target == nil || p.bodyOf(&p.accesses[i]) != nil {
		return false
	}
	by, same := p.distance(local, target)
	return same && by == 0
}

// isUnused reports whether an access is in a function that no loader loads, as it is no
// program and no other function calls it: clang leaves those that it has put in line
// everywhere. What they are called with nobody knows, and it does not matter.
func (p *planner) isUnused(access *reloc.Access) bool {
	fn := p.function(access)
	return !fn.IsProgram && !p.object.Called(functionPlace(access))
}

// checkFollowed refuses an access in code of which nothing is known.
func (p *planner) checkFollowed(access *reloc.Access) error {
	if access.Kind != reloc.ByteOffset || !isDescriptor(access) || p.analyze().subs[functionPlace(access)] != nil {
		return nil
	}
	fn := p.function(access)
	if fn.Err == nil {
		return refuse.Because(refuse.Symbols, "nothing tells what its pointer points at, as no symbol says where the function starts")
	}
	return refuse.Because(refuse.Function, "nothing tells what its pointer points at, as the function is not understood: %v", fn.Err)
}

// pointeesOf returns what the pointer may point at that an access starts from, or
// that its offset is added to. reached is false if the program never comes there, or
// adds it to nothing.
func (p *planner) pointeesOf(access *reloc.Access, sub *flow.Subprogram) (pointees []flow.Pointee, reached bool) {
	if p.section(access.Section).IsMemoryAt(access.Insn) {
		return p.program.pointers.Address(sub, access.Insn)
	}
	pointees = p.program.pointers.AddedTo(sub, access.Insn)
	return pointees, len(pointees) > 0
}

// dispute notes that paths are to be kept apart that bring different pointers to an
// access, or to the loads and stores that its offset is used for.
func (p *planner) dispute(access *reloc.Access) {
	at := functionPlace(access)
	if p.section(access.Section).IsMemoryAt(access.Insn) {
		p.disputed[at] = append(p.disputed[at], flow.Dereference{Slot: access.Insn})
		return
	}
	if reached, err := p.reachedAnyway(access); err == nil {
		p.disputed[at] = append(p.disputed[at], reached.dereferences[access.Insn]...)
	}
}

// noteDescriptor notes where in the metadata area a descriptor is.
func (p *planner) noteDescriptor(pointees []flow.Pointee) {
	for n := range pointees {
		if pointees[n].Region != p.home() || pointees[n].Past {
			continue
		}
		from, known := pointees[n].From()
		if !known {
			from = 0
		}
		at := siteOf(&pointees[n])
		if first, ok := p.descriptors[at]; !ok || from < first {
			p.descriptors[at] = from
		}
	}
}

// judgeSize decides whose size a program asks for: that of the NIC's descriptor, or
// that of the memory that it keeps its own in.
func (p *planner) judgeSize(i int, sub *flow.Subprogram) (found int) {
	access := &p.accesses[i]
	added, _ := p.pointeesOf(access, sub)
	in := regionsOf(added) | regionsOf(p.program.pointers.SizeOf(sub, access.Insn))
	p.noteDescriptor(added)
	switch {
	case !isDescriptor(access): // to a loader, all sizes are the target's
	case in.allOwn():
		p.own[access.Record] = ownCopy{region: in.first()}
		return 1
	case in.hasOwn() && p.resolutions[i].Value != access.Local.Value:
		p.verdicts[i] = refuse.Because("use sizeof for memory of the program's own",
			"the size is that of the descriptor in one place, and of memory of the program's own in another")
	}
	return 0
}

package rewrite

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// plan decides the edit of every access, without changing the object. It comes
// after resolve and judge.
func (p *planner) plan(layout string) ([]Edit, error) {
	edits := make([]Edit, len(p.accesses))
	plans := make([]accessPlan, len(p.accesses))
	p.keepNeeded()
	for i := range plans {
		plans[i].Edit = &edits[i]
		p.planAlone(&plans[i], i)
	}
	if !p.unshortened {
		p.shorten(plans)
	}
	if p.drivers != nil {
		p.alignFrames(plans)
	}

	isRefused := make(map[*Edit]bool)
	refused := slices.Concat(p.unrecorded(), p.misused(), p.tooSmall(), p.tooNarrow())
	for i := range plans {
		err := p.settle(&plans[i])
		if err == nil {
			continue
		}
		isRefused[&edits[i]] = true
		access := p.accesses[i]
		var r *refuse.Error
		if errors.As(err, &r) {
			access.Source = p.usedAt(&access)
			refused = append(refused, Refusal{Access: access, Reason: r.Reason, Remedy: r.Remedy, Missing: r.Missing})
			continue
		}
		return nil, located(access, err)
	}
	if len(refused) > 0 {
		slices.SortStableFunc(refused, p.compareRefusals)
		others := []Edit{}
		for i := range edits {
			if !isRefused[&edits[i]] {
				others = append(others, edits[i])
			}
		}
		return nil, &RefusedError{Layout: layout, Refusals: refused, Edits: others}
	}
	return edits, nil
}

// accessPlan is the edit of one access on its way.
type accessPlan struct {
	*Edit
	converts    bool  // a load or store of a field that the layout keeps in another way
	refused     error // for whatever is done
	unconverted error // why the load or store alone can't be converted
	isAssigned  bool  // see assignBits
}

// usedAt returns the source line of an access: of an offset that is kept in a register
// where it is used first, as clang may have put it there far ahead.
func (p *planner) usedAt(access *reloc.Access) reloc.Source {
	if access.Kind != reloc.ByteOffset || p.section(access.Section).IsMemoryAt(access.Insn) {
		return access.Source
	}
	reached, err := p.reachedAnyway(access)
	if err != nil {
		return access.Source
	}
	first := -1
	note := func(slot int) {
		if first < 0 || slot < first {
			first = slot
		}
	}
	for _, use := range reached.dereferences[access.Insn] {
		note(use.Slot)
	}
	for _, escape := range reached.escapes[access.Insn] {
		note(escape.Slot)
	}
	if first < 0 {
		return access.Source
	}
	return p.lineAt(access.Section, first)
}

// compareRefusals orders refusals as their instructions are in the object.
func (p *planner) compareRefusals(a, b Refusal) int {
	index := func(r *Refusal) int {
		if section := p.section(r.Access.Section); section.Section != nil {
			return section.Index
		}
		return 0
	}
	return cmp.Or(cmp.Compare(index(&a), index(&b)), cmp.Compare(a.Access.Insn, b.Access.Insn))
}

// resolve asks the layout what every access comes to that is not one of the
// program's own copies.
func (p *planner) resolve(layout *reloc.Layout) error {
	p.inLayout = layout.Resolver()
	for i := range p.accesses {
		access := &p.accesses[i]
		if p.isOwn(access) {
			p.resolutions[i] = ownResolution(access)
			if !p.stays(access) {
				p.learn(p.resolved(i))
			}
			continue
		}
		resolution, err := p.sourceOf(access).resolve(p, access)
		if errors.Is(err, reloc.ErrByteOrder) {
			return err
		}
		if errors.Is(err, reloc.ErrAmbiguous) && !p.apart { // many have given a kernel its types
			return located(*access, err)
		}
		p.resolutions[i] = resolution
		if err != nil {
			p.unresolved[i] = err
			p.learnUnresolved(access)
			continue
		}
		p.learn(p.resolved(i))
	}
	return nil
}

// ownResolution returns what an access to a copy of the program's own comes to. Of an
// array of copies it may access any element: the type then ends with that.
func ownResolution(access *reloc.Access) *reloc.Resolution {
	size := access.Local.TypeSize
	if access.Local.Field == nil || size == 0 {
		return access.Local
	}
	_, end := layoutBytes(access.Local.Field)
	if end <= size {
		return access.Local
	}
	resolution := *access.Local
	resolution.TypeSize = (end + size - 1) / size * size
	return &resolution
}

// functionPlace returns where the function starts that an access is in.
func functionPlace(access *reloc.Access) bpf.Place {
	return bpf.Place{Section: access.Section, Slot: access.FunctionStart}
}

// planner decides the edits of one object for one layout.
type planner struct {
	object     *bpf.Object
	recorded   *reloc.Recorded
	order      binary.ByteOrder
	macros     map[macroKey]bool
	sections   map[string]*section
	functions  map[bpf.Place]*function
	byFunction map[bpf.Place]*functionAccesses // by where the function starts that they are in

	accesses    []reloc.Access      // to rewrite
	resolutions []*reloc.Resolution // which accesses share
	unresolved  map[int]error       // of the accesses for which the layout has no answer, by index
	verdicts    map[int]error       // why accesses are refused for what their pointers point at, by index

	own          map[int]ownCopy                   // where the program's own copies are, by record
	ownSums      map[bpf.Place]map[int]flow.OwnSum // by the function's place and by slot
	descriptors  map[site]int64                    // see judge
	disputed     map[bpf.Place][]flow.Dereference  // whose pointers are to be kept apart, by the function's place
	sizes        map[bpf.Place]map[int64]bool      // see function
	macroOffsets map[int]bool                      // by record, see isMacro

	// Unset until somebody asks:
	program *program

	unshortened bool // see shorten
	unjudged    bool // see misused
	apart       bool // see Options

	drivers  *drivers                   // nil for the metadata area
	sources  func(*reloc.Access) source // see Options
	inLayout func(*reloc.Access) (*reloc.Resolution, error)

	sumsOf map[*flow.Subprogram]map[int][]flow.Sum // see sums

	framesKnown bool // see findFrames

	calls map[bpf.Place][]call // see callsOf; nil until somebody asks
}

// newPlanner plans for some of the recorded accesses. Of these own are to copies of
// the program's own, which stay as they are.
func newPlanner(object *bpf.Object, accesses []reloc.Access, own map[int]ownCopy, ownSums map[bpf.Place]map[int]flow.OwnSum) *planner {
	p := &planner{
		object:     object,
		recorded:   object.Recorded,
		order:      object.Order(),
		sections:   make(map[string]*section),
		functions:  make(map[bpf.Place]*function),
		byFunction: make(map[bpf.Place]*functionAccesses),

		accesses:     accesses,
		resolutions:  make([]*reloc.Resolution, len(accesses)),
		unresolved:   make(map[int]error),
		verdicts:     make(map[int]error),
		own:          own,
		ownSums:      ownSums,
		descriptors:  make(map[site]int64),
		disputed:     make(map[bpf.Place][]flow.Dereference),
		macroOffsets: make(map[int]bool),
		sizes:        make(map[bpf.Place]map[int64]bool),
	}
	p.macros = p.bitfieldMacros()
	ours := make([]bool, len(object.Recorded.Accesses)) // by record
	for i := range accesses {
		ours[accesses[i].Record] = true
		p.noteSize(&accesses[i])
		if accesses[i].Kind == reloc.TypeSize && !accesses[i].Adopted() {
			p.section(accesses[i].Section).accessed.Add(accesses[i].Insn)
		}
	}
	for i := range object.Recorded.Accesses {
		access := &object.Recorded.Accesses[i]
		section := p.section(access.Section)
		if access.Kind == reloc.ByteOffset {
			section.accessed.Add(access.Insn)
		}
		if !p.stays(access) {
			section.recorded.Add(access.Insn)
		}
		if !ours[access.Record] {
			section.theirs[access.Insn] = access.Path
			section.left.Add(access.Insn)
			p.noteBits(access)
		}
	}
	return p
}

// noteBits notes an access to a bit-field.
func (p *planner) noteBits(access *reloc.Access) {
	if access.Kind == reloc.ByteOffset && access.Local.Field.IsBitField() {
		bits := p.accessesOf(access).bits
		bits[nameOf(access)] = append(bits[nameOf(access)], access)
	}
}

// noteSize notes the size of the program's struct that is accessed as a descriptor.
func (p *planner) noteSize(access *reloc.Access) {
	if at := functionPlace(access); isDescriptor(access) && !access.Adopted() && access.Local.TypeSize > 0 {
		if p.sizes[at] == nil {
			p.sizes[at] = make(map[int64]bool)
		}
		p.sizes[at][int64(access.Local.TypeSize)] = true
	}
}

// resolved returns an access and what the layout says of it.
func (p *planner) resolved(i int) resolvedAccess {
	return resolvedAccess{&p.accesses[i], p.resolutions[i]}
}

// planAlone plans the edit of one access, whatever becomes of others.
func (p *planner) planAlone(plan *accessPlan, i int) {
	access := &p.accesses[i]
	plan.Access, plan.Resolution = access, p.resolutions[i]
	before, err := p.instructionOf(access)
	if err != nil {
		plan.refused = err
		return
	}
	plan.Before = instructions(before)
	if p.isOwn(access) {
		plan.Own = p.own[access.Record].region.String()
	}
	if p.stays(access) {
		plan.After, plan.Exact = plan.Before, true
		plan.refused = cmp.Or(p.checkPresent(access, before), p.own[access.Record].err)
		return
	}
	if err := p.unresolved[i]; err != nil {
		plan.refused = refuse.Because(refuse.SameType, "%v", err)
		return
	}
	if plan.refused = cmp.Or(p.checkPresent(access, before), p.verdicts[i]); plan.refused == nil {
		p.sourceOf(access).plan(p, plan, before)
	}
}

// sourceOf returns where the field of an access comes from. A copy of the program's own
// is in memory as the area is.
func (p *planner) sourceOf(access *reloc.Access) source {
	switch {
	case p.isOwn(access):
		return area{}
	case p.drivers != nil:
		d, _ := p.drivers.of(functionPlace(access)) // which refuses it
		return d
	case access.IsMarker():
		return marker{}
	case p.sources != nil:
		return p.sources(access)
	}
	return area{}
}

// instructionOf returns the instruction of an access, if it is one that can be changed.
func (p *planner) instructionOf(access *reloc.Access) (asm.Instruction, error) {
	section := p.section(access.Section)
	if !section.IsCode() {
		return asm.Instruction{}, refuse.Because(refuse.Recompile, "section %s holds no instructions", section)
	}
	ins, err := section.Instruction(access.Insn)
	if err != nil {
		return ins, refuse.Because(refuse.Recompile, "its instruction: %v", err)
	}
	if section.Linked().Has(access.Insn) {
		return ins, refuse.Because(refuse.Recompile, "the instruction %q is also patched by an ELF relocation", insn.Spell(ins))
	}
	return ins, nil
}

// settle completes the edit of an access, once all are planned. A refusal is an error of
// type *refuse.Error.
func (p *planner) settle(plan *accessPlan) error {
	edit := plan.Edit
	if err := cmp.Or(plan.refused, plan.unconverted); err != nil {
		return err
	}
	if p.stays(edit.Access) {
		return nil
	}
	if err := cmp.Or(p.checkReach(edit), p.checkFollowed(edit.Access)); err != nil {
		return err
	}
	if err := p.takeStack(edit); err != nil {
		return err
	}
	edit.Exact = p.isExact(edit)
	section := p.section(edit.Access.Section)
	for patch := range edit.patches() {
		if path, ok := section.theirs[patch.Insn]; ok && patch.changes() {
			return refuse.Because("read the field by its name in the descriptor", "the instruction %q has a record about %s, too, which is left to the loader", patch.Before, path)
		}
		if other := section.planned[patch.Insn]; other != nil && !slices.Equal(other.becomes(patch.Insn), patch.After) {
			return refuse.Because(refuse.Recompile, "the instruction %q would have to become %q for it and %q for another access", patch.Before, patch.After, other.becomes(patch.Insn))
		}
		section.planned[patch.Insn] = edit
	}
	return nil
}

// checkReach refuses a load or store of a field that ends beyond what the program has
// checked.
func (p *planner) checkReach(edit *Edit) error {
	if edit.Poisoned || edit.Access.Kind != reloc.ByteOffset || !insn.IsMemory(edit.Before[0].Instruction) {
		return nil
	}
	return p.checkGuard(edit.Access, edit.Access.Insn, accessEnd(edit.After))
}

// takeStack takes what an edit spills to from what is left of the stack.
func (p *planner) takeStack(edit *Edit) error {
	depth := 0
	for patch := range edit.patches() {
		depth = max(depth, spilledTo(patch.After))
	}
	if depth > 0 && !p.deepen(p.function(edit.Access), depth) {
		return errNoRegister
	}
	return nil
}

// isExact decides Edit.Exact.
func (p *planner) isExact(edit *Edit) bool {
	local, target := edit.Access.Local.Field, edit.Resolution.Field
	if edit.Changed() || local == nil || target == nil {
		return !edit.Changed()
	}
	return local.BitOffset == target.BitOffset && reloc.SameRepresentation(local, target, p.order)
}

// planInPlace fills in After, and Others, Poisoned and Note where they apply.
func (p *planner) planInPlace(edit *Edit, before asm.Instruction) error {
	switch {
	case edit.Resolution.Poison && (p.hasOwnSum(edit.Access) || p.isHoisted(edit)):
		return p.leaveMissing(edit)
	case edit.Resolution.Poison:
		edit.After = poison(int(before.Width()))
		edit.Poisoned = true
		edit.Note = edit.Resolution.Missing
		return p.judgeMissing(edit)
	case insn.IsMemory(before) && edit.Access.Kind != reloc.ByteOffset: // a number that is added to its address
		moved, err := convert.SetSpan(before, int64(edit.Resolution.Value), insn.Bytes(before))
		edit.After = instructions(moved)
		return err
	case insn.IsMemory(before):
		return p.moveMemory(edit, before)
	case edit.Access.Kind == reloc.ByteOffset:
		return p.patchOffset(edit, before)
	default:
		edit.Note = edit.Resolution.Missing
		return p.patchValue(edit, before, edit.Resolution.Value)
	}
}

// patchValue edits an instruction that works on a constant.
func (p *planner) patchValue(edit *Edit, before asm.Instruction, value uint64) error {
	after, err := patchImmediate(before, value)
	edit.After = instructions(after)
	return err
}

// isImmediate reports whether an instruction works on a constant that a record
// can be about: an ALU instruction, or LDDW of a plain number.
func isImmediate(ins asm.Instruction) bool {
	if ins.OpCode.IsDWordLoad() {
		return ins.Src == asm.R0 && ins.Offset == 0
	}
	return ins.OpCode.Class().IsALU() && ins.OpCode.Source() == asm.ImmSource && ins.OpCode.ALUOp() != asm.Swap
}

// checkPresent compares what the instruction holds with what the record says
// it should hold, so that nothing is changed that is not what was recorded.
func (p *planner) checkPresent(access *reloc.Access, ins asm.Instruction) error {
	switch {
	case insn.IsMemory(ins):
		return checkValue(access, int64(ins.Offset), ins)
	case isImmediate(ins):
		return checkValue(access, ins.Constant, ins)
	}
	return refuse.Because(refuse.Recompile, "%s is recorded on the instruction %q, which holds no such value", access.Kind, insn.Spell(ins))
}

func checkValue(access *reloc.Access, present int64, ins asm.Instruction) error {
	if holdsValue(access, present, ins) {
		return nil
	}
	return refuse.Because(refuse.Recompile, "the instruction %q does not hold the %s that the record says, %d: the object was changed since it was compiled",
		insn.Spell(ins), access.Kind, int64(access.Local.Value))
}

func holdsValue(access *reloc.Access, present int64, ins asm.Instruction) bool {
	expected := int64(access.Local.Value)
	switch {
	case access.Kind == reloc.Signed && access.Local.Field.SignUnknown:
		return true // the compiler knew, but did not say
	case access.Kind == reloc.TargetTypeID:
		return true // linkers number types anew, and leave the instruction alone
	case access.Local.Field != nil && access.Local.Field.IsBitField():
		return plausibleForBitField(access, present)
	case ins.OpCode.Class() == asm.ALUClass:
		return uint32(present) == uint32(expected) && fits32(expected)
	default:
		return present == expected
	}
}

// plausibleForBitField checks what clang chose for a bit-field. Which bytes it
// loads is its own choice, so that only sign and right shift are determined
// (bpf_core_calc_field_relo of libbpf does not validate the others at all).
func plausibleForBitField(access *reloc.Access, present int64) bool {
	field := access.Local.Field
	switch access.Kind {
	case reloc.ByteOffset:
		start, end := present*8, present*8+64
		return present >= 0 && int64(field.BitOffset) < end && int64(field.BitOffset+field.BitSize) > start
	case reloc.ByteSize:
		return present == 1 || present == 2 || present == 4 || present == 8
	case reloc.LeftShift:
		return present >= 0 && present < 64
	default:
		return present == int64(access.Local.Value)
	}
}

// patchImmediate puts a value into an instruction that works on a constant.
func patchImmediate(ins asm.Instruction, value uint64) (asm.Instruction, error) {
	signed := int64(value)
	switch {
	case ins.OpCode.IsDWordLoad():
		ins.Constant = signed
	case ins.OpCode.Class() == asm.ALUClass && fits32(signed):
		ins.Constant = int64(int32(signed))
	case ins.OpCode.Class() == asm.ALU64Class && signed >= math.MinInt32 && signed <= math.MaxInt32:
		ins.Constant = signed
	default:
		return ins, refuse.Because(refuse.Report, "the value %d does not fit into the instruction %q", signed, insn.Spell(ins))
	}
	return ins, nil
}

// fits32 reports whether a value is representable in 32 bits, signed or not.
func fits32(value int64) bool { return value >= math.MinInt32 && value <= math.MaxUint32 }

// located says which access an error is about that is not a refusal.
func located(access reloc.Access, err error) error { return &AccessError{access, err} }

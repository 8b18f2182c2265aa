// Package rewrite makes a BPF object fit the layout of a NIC: every recorded
// access to a metadata descriptor is resolved and its instruction edited.
//
// It is a pure function of bytes: it needs no kernel and no privileges, and
// gives the same output on every machine.
package rewrite

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/refuse"
	"github.com/xdp-load/xdp-load/reloc"
)

// Options says what to rewrite. The zero value is useful.
type Options struct {
	// Types are globs, as path.Match takes them, of the names of root types to
	// resolve against the layout (optional, reloc.Descriptor if empty). A glob that
	// matches a name matches its flavours too; one that matches no root type of the
	// object is an error. "*" means every record, if there is any. What clang records
	// of a struct within a chosen type is resolved with it, whatever that struct is
	// called (reloc.Recorded.Adopt).
	Types []string

	// Functions reports whether a function is going to be loaded (optional, all are
	// if nil). What can't be rewritten in another one is not refused, but stays as it
	// is.
	Functions func(name string) bool

	// Apart says that what is in a struct within another one is accessed by records of its
	// own, wherever its address goes, as that of the kernel's types is (optional). The
	// address of a struct of which the layout has another form is refused otherwise. Where
	// the layout contradicts itself, as a kernel with two structs of one name does, only
	// the access is refused.
	Apart bool

	// Unbound says why a program, given by its name, can't be bound to a device (optional).
	// It and the functions that it comes to don't have the fields that kfuncs are asked for.
	Unbound map[string]string

	// sources says where what is accessed comes from (optional, the area if nil).
	sources func(*reloc.Access) source

	// enums says that the enumerations of md_desc.h go with the descriptor: what is asked
	// of them is resolved, too, and not left to the loader, whose kernel has none.
	enums bool

	unshortened bool // for tests: without shorten
	unjudged    bool // for tests: without misused
	tellsAll    bool // for tests: with the edits of what md_desc() asks, see tellMarker
}

// Rewrite returns the object with every access to the chosen root types edited
// for the layout, and a report of it. The records of these accesses are gone
// from .BTF.ext, and .BTF has a type more, which says what they were resolved to;
// everything else is as it was. An object without such accesses comes back
// unchanged, and so does one that was rewritten for the same layout: one in which
// all of them come to the same. One that was rewritten for another is refused.
//
// Records of kind local_type_id stay, since they don't depend on the layout but
// on the loader, which may number the object's types anew.
//
// It wraps ErrRefused, as a *RefusedError, if an access can't be rewritten
// truthfully, ErrNoDescriptor if the layout lacks the root type altogether,
// ErrNoSuchRoot if Options chooses a root type that the object lacks,
// reloc.ErrAmbiguous if the layout contradicts itself, and the errors of
// reloc.Read for an object that can't be read. It never returns both an object
// and an error.
func Rewrite(object []byte, layout *reloc.Layout, opts Options) ([]byte, *Report, error) {
	return rewrite(object, layout, nil, opts)
}

// RewriteForDriver is Rewrite for what drivers keep of a packet instead of a layout:
// md_desc(ctx) becomes what finds the driver's descriptor, and each load of a field the
// code of its accessor, in line. There are accessors for one kind of program each.
func RewriteForDriver(object []byte, accessors []*Accessors, opts Options) ([]byte, *Report, error) {
	r := driverRewriting{accessors: accessors, options: opts}
	out, report, err := r.rewrite(object)
	var unreachable *code.ReachError
	if errors.As(err, &unreachable) { // calls take less room
		r.calls = true
		return r.rewrite(object)
	}
	return out, report, err
}

// driverRewriting is how an object is rewritten for drivers.
type driverRewriting struct {
	accessors []*Accessors
	options   Options
	calls     bool               // nothing is put in line but calls
	cramped   map[bpf.Place]bool // see drivers
}

// rewrite tries again with the stack of functions moved down, as long as there are more of
// them that have no room for what code in line keeps.
func (r *driverRewriting) rewrite(object []byte) ([]byte, *Report, error) {
	for {
		drivers, err := newDrivers(r.accessors)
		if err != nil {
			return nil, nil, err
		}
		lowered, stretches := lowerStacks(object, r.cramped)
		drivers.calls, drivers.lowered, drivers.unbindable = r.calls, stretches, r.options.Unbound
		out, report, err := rewriteForDrivers(lowered, drivers, r.options)
		known := len(r.cramped)
		if err == nil || known > 0 && len(stretches) == 0 {
			return out, report, err
		}
		if maps.Copy(drivers.cramped, r.cramped); len(drivers.cramped) == known {
			return out, report, err
		}
		r.cramped = drivers.cramped
	}
}

func rewriteForDrivers(object []byte, drivers *drivers, opts Options) ([]byte, *Report, error) {
	opts.enums = true
	out, report, err := rewrite(object, drivers.first.fitted, drivers, opts)
	var refused *RefusedError
	if errors.As(err, &refused) {
		refused.Layout, refused.Driver, refused.Edits = "", drivers.names(), tellMarker(refused.Edits)
		for i := range refused.Refusals {
			if refusal := &refused.Refusals[i]; !refusal.Unrecorded {
				nameMarker(&refusal.Access)
			}
		}
	}
	if err != nil {
		return nil, nil, err
	}
	report.Layout, report.Driver = "", drivers.names()
	for _, context := range []*flow.Context{&flow.XDP, &flow.TC} { // the same for both, if they load
		if of := drivers.byContext[context]; of != nil {
			report.Lowering = cmp.Or(report.Lowering, of.accessors.Lowering)
		}
	}
	return out, report, nil
}

func rewrite(object []byte, layout *reloc.Layout, drivers *drivers, opts Options) ([]byte, *Report, error) {
	r, err := newRewriting(object, layout, &opts)
	if err != nil {
		return nil, nil, err
	}
	r.drivers = drivers
	report := &Report{Layout: layout.Name(), Edits: []Edit{}}
	if report.Rewritten, err = r.checkMarks(); err != nil {
		return nil, nil, err
	}
	if report.Unaccessed, err = r.unaccessed(); err != nil {
		return nil, nil, err
	}
	if err := r.checkMatched(report); err != nil {
		return nil, nil, err
	}
	if err := r.dropUnloaded(); err != nil {
		return nil, nil, err
	}
	answer := fromArea
	if drivers != nil {
		answer = fromDriver
	}
	if err := r.answerSource(answer); err != nil {
		return nil, nil, err
	}
	unresolvable := r.unresolvable()
	if len(r.accesses) == 0 && len(unresolvable) == 0 {
		return bytes.Clone(object), report, nil
	}
	if drivers != nil {
		if err := r.link(); err != nil {
			return nil, nil, err
		}
	}
	if err := r.alsoRefused(unresolvable, r.run()); err != nil {
		return nil, nil, err
	}
	report.Edits, report.OtherSource = r.edits, r.otherSource
	if !opts.tellsAll {
		report.Edits = tellMarker(r.edits)
	}
	return r.object.Bytes(), report, nil
}

// rewriting is an object on its way to fit a layout.
type rewriting struct {
	object  *elfobj.Object
	layout  *reloc.Layout
	options *Options

	marks    []mark // that the object came with
	recorded *reloc.Recorded
	ext      *btfraw.Ext
	model    *bpf.Object
	accesses []reloc.Access // those to rewrite
	drivers  *drivers       // nil for the metadata area
	edits    []Edit
	added    additions // see planner.additions

	otherSource []int // see Report

	// If code was copied or taken out, the accesses as they were before, the slots of
	// then by section and slot of now, and, by section, where functions started then
	// that may have lost their first instruction.
	before    map[recordKey]*reloc.Access
	oldSlots  map[string][]int
	oldStarts map[string][]int
}

func newRewriting(object []byte, layout *reloc.Layout, opts *Options) (*rewriting, error) {
	obj, err := elfobj.Parse(object)
	if err != nil {
		return nil, err
	}
	r := &rewriting{object: obj, layout: layout, options: opts}
	return r, r.read(object)
}

// dropUnloaded takes code out that no loader loads: it may access what it likes, and it
// calls nothing.
func (r *rewriting) dropUnloaded() error {
	if len(r.recorded.Accesses) == 0 {
		return nil
	}
	slots, err := code.DropUnloaded(r.object, r.ext)
	if err != nil || len(slots) == 0 {
		return misfit(err)
	}
	return r.readAgain(slots)
}

// read reads the records, and the marks, of the object, of which it is given the bytes.
func (r *rewriting) read(object []byte) (err error) {
	if r.recorded, err = reloc.ReadObject(object); err != nil {
		return err
	}
	if r.ext, err = readExt(r.object); err != nil {
		return err
	}
	r.model = bpf.New(r.object, r.ext, r.recorded)
	if err := r.options.check(); err != nil {
		return err
	}
	if err := r.readMarks(); err != nil {
		return err
	}
	if err := r.recorded.Adopt(r.layout, r.options.isRoot); err != nil {
		return err
	}
	r.accesses = r.inOrder(r.options.choose(r.recorded.Accesses))
	return nil
}

// inOrder returns accesses in the order of the object's instructions, whatever the
// order of their records: what they become must not depend on that.
func (r *rewriting) inOrder(accesses []reloc.Access) []reloc.Access {
	index := make(map[string]int)
	for _, section := range r.object.Sections {
		index[section.Name] = section.Index
	}
	compare := func(a, b reloc.Access) int {
		return cmp.Or(cmp.Compare(index[a.Section], index[b.Section]), cmp.Compare(a.Insn, b.Insn),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Root, b.Root), cmp.Compare(a.Path, b.Path))
	}
	if slices.IsSortedFunc(accesses, compare) {
		return accesses
	}
	accesses = slices.Clone(accesses)
	slices.SortStableFunc(accesses, compare)
	return accesses
}

func (r *rewriting) run() (err error) {
	defer func() { r.tellBefore(err) }()
	if err := checkDefined(r.layout, r.accesses); err != nil {
		return err
	}
	if err := r.planObject(); err != nil {
		return err
	}
	r.model = bpf.New(r.object, r.ext, r.recorded) // what was found out of the code is not needed any more
	if err := r.mark(); err != nil {
		return err
	}
	resolved := make(map[int]bool, len(r.edits))
	for i := range r.edits {
		resolved[r.edits[i].Access.Record] = true
	}
	ext, err := dropRecords(r.object, r.ext, resolved)
	if err != nil {
		return err
	}
	return r.apply(ext)
}

// planObject decides the edit of every access, copying code where it has to. Once it is
// known that an access is to a copy of the program's own, more is known of the code
// around it: the object is planned for anew then, too.
func (r *rewriting) planObject() error {
	left, own, ownSums := maxCopied, make(map[int]ownCopy), make(map[bpf.Place]map[int]flow.OwnSum)
	for splits := 0; ; {
		p := newPlanner(r.model, r.accesses, own, ownSums)
		p.unshortened, p.unjudged, p.apart = r.options.unshortened, r.options.unjudged, r.options.Apart
		p.sources, p.drivers = r.options.sources, r.drivers
		if r.drivers != nil {
			r.drivers.find(r.model)
			r.drivers.oldSlots = r.oldSlots
		}
		if err := p.resolve(r.layout); err != nil {
			return err
		}
		if found := p.judge(); found > 0 || r.leaveToLoader(p) {
			continue
		}
		edits, err := r.withoutSpare(p.plan(r.layout.Name()))
		split := false // after which what is refused now may be right
		if splits < maxSplits {
			var failed error
			if split, failed = r.split(p.detours(&left)); failed != nil {
				return failed
			}
		}
		if !split {
			r.edits, r.added = edits, p.additions()
			return err
		}
		splits++
		clear(own) // records are numbered anew, and instructions too
		clear(ownSums)
	}
}

// check refuses globs that are none.
func (o *Options) check() error {
	for _, glob := range o.Types {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("glob %q of root types: %w", glob, err)
		}
	}
	return nil
}

// loads reports whether the function that an access is in is going to be loaded.
func (o *Options) loads(access *reloc.Access) bool {
	return o.Functions == nil || o.Functions(access.Program)
}

// isRoot reports whether a name is one of a root type to resolve.
func (o *Options) isRoot(name string) bool {
	globs := o.Types
	if len(globs) == 0 {
		globs = []string{reloc.Descriptor}
	}
	essential := btfraw.EssentialName(name)
	if o.enums && isHeaderEnum(essential) {
		return o.isRoot(reloc.Descriptor)
	}
	return slices.ContainsFunc(globs, func(glob string) bool {
		matches, _ := path.Match(glob, name)
		matchesEssential, _ := path.Match(glob, essential)
		return matches || matchesEssential
	})
}

// choose returns the accesses to resolve.
func (o *Options) choose(accesses []reloc.Access) []reloc.Access {
	first := 0
	for first < len(accesses) && o.resolves(&accesses[first]) {
		first++
	}
	ours := accesses[:first:first]
	for i := first; i < len(accesses); i++ {
		if o.resolves(&accesses[i]) {
			ours = append(ours, accesses[i])
		}
	}
	return ours
}

// resolves reports whether an access is to be resolved.
func (o *Options) resolves(access *reloc.Access) bool {
	return access.Kind != reloc.LocalTypeID && (o.choosesRoot(access) || access.Adopted() || access.Lacking())
}

// choosesRoot reports whether the root type of an access is to be resolved.
func (o *Options) choosesRoot(access *reloc.Access) bool {
	if access.IsMarker() {
		return o.isRoot(reloc.Descriptor)
	}
	return o.isRoot(access.RootName())
}

// checkDefined wants the layout to define the metadata descriptor if the
// program accesses it, and at least one root type in any case: otherwise it is
// the wrong file, and poisoning every access would hide that.
func checkDefined(layout *reloc.Layout, accesses []reloc.Access) error {
	defined := make(map[string]bool)
	var missing []string
	for i := range accesses {
		name := btfraw.EssentialName(accesses[i].RootName())
		if defined[name] || accesses[i].Adopted() || accesses[i].Lacking() || accesses[i].IsMarker() {
			continue
		}
		found, err := accesses[i].DefinedIn(layout)
		if err != nil {
			return err
		}
		defined[name] = found
		if !found && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	// A struct and an enum, say, can have the same name.
	missing = slices.DeleteFunc(missing, func(name string) bool { return defined[name] })
	if slices.Contains(missing, reloc.Descriptor) || len(missing) > 0 && len(missing) == len(defined) {
		return fmt.Errorf("layout %s %w: %s: give the BTF of an object compiled from the NIC's own header, with a variable of that type in it, since clang leaves out what nothing uses",
			layout.Name(), ErrNoDescriptor, strings.Join(missing, ", "))
	}
	return nil
}

// apply puts the edits into the object, moving what has to make room, and says
// in each where it has come to be.
func (r *rewriting) apply(ext *btfraw.Ext) error {
	replacements, err := collect(r.object, r.edits)
	if err != nil {
		return err
	}
	if err := r.added.put(r.model, replacements); err != nil {
		return err
	}
	setPositions(r.object, r.edits, replacements, r.added)
	err = code.Replace(r.object, ext, replacements)
	var unreachable *code.ReachError
	if errors.As(err, &unreachable) {
		return fmt.Errorf("%w: %w: make the function smaller", ErrRefused, err)
	}
	return misfit(err)
}

// misfit says what to do about sections, symbols and relocations that contradict each
// other. That a jump does not reach is nobody's fault.
func misfit(err error) error {
	var unreachable *code.ReachError
	if err == nil || errors.As(err, &unreachable) {
		return err
	}
	return fmt.Errorf("the parts of the object do not fit together: %w: %s", err, refuse.Recompile)
}

// collect returns what the edits put into the object, by section and slot.
func collect(obj *elfobj.Object, edits []Edit) (map[string][]code.Replacement, error) {
	counts := make(map[string]int)
	for i := range edits {
		counts[edits[i].Access.Section] += 1 + len(edits[i].Others)
	}
	replacements := make(map[string][]code.Replacement, len(counts))
	for section, count := range counts {
		replacements[section] = make([]code.Replacement, 0, count)
	}
	for i := range edits {
		section := edits[i].Access.Section
		for patch := range edits[i].patches() {
			if !patch.changes() {
				continue
			}
			encoded, err := patch.After.encode(obj.Order)
			if err != nil {
				return nil, located(*edits[i].Access, err)
			}
			replacement := code.Replacement{Slot: patch.Insn, Code: encoded}
			if patch.body != nil {
				replacement.Attached = patch.body.attachedTo(patch.After)
			}
			replacements[section] = append(replacements[section], replacement)
		}
	}
	for section, list := range replacements {
		slices.SortStableFunc(list, func(a, b code.Replacement) int { return cmp.Compare(a.Slot, b.Slot) })
		// Where several accesses change an instruction they change it in the same way.
		replacements[section] = slices.CompactFunc(list, func(a, b code.Replacement) bool { return a.Slot == b.Slot })
	}
	return replacements, nil
}

// dropRecords takes records out of .BTF.ext, and the ELF relocations that patch
// them out of its relocation section. It comes before anything moves, as an
// instruction that is taken out leaves no place for its record. It returns what
// .BTF.ext is then.
func dropRecords(obj *elfobj.Object, ext *btfraw.Ext, dropped map[int]bool) (*btfraw.Ext, error) {
	section := obj.Section(".BTF.ext")
	data, moved := ext.Without(func(record int) bool { return dropped[record] })
	section.Data = data
	if err := obj.MoveRelocations(section, moved); err != nil {
		return nil, err
	}
	return readExt(obj)
}

// readExt reads .BTF.ext.
func readExt(obj *elfobj.Object) (*btfraw.Ext, error) {
	types, err := btfraw.Parse(obj.Section(".BTF").Data, nil)
	if err != nil {
		return nil, err
	}
	return btfraw.ParseExt(obj.Section(".BTF.ext").Data, types)
}

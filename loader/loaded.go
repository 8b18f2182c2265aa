//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// Loaded is an object in the kernel. What of its programs and maps is not taken out of the
// collection, with Assign, say, Close releases. A program on an interface keeps the maps that
// it uses, but a program array is empty once no process has it open and nothing has it pinned.
type Loaded struct {
	*ebpf.Collection

	// Report says what was rewritten.
	Report *rewrite.Report

	// Attachment is nil if nothing is attached.
	Attachment *Attachment

	// Replaced is the program that was on the interface before, 0 if there was none.
	Replaced ebpf.ProgramID

	// Pinned are the maps that are pinned, by their names.
	Pinned []PinnedMap

	// ForMaps are the programs for cpumaps and devmaps, which are pinned, too.
	ForMaps []PinnedProgram

	// With are the other programs on the interface that Reload has replaced with it. Close
	// releases them, too.
	With []*Loaded

	// Bound is set if a program is bound to the interface, as it calls metadata kfuncs.
	Bound bool

	load *load
}

// Load loads an object, rewritten for the layout or the driver, and attaches nothing yet:
// maps can be filled before the first packet. If the options name an interface, only the
// program that Attach attaches to it is loaded, with what it reaches.
//
// The programs say what they were rewritten for, whoever attaches them: Status and
// xdp-load status tell it also of those that the caller has attached with link.AttachXDP.
//
// For code that bpf2go generated, Load and Assign stand for loadFooObjects:
//
//	loaded, err := loader.Load(bytes.NewReader(_FooBytes), opts)
//	...
//	err = loaded.Assign(&objs)
//
// Messages and the record call an os.File by its name. Maps that are declared with
// LIBBPF_PIN_BY_NAME, and the limit on locked memory, are treated as LoadRewritten does, and
// the errors are its own, but for those about what is on the interface.
func Load(object io.ReaderAt, opts Options) (*Loaded, error) {
	raw, err := readAll(object)
	if err != nil {
		return nil, err
	}
	name := ""
	if file, ok := object.(interface{ Name() string }); ok { // as an os.File has it
		name = file.Name()
	}
	l, err := newLoadOf(name, raw, opts)
	if err != nil && name != "" {
		err = fmt.Errorf("%s: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	return l.take((*load).glance, (*load).mayLoad, (*load).load, (*load).leaveUnattached)
}

// take takes steps with a load by itself.
func (l *load) take(steps ...func(*load) error) (*Loaded, error) {
	b := new(batch)
	b.add(l)
	all, err := b.take(steps...)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// glance notes which program of this package's is on the interface, which may be the one
// that is to be replaced later.
func (l *load) glance() error {
	if !l.pinsAttachment() {
		return nil
	}
	there, err := hookByName(l.Interface, l.at)
	if err != nil || len(there.programs) == 0 {
		return err
	}
	return withPins(func(pins *pinDir) error {
		_, ours, _, err := pins.lookAt(l.Interface, l.at)
		if err == nil && ours != nil {
			l.seen = ours.home
		}
		return err
	})
}

// leaveUnattached has the programs say what they were rewritten for, for whoever attaches them.
// Program arrays that were there before are theirs now, unless that waits for Attach.
func (l *load) leaveUnattached() error {
	if err := l.bindRecords(); err != nil || l.Interface != "" {
		return err
	}
	return l.replacePrograms()
}

// Attach attaches the program to the interface of the options, where there has to be none
// before, unless Options.Replace is set. The attachment is pinned, and outlives the process,
// unless Options.Unpinned is set. If it fails, everything else is as it was before.
//
// What is pinned others may replace, as xdp-load reload and watch do. The new program has new
// maps then, but for those that are pinned by name.
//
// Returns an error wrapping ErrOccupied, ErrChanged, ErrBoundElsewhere, ErrNoNative,
// ErrPrivileges, ErrUntrusted, or nic.ErrNoInterface.
func (l *Loaded) Attach() error {
	if err := l.mayAttach(); err != nil {
		return err
	}
	return l.take((*load).look, (*load).checkArrays, (*load).attachIt)
}

// Replace attaches the program in the place of another that this process has attached to
// the same interface, in one step: every packet is seen by the one or by the other. Afterwards
// nothing of the old one is attached, and Close releases it.
//
// Both are pinned, or both are not. What was attached stays if it fails. Returns an error wrapping
// ErrNotAttached if the other is not attached, or, if it is Unpinned, not there any more; ErrChanged
// if another is in its place, or, of what is pinned, none; and those of Attach.
func (l *Loaded) Replace(old *Loaded) error {
	if err := l.mayAttach(); err != nil {
		return err
	}
	was := old.Attachment
	if was == nil {
		return fmt.Errorf("%s: replace: %w", l.load.Interface, ErrNotAttached)
	}
	target, err := nic.ByName(l.load.Interface)
	switch {
	case err != nil:
		return err
	case target.Index != was.Index:
		return fmt.Errorf("%s: replace id %d: that is on another interface, %s", target.Interface, was.ProgramID, was.Interface)
	case l.load.Unpinned != (old.load.attached != nil):
		return fmt.Errorf("%s: replace id %d: the one is pinned, the other is Unpinned: both have to be the same", was.Interface, was.ProgramID)
	}
	if err := l.takeOver(old); err != nil {
		return err
	}
	old.letGo()
	return nil
}

// letGo forgets an attachment that is none any more, or another's link. What was pinned said so
// in its record: that of who may attach the program next comes in its place. That this fails, as
// after Close, is nothing to what is attached.
func (l *Loaded) letGo() {
	if !l.load.Unpinned {
		_ = l.load.bindOwn()
	}
	l.Attachment, l.load.attachment, l.load.attached = nil, nil, nil
}

func (l *Loaded) takeOver(old *Loaded) error {
	if l.load.Unpinned {
		return l.take(func(new *load) error { return new.replaceUnpinned(old.load) })
	}
	before := l.load.Options.Replace
	defer func() { l.load.Options.Replace, l.load.expected = before, 0 }()
	l.load.Options.Replace, l.load.expected = true, old.Attachment.ProgramID
	return l.take((*load).look, (*load).checkArrays, (*load).attachIt)
}

// mayAttach reports why there is nothing to attach.
func (l *Loaded) mayAttach() error {
	switch {
	case l.load.Interface == "":
		return errors.New("attach: the object was loaded without an interface: name it in Options.Interface")
	case l.Attachment != nil:
		return fmt.Errorf("%s: program id %d is attached already", l.Attachment.Interface, l.Attachment.ProgramID)
	}
	return nil
}

// take takes steps with what is loaded. If one fails, it stays loaded.
func (l *Loaded) take(steps ...func(*load) error) error {
	l.load.undo = nil
	if _, err := l.load.take(steps...); err != nil {
		l.load.attachment = nil
		return err
	}
	l.note()
	return nil
}

// note tells the caller what is attached now.
func (l *Loaded) note() {
	l.Attachment, l.Pinned, l.ForMaps, l.Replaced = l.load.attachment, l.load.pinned, l.load.forMaps, 0
	if l.load.present != nil {
		l.Replaced = l.load.present.id
	}
}

// Detach takes the program off its interface, and what is pinned of the attachment with it.
// It stays loaded, and can be attached again. Maps that are pinned by name stay.
//
// Returns an error wrapping ErrNotAttached if the program is not attached any more, or
// ErrPrivileges.
func (l *Loaded) Detach() error {
	if l.Attachment == nil {
		return fmt.Errorf("detach: %w", ErrNotAttached)
	}
	attachment := l.Attachment
	if l.load.attached == nil {
		err := UnloadProgram(attachment.ProgramID)
		if err == nil || errors.Is(err, ErrNotAttached) {
			l.letGo()
		}
		return err
	}
	err := l.load.attached.Detach()
	l.closeLink()
	if errors.Is(err, unix.ENOLINK) {
		err = ErrNotAttached
	}
	if err != nil {
		return fmt.Errorf("%s: detach id %d: %w", attachment.Interface, attachment.ProgramID, explainPermission(err))
	}
	return nil
}

// Close releases the programs and maps. What is attached or pinned stays, but for what is
// attached with Options.Unpinned, which is taken off.
func (l *Loaded) Close() {
	l.closeLink()
	l.Collection.Close()
	for _, other := range l.With {
		other.Close()
	}
}

// all returns it, and those of With.
func (l *Loaded) all() []*Loaded { return append([]*Loaded{l}, l.With...) }

func (l *Loaded) closeLink() {
	if l.load.attached != nil {
		l.load.attached.Close()
		l.load.attached, l.load.attachment, l.Attachment = nil, nil, nil
	}
}

// attachUnpinned attaches the program by a link that nothing pins.
func (l *load) attachUnpinned() (*Attachment, error) {
	target, err := nic.ByName(l.Interface)
	if err != nil {
		return nil, err
	}
	if err := l.pins.checkVacant(target.Interface, l.at); err != nil {
		return nil, err
	}
	program := l.collection.Programs[l.Program]
	attachment, err := l.recordUnpinned(target, program)
	if err != nil {
		return nil, err
	}
	if err := l.replacePrograms(); err != nil {
		return nil, err
	}
	if l.attached, err = l.link(target, program); err != nil {
		return nil, l.explainNoLink(target, program, err)
	}
	attached := l.attached
	l.undo.later(func() {
		attached.Close()
		l.attached, l.attachment = nil, nil
	})
	return attachment, attachment.noteLink(attached)
}

// replaceUnpinned has the link of another load attach this one's program.
func (l *load) replaceUnpinned(old *load) error {
	target, err := nic.ByName(l.Interface)
	if err != nil {
		return err
	}
	program, before := l.collection.Programs[l.Program], old.collection.Programs[old.Program]
	name := fmt.Sprintf("%s: replace id %d", target.Interface, old.attachment.ProgramID)
	if l.at != old.at {
		return fmt.Errorf("%s: it is for %s, and a program for %s can't replace it", name, old.at, l.at)
	}
	if l.linkMode() != old.linkMode() {
		return fmt.Errorf("%s: it is in %s mode, and a program in %s mode can't replace it", name, old.linkMode(), l.linkMode())
	}
	if err := checkBound(target, l.spec.Programs[l.Program]); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	attachment, err := l.recordUnpinned(target, program)
	if err != nil {
		return err
	}
	if err := l.replacePrograms(); err != nil {
		return err
	}
	if err := updateLink(old.attached, before, program); err != nil {
		return explainUpdate(name, err)
	}
	awaitPackets() // which are in a program whose arrays may be emptied by Close
	attachment.LinkID = old.attachment.LinkID
	l.attached, l.attachment, l.present = old.attached, attachment, &present{id: old.attachment.ProgramID}
	return nil
}

// recordUnpinned has the program hold its record, and returns what attaching it will make.
func (l *load) recordUnpinned(target *nic.Target, program *ebpf.Program) (*Attachment, error) {
	if l.record == nil {
		if err := l.bindRecords(); err != nil {
			return nil, err
		}
	}
	info, err := program.Info()
	if err != nil {
		return nil, err
	}
	id, err := idOf(program)
	if err != nil {
		return nil, err
	}
	return newOwnAttachment(target, l.at, l.linkMode(), id, info, l.Program, l.record), nil
}

// explainUpdate says why the kernel did not update a link that this process has.
func explainUpdate(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOLINK):
		return fmt.Errorf("%s: %w any more: the link was detached, or its interface is gone", name, ErrNotAttached)
	case errors.Is(err, unix.EPERM): // BPF_F_REPLACE found another program
		return fmt.Errorf("%s: %w: the link attaches another program", name, ErrChanged)
	}
	return fmt.Errorf("%s, which stays: %w", name, err)
}

// noteLink notes the link of an attachment that nothing pins.
func (a *Attachment) noteLink(attached link.Link) error {
	info, err := attached.Info()
	if err == nil {
		a.LinkID = info.ID
	}
	return err
}

// checkArrays wants program arrays that are pinned by name to be nobody else's by now, and has
// them filled once more: since the load others may have used them.
func (l *load) checkArrays() error {
	present := ebpf.ProgramID(0)
	if l.present != nil {
		present = l.present.id
	}
	if len(l.renewed) > 0 && present != l.seen {
		return l.changedArray(l.renewed[0], present)
	}
	for i := range l.arrays {
		a := &l.arrays[i]
		if !slices.ContainsFunc(l.pinned, func(m PinnedMap) bool { return m.Name == a.name && m.Path == l.shown(a.name) }) {
			continue
		}
		if err := l.lockPins(); err != nil {
			return err
		}
		user, err := l.userOf(l.collection.Maps[a.name])
		if err != nil {
			return fmt.Errorf("map %s: %w", a.name, err)
		}
		if user != 0 && user != present {
			return l.changedArray(a.name, user)
		}
		a.reused = true
	}
	return nil
}

func (l *load) changedArray(name string, user ebpf.ProgramID) error {
	now := "none is there"
	if user != 0 {
		now = "there is " + programTitle(user)
	}
	return fmt.Errorf("%s: %w, to which program array %s, which is pinned by name, belongs: when the object was loaded it was id %d, now %s: load it again",
		l.Interface, ErrChanged, name, l.seen, now)
}

// checkUnpinned refuses what needs pins.
func (o *Options) checkUnpinned() error {
	if o.Unpinned && (o.Replace || o.Force) {
		return errors.New("options Unpinned and Replace: what is attached by a pinned link is not replaced by what goes with the process: Unload it, or see Loaded.Replace")
	}
	return nil
}

// checkUnpinnedArrays refuses program arrays that would outlive an attachment: another load
// would not know that they are in use.
func (l *load) checkUnpinnedArrays() error {
	if !l.Unpinned || l.Interface == "" {
		return nil
	}
	for _, name := range l.named {
		if l.spec.Maps[name].Type == ebpf.ProgramArray {
			return fmt.Errorf("program array %s is to be pinned by its name, and lasts, and the attachment is Unpinned, and does not: take LIBBPF_PIN_BY_NAME off it", name)
		}
	}
	return nil
}

// setVariables sets the variables of a specification.
func (o *Options) setVariables(spec *ebpf.CollectionSpec) error {
	for _, name := range slices.Sorted(maps.Keys(o.Variables)) {
		variable := spec.Variables[name]
		if variable == nil {
			return fmt.Errorf("no variable of the name %s in the object: there is %s", name,
				cmp.Or(strings.Join(slices.Sorted(maps.Keys(spec.Variables)), ", "), "none"))
		}
		if err := variable.Set(o.Variables[name]); err != nil {
			return fmt.Errorf("variable %s, of %d bytes: %w", name, variable.Size(), err)
		}
	}
	return nil
}

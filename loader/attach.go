//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

var (
	// ErrNoProgram is wrapped by the error about an object that has no program
	// to attach.
	ErrNoProgram = errors.New("no program to attach")

	// ErrSeveralPrograms is wrapped by the error about an object of which
	// Options.Program has to name one.
	ErrSeveralPrograms = errors.New("several programs to attach")

	// ErrOccupied is wrapped by the error about an interface that has an XDP
	// program already, or a program of this package's where the one of TC would be.
	ErrOccupied = errors.New("already has an XDP program")

	// ErrNoNative is wrapped by the error about an interface whose driver
	// can't run XDP programs itself.
	ErrNoNative = errors.New("no native XDP")
)

// hookSections are the hooks, and the sections of programs for them.
var hookSections = []struct {
	Hook
	sections string
}{
	{XDP, `SEC("xdp")`},
	{Ingress, `SEC("tc"), SEC("tcx/ingress")`},
	{Egress, `SEC("tcx/egress")`},
}

// sectionsFor lists the sections of programs for hooks.
func sectionsFor(hooks []Hook) string {
	var list []string
	for _, at := range hookSections {
		if slices.Contains(hooks, at.Hook) {
			list = append(list, at.sections)
		}
	}
	return strings.Join(list, ", ")
}

// anyHook are all hooks.
var anyHook = []Hook{XDP, Ingress, Egress}

// chooseProgram returns the name of the program to attach to one of some hooks, and where:
// wanted, or the only one there is if that is empty, apart from those that others tail-call and
// those that are marked as optional.
func chooseProgram(spec *ebpf.CollectionSpec, wanted string, hooks []Hook) (string, Hook, error) {
	var names []string
	for name, program := range spec.Programs {
		if slices.Contains(hooks, HookOf(program)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)

	switch {
	case len(names) == 0:
		return "", "", fmt.Errorf(`%w: it is one in %s, and this object has %s`, ErrNoProgram, sectionsFor(hooks), sections(spec))
	case slices.Contains(names, wanted):
		return wanted, HookOf(spec.Programs[wanted]), nil
	case wanted != "":
		return "", "", fmt.Errorf("%w of the name %s: there is %s", ErrNoProgram, wanted, strings.Join(names, ", "))
	}
	all := names
	if len(names) > 1 {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return isOptional(spec.Programs[name]) || isCalled(spec, name) })
	}
	if len(names) != 1 {
		return "", "", fmt.Errorf("%w: choose one of %s: --program NAME", ErrSeveralPrograms, strings.Join(all, ", "))
	}
	return names[0], HookOf(spec.Programs[names[0]]), nil
}

// sections lists the programs of an object with their sections.
func sections(spec *ebpf.CollectionSpec) string {
	if len(spec.Programs) == 0 {
		return "no programs"
	}
	var list []string
	for name, program := range spec.Programs {
		list = append(list, fmt.Sprintf("%s in SEC(%q)", name, program.SectionName))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// attach attaches the program to the interface, in the place of what was there when the
// load looked. What it needs is pinned before; the attachment is the last step: until then
// everything goes away with the process, or is swept away later.
func (l *load) attach() (*Attachment, error) {
	target, err := nic.ByName(l.Interface)
	if err != nil {
		return nil, err
	}
	if err := l.lockPins(); err != nil {
		return nil, err
	}
	if err := l.checkUnchanged(target.Interface); err != nil {
		return nil, err
	}
	program := l.collection.Programs[l.Program]
	info, err := program.Info()
	if err != nil {
		return nil, fmt.Errorf("%s: program %s: %w", l.Interface, l.Program, err)
	}
	record, err := l.newRecord(target)
	if err != nil {
		return nil, err
	}
	id, ok := info.ID()
	if !ok {
		return nil, errUnnumbered
	}
	if err := l.pinNeeded(program, id, record); err != nil {
		return nil, fmt.Errorf("%s: %w", l.Interface, err)
	}
	// Before the first packet, which must not get to programs for another layout.
	if err := l.replacePrograms(); err != nil {
		return nil, err
	}
	pin, err := l.attachOrReplace(target, program)
	if err != nil {
		return nil, err
	}
	mode := l.modeOf(pin)
	l.note("attached", "program", l.Program, "id", id, "hook", l.at, "mode", mode, "link", pin.link)
	return newAttachment(pin, target, mode, info, l.Program, record), nil
}

func (l *load) attachOrReplace(target *nic.Target, program *ebpf.Program) (*pinnedAttachment, error) {
	if l.present != nil {
		return l.replace(target, program)
	}
	attached, err := l.link(target, program)
	if errors.Is(err, errNoLink) {
		return l.attachWithoutLink(target, program)
	}
	if err != nil {
		return nil, err
	}
	// Once it is pinned, the link does not need this process any more.
	l.closeLater = append(l.closeLater, attached)
	l.undo.later(func() { _ = attached.Detach() })
	pin, err := l.pins.pinLink(attached)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Interface, err)
	}
	l.undo.later(func() { _ = os.Remove(l.pins.path(linkPinsName, pinName(pinOfLink, pin.link))) })
	return pin, nil
}

// link attaches the program by a link. It wraps errNoLink if there is none to be had.
func (l *load) link(target *nic.Target, program *ebpf.Program) (link.Link, error) {
	if l.at == XDP {
		return l.linkXDP(target, program)
	}
	return l.linkTC(target, program)
}

func (l *load) linkXDP(target *nic.Target, program *ebpf.Program) (link.Link, error) {
	attached, err := link.AttachXDP(link.XDPOptions{
		Program:   program,
		Interface: target.Index,
		Flags:     l.mode().flag(),
	})
	switch {
	case err == nil:
		return attached, nil
	case hasNoLink(err):
		return nil, fmt.Errorf("%w: %w", errNoLink, err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		// Somebody else was faster.
		if occupied := l.pins.checkVacant(target.Interface, XDP); occupied != nil {
			return nil, occupied
		}
	}
	return nil, l.explainAttach(target, program, err)
}

// pinNeeded pins the program, the maps that it needs, and what it was rewritten for.
func (l *load) pinNeeded(program *ebpf.Program, id ebpf.ProgramID, record *Record) error {
	l.undo.later(func() { l.pins.remove(id) })
	if l.record != nil { // it stays loaded, for the caller to attach
		l.undo.later(func() { _ = l.bindOwn() })
	}
	if err := l.pins.pinProgram(id, program, l.Program); err != nil {
		return err
	}
	needed := make(map[string]*ebpf.Map)
	for name := range l.needed.maps {
		needed[name] = l.collection.Maps[name]
	}
	paths, err := l.pins.pinMaps(id, needed)
	if err != nil {
		return err
	}
	l.notePinned(paths)
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		l.note("map is pinned", "map", name, "pin", paths[name])
	}
	if err := l.pinForMaps(id); err != nil {
		return err
	}
	return l.pins.bindRecord(program, id, record)
}

var errUnnumbered = errors.New("the kernel does not number its programs")

// idOf returns the kernel's number of a program.
func idOf(program *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := program.Info()
	if err != nil {
		return 0, fmt.Errorf("number of the program: %w", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, errUnnumbered
	}
	return id, nil
}

// notePinned notes where the maps are pinned that are not pinned by name.
func (l *load) notePinned(paths map[string]string) {
	for _, m := range l.pinned {
		delete(paths, m.Name)
	}
	for name, path := range paths {
		l.pinned = append(l.pinned, PinnedMap{Name: name, Path: path, Taken: l.taken[name]})
	}
	slices.SortFunc(l.pinned, func(a, b PinnedMap) int { return strings.Compare(a.Name, b.Name) })
}

func driverName(target *nic.Target) string {
	if target.Driver == "" {
		return "its driver"
	}
	return "driver " + target.Driver
}

// checkVacant reports a program that is in the way of one at a hook.
func (d *pinDir) checkVacant(iface string, at Hook) error {
	there, ours, skipped, err := d.lookAt(iface, at)
	if err != nil || len(there.programs) == 0 {
		return err
	}
	return cmp.Or(there.unclear(ours, skipped), there.occupied(ours))
}

// occupied says which program is there, that it is this package's if there is an attachment
// of that, and how to take it off.
func (h *hook) occupied(ours *pinnedAttachment) error {
	if ours == nil {
		return fmt.Errorf("%s %w: %s, not attached by xdp-load: to take it off, %s",
			h.name, h.occupiedError(), programTitle(h.programs[0].id), h.howToDetach())
	}
	return fmt.Errorf("%s %w: %s, attached by xdp-load: to take it off, xdp-load unload --iface %s; to have another in its place without a packet in between, --replace",
		h.name, h.occupiedError(), ours.title(), h.name)
}

// occupiedError is ErrOccupied in the words for a hook.
func (h *hook) occupiedError() error {
	if h.at == XDP {
		return ErrOccupied
	}
	return occupiedTC(h.at)
}

// occupiedTC is ErrOccupied of a hook of TC.
type occupiedTC Hook

func (at occupiedTC) Error() string { return "already has a program at tc " + string(at) }

func (at occupiedTC) Is(other error) bool { return other == ErrOccupied }

// unclear says that a program that is there may be this package's, if there are pins that
// can't be looked at and none that can be is of it. It wraps ErrOccupied.
func (h *hook) unclear(ours *pinnedAttachment, skipped []error) error {
	skipped = uncertain(skipped)
	if ours != nil || len(skipped) == 0 || len(h.programs) == 0 {
		return nil
	}
	return fmt.Errorf("%s %w: %s, and whether it was attached by xdp-load can't be told: %w", h.name, h.occupiedError(), programTitle(h.programs[0].id), skipped[0])
}

// uncertain returns those reasons to pass over a pin after which it may be this package's.
func uncertain(skipped []error) []error {
	isCertain := func(reason error) bool { return errors.Is(reason, errNotMade) || errors.Is(reason, ErrUntrusted) }
	return slices.DeleteFunc(slices.Clone(skipped), isCertain)
}

// title names the program that a link attaches for messages.
func (p *pinnedAttachment) title() string {
	program, name, err := p.openProgram()
	if err != nil {
		return programTitle(p.program)
	}
	program.Close()
	return fmt.Sprintf("id %d %q", p.program, name)
}

// programTitle names a program for messages.
func programTitle(id ebpf.ProgramID) string {
	if info, err := programInfo(id); err == nil {
		return fmt.Sprintf("id %d %q", id, programName(info))
	}
	return fmt.Sprintf("id %d", id)
}

// howToDetach returns the command that detaches a foreign program: one attached
// by a link can't be detached by anything but that link, one without a link only in
// the mode that it was attached in. What libxdp has pinned of a dispatcher's programs it takes
// away itself.
func (h *hook) howToDetach() string {
	switch first := h.programs[0]; {
	case first.mode == Clsact:
		return fmt.Sprintf("tc filter show dev %s %s, and tc filter del", h.name, h.at)
	case first.mode == TCX && first.link == 0:
		return fmt.Sprintf("bpftool net detach tcx_%s dev %s", h.at, h.name)
	}
	if h.at == XDP && h.runsDispatcher() {
		return fmt.Sprintf("xdp-loader unload %s --all", h.name)
	}
	if id, err := h.foreignLink(); err == nil && id != 0 {
		return fmt.Sprintf("bpftool link detach id %d", id)
	}
	return fmt.Sprintf("ip link set dev %s %s off", h.name, h.programs[0].mode.iproute2())
}

// foreignLink returns the link that attaches a program to the interface, 0 if there is
// none. Elsewhere the same program may have a link, too. It takes CAP_SYS_ADMIN.
func (h *hook) foreignLink() (link.ID, error) { return h.linkOf(h.programs[0].id) }

func (h *hook) linkOf(program ebpf.ProgramID) (link.ID, error) {
	if h.at != XDP {
		at := slices.IndexFunc(h.programs, func(p hookedProgram) bool { return p.id == program })
		return h.programs[at].link, nil
	}
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		info, err := links.Link.Info()
		if err == nil && info.Type == link.XDPType && info.Program == program && int(info.XDP().Ifindex) == h.index {
			return links.ID, nil
		}
	}
	return 0, links.Err()
}

//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

var (
	// ErrChanged is wrapped by the error about an interface on which there is another
	// program than the one that was to be replaced.
	ErrChanged = errors.New("another program has come in the meantime")

	// ErrBoundElsewhere is wrapped by the error about a program that is bound to another
	// device than the one whose program it was to replace.
	ErrBoundElsewhere = errors.New("bound to another device")
)

// present is the program that is to be replaced.
type present struct {
	id   ebpf.ProgramID
	link link.ID           // 0 if it is attached without one
	ours *pinnedAttachment // nil if it is somebody else's
}

// look finds what is on the interface, and whether it may be replaced.
func (l *load) look() error {
	if l.present = nil; l.Interface == "" {
		return nil
	}
	there, err := hookByName(l.Interface, l.at)
	if err != nil {
		return err
	}
	if len(there.programs) == 0 {
		return l.checkExpected(there, 0)
	}
	return withPins(func(pins *pinDir) error {
		// Once more, as it may be another by now.
		there, ours, skipped, err := pins.lookAt(l.Interface, l.at)
		if err != nil {
			return err
		}
		if len(there.programs) == 0 {
			return l.checkExpected(there, 0)
		}
		if err := there.unclear(ours, skipped); err != nil {
			return err
		}
		if l.present, err = l.mayReplace(there, ours); err != nil {
			return err
		}
		if l.collection == nil {
			l.seen = l.present.id
		}
		return l.checkExpected(there, l.present.id)
	})
}

// mayReplace returns what is to be replaced on an interface that has a program, maybe ours.
func (l *load) mayReplace(there *hook, ours *pinnedAttachment) (*present, error) {
	program := there.programs[0]
	switch {
	case ours != nil && !l.isMode(there.modeOf(ours.program)):
		return nil, fmt.Errorf("%s %w: %s, attached by xdp-load in %s mode, which a program in %s mode can't replace: xdp-load unload %[1]s first",
			there.name, there.occupiedError(), ours.title(), there.modeOf(ours.program), l.mode())
	case !l.Replace:
		return nil, there.occupied(ours)
	case ours != nil && ours.isAway():
		return nil, fmt.Errorf("%s %w: id %d, which is there for a while in place of id %d, attached by xdp-load: wait for the process that has put it there, or xdp-load unload %[1]s",
			there.name, ErrOccupied, ours.program, ours.home)
	case ours != nil:
		return &present{ours.program, ours.link, ours}, nil
	case len(there.programs) > 1 || program.mode != Native || l.mode() != Native:
		return nil, fmt.Errorf("%s %w: %s, not attached by xdp-load, which is not replaced in the mode that it is in, %s: to take it off, %s",
			there.name, ErrOccupied, programTitle(program.id), there.modes(), there.howToDetach())
	case !l.Force:
		return nil, fmt.Errorf("%s %w: %s, not attached by xdp-load: to replace it nevertheless, --force; to take it off, %s",
			there.name, ErrOccupied, programTitle(program.id), there.howToDetach())
	}
	foreign, err := there.foreignLink()
	if err != nil {
		return nil, fmt.Errorf("%s: look for the link of %s: %w", there.name, programTitle(program.id), err)
	}
	return &present{program.id, foreign, nil}, nil
}

// checkUnchanged wants on the interface what was there when the load looked.
func (l *load) checkUnchanged(iface string) error {
	if l.present == nil {
		return l.pins.checkVacant(iface, l.at)
	}
	there, _, _, err := l.pins.lookAt(iface, l.at)
	if err != nil {
		return err
	}
	if len(there.programs) == 0 || there.programs[0].id != l.present.id {
		return there.changed(l.present.id)
	}
	return nil
}

// changed says what is on the interface instead of a program that was there before.
func (h *hook) changed(before ebpf.ProgramID) error {
	now := "there is none"
	if len(h.programs) > 0 {
		now = "there is " + programTitle(h.programs[0].id)
	}
	return fmt.Errorf("%s: %w: to be replaced was id %d, %s now: try again", h.name, ErrChanged, before, now)
}

// replace puts the program in the place of the present one.
func (l *load) replace(target *nic.Target, program *ebpf.Program) (*pinnedAttachment, error) {
	if err := checkBound(target, l.spec.Programs[l.Program]); err != nil {
		return nil, fmt.Errorf("%s: replace id %d: %w", target.Interface, l.present.id, err)
	}
	old, err := l.openPresent()
	if err != nil {
		return nil, fmt.Errorf("%s: the program to be replaced, id %d: %w", target.Interface, l.present.id, err)
	}
	l.closeLater = append(l.closeLater, old)
	// Else the program would stay, and nothing tell of it, if this process is killed.
	if err := l.pins.publish(); err != nil {
		return nil, fmt.Errorf("%s: %w", target.Interface, err)
	}
	if l.present.link == 0 {
		return l.replaceOnHook(target, program, old)
	}
	return l.replaceOnLink(target, program, old)
}

// openPresent opens the program to be replaced. That of others takes CAP_SYS_ADMIN.
func (l *load) openPresent() (*ebpf.Program, error) {
	if l.present.ours != nil {
		pin := pinnedAttachment{home: l.present.id}
		program, _, err := pin.openProgram()
		return program, err
	}
	return ebpf.NewProgramFromID(l.present.id)
}

// replaceOnLink updates the link that attaches the present program, if it still does
// (BPF_F_REPLACE of BPF_LINK_UPDATE). The link of somebody else is pinned with it.
func (l *load) replaceOnLink(target *nic.Target, program, old *ebpf.Program) (*pinnedAttachment, error) {
	id := l.present.link
	attached, err := l.openPresentLink()
	if err != nil {
		return nil, fmt.Errorf("%s: open link %d: %w", target.Interface, id, err)
	}
	l.closeLater = append(l.closeLater, attached)
	if l.present.ours == nil {
		if err := l.pins.take(attached, id); err != nil {
			return nil, fmt.Errorf("%s: pin link %d: %w", target.Interface, id, err)
		}
		l.undo.later(func() { l.pins.letGo(id) })
	}
	if err := updateLink(attached, old, program); err != nil {
		return nil, l.explainReplace(target, attached, err)
	}
	l.undo.later(func() { _ = updateLink(attached, program, old) })
	if l.present.ours == nil && !l.pins.finishTaking(id) {
		return nil, fmt.Errorf("%s: link %d, which was another's, can't be pinned", target.Interface, id)
	}
	pin, err := newPinnedLink(attached)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target.Interface, err)
	}
	return pin, nil
}

func (l *load) openPresentLink() (link.Link, error) {
	if l.present.ours != nil {
		return openLink(l.present.link)
	}
	return link.NewFromID(l.present.link)
}

// updateLink has a link attach another program than the one that it does.
func updateLink(attached link.Link, old, program *ebpf.Program) error {
	xdp, ok := attached.(interface {
		UpdateArgs(link.RawLinkUpdateOptions) error
	})
	if !ok {
		return fmt.Errorf("a link of type %T", attached)
	}
	return xdp.UpdateArgs(link.RawLinkUpdateOptions{New: program, Old: old, Flags: unix.BPF_F_REPLACE})
}

// replaceOnHook replaces a program that is attached without a link, with which the kernel
// lets no link change places (dev_xdp_attach in net/core/dev.c).
func (l *load) replaceOnHook(target *nic.Target, program, old *ebpf.Program) (*pinnedAttachment, error) {
	id, err := idOf(program)
	if err != nil {
		return nil, err
	}
	pin := &pinnedAttachment{program: id, home: id, at: l.at, ifindex: target.Index, mode: l.mode()}
	if l.present.ours != nil {
		pin.mode, pin.qdisc = l.present.ours.mode, l.present.ours.qdisc
	}
	if err := l.pins.pinHook(pin); err != nil {
		return nil, fmt.Errorf("%s: %w", target.Interface, err)
	}
	if err := pin.putInPlaceOf(old, program); err != nil {
		return nil, l.explainReplace(target, nil, err)
	}
	l.undo.later(func() { _ = pin.putInPlaceOf(program, old) })
	return pin, nil
}

// explainReplace says why the kernel did not replace the program. Other than netlink, an
// update of a link gives no driver's reason.
func (l *load) explainReplace(target *nic.Target, attached link.Link, err error) error {
	there, _, _, hookErr := l.pins.lookAt(target.Interface, l.at)
	switch {
	case hookErr != nil:
		return hookErr
	case len(there.programs) == 0 || there.programs[0].id != l.present.id:
		return there.changed(l.present.id)
	case errors.Is(err, os.ErrPermission), l.at != XDP:
		return fmt.Errorf("%s: replace id %d, which stays: %w", target.Interface, l.present.id, withReason(err))
	case l.present.ours == nil && attached != nil && errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s: replace id %d, which stays: the kernel updates its link only with a program of the same attach type, which BPF_XDP is not: to take it off, %s: %w",
			target.Interface, l.present.id, there.howToDetach(), err)
	case attached == nil:
		if reason := kernelsReason(err); reason != "" {
			return fmt.Errorf("%s: replace id %d: %s%s: %w", target.Interface, l.present.id, reason, attachRemedy(target, l.spec.Programs[l.Program], reason), err)
		}
	}
	return fmt.Errorf("%s: replace id %d, which stays: %s refuses, and does not say why, as it would on an interface that has no program: %w",
		target.Interface, l.present.id, driverName(target), err)
}

// retire lets go of what was replaced, once no packet is in it any more.
func (l *load) retire() {
	awaitPackets()
	l.repinRenewed()
	l.pins.remove(l.present.id)
	l.note("let go of what was replaced", "id", l.present.id)
}

// repinRenewed pins by name the program arrays that took the place of those of the
// replaced program. That it fails is nothing to the packets: only the name is another's.
func (l *load) repinRenewed() {
	for _, name := range l.renewed {
		if err := l.pins.repin(l.collection.Maps[name], l.present.id, name, l.mapPin(name)); err != nil {
			continue
		}
		at := slices.IndexFunc(l.pinned, func(m PinnedMap) bool { return m.Name == name })
		l.pinned[at].Path = l.shown(name)
	}
}

// repin pins a map in the place of another, which is pinned by name.
func (d *pinDir) repin(m *ebpf.Map, replaced ebpf.ProgramID, name, path string) error {
	dir := d.path(linkPinsName, pinName(pinsByName, replaced))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	onItsWay := dir + "/" + mapPinName(name)
	if err := pinAgain(m, onItsWay); err != nil {
		return err
	}
	err := os.Rename(onItsWay, path)
	if errors.Is(err, unix.EXDEV) { // another bpffs
		_ = os.Remove(path)
		err = pinAgain(m, path)
	}
	return err
}

// take pins a link of somebody else, for as long as finishTaking leaves it.
func (d *pinDir) take(attached link.Link, id link.ID) error {
	return attached.Pin(d.path(linkPinsName, pinName(pinOfTaken, id)))
}

// finishTaking makes a link that was another's this package's, and reports that, if it
// attaches a program of this package's. If it does not yet, or not any more, it is let go.
func (d *pinDir) finishTaking(id link.ID) bool {
	path := d.path(linkPinsName, pinName(pinOfTaken, id))
	taken, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return false
	}
	defer taken.Close()
	pin, err := newPinnedLink(taken)
	if err != nil || !exists(d.path(linkPinsName, pinName(pinsOfPrograms, pin.program))) {
		_ = os.Remove(path)
		return false
	}
	return os.Rename(path, d.path(linkPinsName, pinName(pinOfLink, id))) == nil
}

// letGo leaves a link to whom it belongs.
func (d *pinDir) letGo(id link.ID) {
	for _, kind := range kindsOfLink {
		_ = os.Remove(d.path(linkPinsName, pinName(kind, id)))
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Unload detaches what this package has attached to an interface in the network namespace
// of the calling thread: an XDP program, programs of TC. Maps that were pinned by name stay, as
// with other loaders.
//
// Returns an error wrapping ErrNotAttached if there is nothing, ErrPrivileges,
// or nic.ErrNoInterface.
func Unload(iface string) error {
	_, err := inLastingMounts(func() error {
		return withPins(func(pins *pinDir) error { return unload(iface, pins) })
	})
	return explainPermission(err)
}

func unload(iface string, pins *pinDir) error {
	ours, skipped, err := pins.attachments() // first: it may put a program back
	if err != nil {
		return err
	}
	hooks, err := hooksByName(iface)
	if err != nil {
		return err
	}
	detached := false
	var unseen error
	for i := range hooks {
		unseen = cmp.Or(unseen, hooks[i].checkSeen(ours))
		at := slices.IndexFunc(ours, hooks[i].runs)
		if at < 0 {
			continue
		}
		if err := pins.detach(&ours[at]); err != nil {
			return fmt.Errorf("%s: %w", iface, err)
		}
		detached = true
	}
	if detached || unseen != nil {
		return unseen
	}
	for i := range hooks {
		elsewhere, err := hooks[i].detachPinnedElsewhere()
		if err != nil {
			return err
		}
		detached = detached || elsewhere
	}
	if !detached {
		return notOurs(hooks, skipped)
	}
	return nil
}

// joined returns an error with what may be the reason for it.
func joined(err error, reasons []error) error {
	return errors.Join(append([]error{err}, reasons...)...)
}

// notOurs says of the hooks of an interface that there is nothing to unload, and what is there
// instead, or that this can't be told for the pins that were skipped.
func notOurs(hooks []hook, skipped []error) error {
	for i := range hooks {
		h := &hooks[i]
		if len(h.programs) == 0 {
			continue
		}
		there := fmt.Errorf("%s: %w: to take off %s, which is there, %s", h.name, ErrNotAttached, programTitle(h.programs[0].id), h.howToDetach())
		return cmp.Or(h.unclear(nil, skipped), joined(there, skipped))
	}
	return joined(fmt.Errorf("%s: %w, nor any other XDP or TC program", hooks[0].name, ErrNotAttached), skipped)
}

// detachPinnedElsewhere detaches a program of this package's whose pins are in another mount
// namespace: its record tells. There they are swept away by the next look. It takes
// CAP_SYS_ADMIN, without which it reports that there is none.
func (h *hook) detachPinnedElsewhere() (detached bool, err error) {
	for _, hooked := range h.programs {
		program, err := ebpf.NewProgramFromID(hooked.id)
		if err != nil {
			continue
		}
		record, err := RecordOf(program)
		program.Close()
		if err != nil || record.Owner != "" {
			continue
		}
		id, err := h.linkOf(hooked.id)
		if err != nil || id == 0 {
			continue
		}
		attached, err := link.NewFromID(id)
		if err != nil {
			return false, fmt.Errorf("%s: link %d: %w", h.name, id, err)
		}
		defer attached.Close()
		if err := attached.Detach(); err != nil {
			return false, fmt.Errorf("%s: link %d: %w", h.name, id, err)
		}
		return true, nil
	}
	return false, nil
}

// UnloadAll detaches what this package has attached to interfaces in the network namespace
// of the calling thread, and returns the names of these, and what else is pinned there that is
// not this package's. Interfaces that it fails for do not keep it from the others.
func UnloadAll() (unloaded []string, skipped []error, err error) {
	_, err = inLastingMounts(func() error {
		return withPins(func(pins *pinDir) (err error) {
			unloaded, skipped, err = unloadAll(pins)
			return err
		})
	})
	return unloaded, skipped, explainPermission(err)
}

func unloadAll(pins *pinDir) (unloaded []string, skipped []error, err error) {
	all, reasons, err := pins.attachments()
	if err != nil {
		return nil, nil, err
	}
	hooks, err := allHooks()
	if err != nil {
		return nil, nil, err
	}
	var failed []error
	for _, reason := range reasons {
		if errors.Is(reason, errNotMade) {
			skipped = append(skipped, reason)
		} else {
			failed = append(failed, reason)
		}
	}
	for _, there := range hooks {
		if err := there.checkSeen(all); err != nil {
			failed = append(failed, err)
		}
		at := slices.IndexFunc(all, there.runs)
		if at < 0 {
			continue
		}
		if err := pins.detach(&all[at]); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", there.name, err))
			continue
		}
		if !slices.Contains(unloaded, there.name) {
			unloaded = append(unloaded, there.name)
		}
	}
	return unloaded, skipped, errors.Join(failed...)
}

// UnloadProgram detaches the program of an ID, if this package has attached it, in whatever
// network namespace that is, also while a Watch has another in its place.
//
// Returns an error wrapping ErrNotAttached if it has not.
func UnloadProgram(id ebpf.ProgramID) error {
	_, err := inLastingMounts(func() error {
		return withPins(func(pins *pinDir) error { return unloadProgram(id, pins) })
	})
	return explainPermission(err)
}

func unloadProgram(id ebpf.ProgramID, pins *pinDir) error {
	if pins != nil {
		pins.everywhere = true
	}
	ours, skipped, err := pins.attachments()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(ours, func(pin pinnedAttachment) bool { return pin.home == id })
	if at < 0 {
		return joined(fmt.Errorf("program id %d: %w: xdp-load status --all lists those that are", id, ErrNotAttached), skipped)
	}
	pin := &ours[at]
	if pin.link != 0 {
		return pins.detach(pin)
	}
	found, err := inNetworkNamespace(pin.netns, func() error { return pins.detach(pin) })
	if err == nil && !found {
		pins.remove(id) // the interface is out of reach, and gone if its namespace is
	}
	return err
}

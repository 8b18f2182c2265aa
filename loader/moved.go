//go:build linux

package loader

import (
	"errors"
	"os"
	"slices"

	"github.com/cilium/ebpf"
)

// openAttachedHook returns an attachment without a link if it is still one, for all that
// can be seen from this network namespace. Its interface may have gone to another namespace
// since it was noted: a program stays on it then, and nothing but its number leads there.
func (d *pinDir) openAttachedHook(program ebpf.ProgramID) (*pinnedAttachment, error) {
	pin, err := openHook(program)
	if err != nil {
		return nil, err
	}
	own, err := ownNetworkNamespace()
	if err != nil {
		return nil, err
	}
	hooks, err := allHooks()
	if err != nil {
		return nil, err
	}
	isIt := func(h hook) bool { return h.index == pin.ifindex }
	switch isOfHere := pin.netns == own; {
	case slices.ContainsFunc(hooks, func(h hook) bool { return h.runs(*pin) }):
		return pin, nil
	case isOfHere && slices.ContainsFunc(hooks, isIt): // numbers are not given twice
		return nil, nil
	case isOfHere, d.everywhere, slices.ContainsFunc(hooks, func(h hook) bool { return h.modeOf(program) != "" }):
		return d.followHook(pin)
	}
	return pin, nil
}

// followHook looks everywhere for an attachment without a link, and notes where it is. It
// returns nil if it is nowhere, and not in a namespace that this process can't look at.
func (d *pinDir) followHook(pin *pinnedAttachment) (*pinnedAttachment, error) {
	var found []hook
	isLeft := false // of the namespace that it was in
	denied, err := eachNetworkNamespace(func(string) error {
		own, err := ownNetworkNamespace()
		if err != nil {
			return err
		}
		isLeft = isLeft || own == pin.netns
		hooks, err := allHooks()
		found = append(found, slices.DeleteFunc(hooks, func(h hook) bool { return h.modeOf(pin.program) == "" })...)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, os.ErrPermission):
		return nil, err
	case slices.ContainsFunc(found, func(h hook) bool { return h.runs(*pin) }):
	case len(found) > 0:
		pin.netns, pin.ifindex = found[0].netns, found[0].index
		d.noteAgain(pin)
	case err == nil && denied == 0 && isLeft:
		return nil, nil
	}
	return pin, nil
}

// noteAgain puts another note in the place of the one that says where a program is attached
// without a link. If that can't be done, the next look finds the place anew.
func (d *pinDir) noteAgain(pin *pinnedAttachment) {
	onItsWay := d.path(linkPinsName, pinName(pinsByName, pin.program))
	_ = os.Remove(onItsWay) // of a process that was killed
	if os.Symlink(pin.hookText(), onItsWay) == nil {
		_ = os.Rename(onItsWay, pin.path())
	}
}

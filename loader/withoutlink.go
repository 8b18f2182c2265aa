//go:build linux

package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

// Where the kernel has no links for a hook, rtnetlink(7) attaches the program: what is pinned
// says where, see pinHook.

// errNoLink is wrapped by the error about a program that no link can attach.
var errNoLink = errors.New("the kernel has no link to attach it by")

// hasNoLink reports whether an error of bpf(2) may say that. Before Linux 5.9, and 6.6 for TC,
// the kernel does not know what is asked for; a seccomp filter may forbid it.
func hasNoLink(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported)
}

// attachWithoutLink attaches the program over netlink.
func (l *load) attachWithoutLink(target *nic.Target, program *ebpf.Program) (*pinnedAttachment, error) {
	id, err := idOf(program)
	if err != nil {
		return nil, err
	}
	pin := &pinnedAttachment{program: id, home: id, at: l.at, ifindex: target.Index, mode: Clsact}
	if l.at == XDP {
		pin.mode = l.mode()
	} else if pin.qdisc, err = l.needsQdisc(target); err != nil {
		return nil, err
	}
	// Else the program would stay, and nothing tell of it, if this process is killed.
	if err := l.pins.publish(); err != nil {
		return nil, fmt.Errorf("%s: %w", target.Interface, err)
	}
	if err := l.pins.pinHook(pin); err != nil {
		return nil, fmt.Errorf("%s: %w", target.Interface, err)
	}
	l.undo.later(func() { _ = pin.takeOff(program) })
	switch err := pin.putOn(program); {
	case err == nil:
		return pin, nil
	case l.at == XDP:
		return nil, l.explainRefused(target, err, err)
	default:
		return nil, fmt.Errorf("%s: attach to clsact %s: %w", target.Interface, l.at, withReason(err))
	}
}

// needsQdisc reports whether the qdisc of an interface is this package's, or is going to be.
func (l *load) needsQdisc(target *nic.Target) (bool, error) {
	kinds, err := clsactInterfaces()
	switch kind := kinds[target.Index]; {
	case err != nil:
		return false, err
	case l.at == Egress && kind == ingressKind:
		return false, fmt.Errorf("%s: attach to clsact egress: the interface has a qdisc %q, which is for the way in only, and not both: tc qdisc del dev %[1]s ingress, with what is in it", target.Interface, kind)
	case kind == "":
		return true, nil
	}
	netns, err := ownNetworkNamespace()
	if err != nil {
		return false, err
	}
	all, _, err := l.pins.attachments()
	if err != nil {
		return false, err
	}
	for _, pin := range all {
		if pin.qdisc && pin.netns == netns && pin.ifindex == target.Index {
			return true, nil
		}
	}
	return false, nil
}

// putOn attaches a program, in TC behind the others. It fails if another XDP program is there.
func (p *pinnedAttachment) putOn(program *ebpf.Program) error {
	if p.at == XDP {
		return attachOverNetlink(p.ifindex, program, p.mode)
	}
	if p.qdisc {
		if err := addClsact(p.ifindex); err != nil {
			return err
		}
	}
	priority, err := behindOthers(p.ifindex, p.at)
	if err != nil {
		return err
	}
	return (&filter{ifindex: p.ifindex, at: p.at, priority: priority}).add(program)
}

// putInPlaceOf attaches a program in the place of another, in one step. That this is still
// there the kernel checks only of XDP programs.
func (p *pinnedAttachment) putInPlaceOf(old, program *ebpf.Program) error {
	if p.at == XDP {
		return replaceOverNetlink(p.ifindex, old, program, p.mode)
	}
	id, err := idOf(old)
	if err != nil {
		return err
	}
	f, err := filterOf(p.ifindex, p.at, id)
	if err != nil {
		return err
	}
	if f == nil {
		return ErrChanged
	}
	return f.replace(program)
}

// takeOff detaches a program, unless something else has done so, and removes the qdisc that was
// added for it.
func (p *pinnedAttachment) takeOff(program *ebpf.Program) error {
	if p.at == XDP {
		return detachOverNetlink(p.ifindex, program, p.mode)
	}
	f, err := filterOf(p.ifindex, p.at, p.program)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	if f != nil {
		if err := f.remove(); err != nil {
			return fmt.Errorf("remove filter: %w", withReason(err))
		}
	}
	p.removeQdisc()
	return nil
}

// removeQdisc removes the qdisc that was added for an attachment, if nothing is in it any more.
func (p *pinnedAttachment) removeQdisc() {
	if p.qdisc {
		removeEmptyClsact(p.ifindex)
	}
}

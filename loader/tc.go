//go:build linux

package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

// tcxTypes are what the kernel calls the hooks of TC that links are for.
var tcxTypes = map[Hook]ebpf.AttachType{Ingress: ebpf.AttachTCXIngress, Egress: ebpf.AttachTCXEgress}

// lookAtTC adds the programs of a hook of TC in the order in which they run: those that links
// attach, then those of the interface's qdisc, whose kind is empty if it has none.
func (h *hook) lookAtTC(qdisc string) error {
	linked, err := linkedAt(h.index, h.at)
	switch {
	case err == nil:
		for _, program := range linked.Programs {
			id, _ := program.LinkID()
			h.programs = append(h.programs, hookedProgram{id: program.ID, mode: TCX, link: id})
		}
	case !effective()[unix.CAP_NET_ADMIN]: // which cilium/ebpf takes for an old kernel
		h.denied = true
	case errors.Is(err, unix.EINVAL), errors.Is(err, ebpf.ErrNotSupported): // before Linux 6.6
	case errors.Is(err, unix.ENODEV): // it has gone since
	default:
		return err
	}
	if qdisc == "" || h.at == Egress && qdisc == ingressKind {
		return nil
	}
	filters, err := filtersAt(h.index, h.at)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) { // it, or the qdisc, has gone since
		return nil
	}
	for _, f := range filters {
		if f.program != 0 {
			h.programs = append(h.programs, hookedProgram{id: f.program, mode: Clsact})
		}
	}
	return err
}

// linkedAt returns the programs that links attach to a hook of TC. cilium/ebpf asks how many there
// are, and then which: if another has come in between, they do not fit.
func linkedAt(ifindex int, at Hook) (result *link.QueryResult, err error) {
	for range 10 {
		result, err = link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: tcxTypes[at]})
		if !errors.Is(err, unix.ENOSPC) {
			break
		}
	}
	return result, err
}

// linkTC attaches a program of TC by a link, behind those that are there.
func (l *load) linkTC(target *nic.Target, program *ebpf.Program) (link.Link, error) {
	if l.Mode == Clsact {
		return nil, errNoLink
	}
	attached, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: target.Index, Attach: tcxTypes[l.at]})
	switch {
	case err == nil:
		return attached, nil
	case l.Mode == "" && hasNoLink(err):
		return nil, fmt.Errorf("%w: %w", errNoLink, err)
	}
	remedy := ""
	if hasNoLink(err) {
		remedy = ": --mode clsact, or none, takes a filter"
	}
	return nil, fmt.Errorf("%s: attach to tcx %s: %w%s", target.Interface, l.at, err, remedy)
}

// withReason puts the kernel's reason in front of an error of netlink, if it gives one.
func withReason(err error) error {
	if reason := kernelsReason(err); reason != "" {
		return fmt.Errorf("%s: %w", reason, err)
	}
	return err
}

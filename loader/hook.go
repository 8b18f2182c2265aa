//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/rtnetlink"
	"github.com/xdp-load/xdp-load/nic"
)

// hook is a place for programs that an interface has: that of XDP, or one of the two of TC. Each
// takes one program of this package's. In TC those of others are beside it, in tcx or in clsact.
type hook struct {
	at       Hook
	name     string
	index    int
	netns    uint64          // inode number of the network namespace
	programs []hookedProgram // of XDP, native ones first; of TC, in the order in which they run
	denied   bool            // whether this process may not ask for those of tcx
}

// seat is where there can be one program of this package's.
type seat struct {
	iface string // the kernel's name of it
	at    Hook
}

// hookedProgram is a program on an interface.
type hookedProgram struct {
	id   ebpf.ProgramID
	mode Mode
	link link.ID // of tcx, 0 if there is none
}

// runs reports whether an attachment is that of the hook: whether this runs its
// program. The number of the interface is not enough: others have it in other network
// namespaces.
func (h *hook) runs(pin pinnedAttachment) bool {
	return h.at == pin.at && h.index == pin.ifindex && (pin.netns == 0 || pin.netns == h.netns) &&
		slices.ContainsFunc(h.programs, func(p hookedProgram) bool { return p.id == pin.program })
}

// errDenied is wrapped by the error about a hook of TC that this process can't look at.
var errDenied = errors.New("programs in tcx: to ask for them takes CAP_NET_ADMIN")

// checkSeen reports that one of some attachments may be the hook's, and that this process may not
// ask for what is there.
func (h *hook) checkSeen(pins []pinnedAttachment) error {
	mayBe := func(pin pinnedAttachment) bool { return pin.link != 0 && pin.at == h.at && pin.ifindex == h.index }
	if !h.denied || !slices.ContainsFunc(pins, mayBe) {
		return nil
	}
	return fmt.Errorf("%s: tc %s: %w", h.name, h.at, errDenied)
}

// modeOf returns the mode that a program on the interface is in, empty if it is not there.
func (h *hook) modeOf(program ebpf.ProgramID) Mode {
	for _, p := range h.programs {
		if p.id == program {
			return p.mode
		}
	}
	return ""
}

// modes lists the modes in which the interface has programs.
func (h *hook) modes() string {
	var modes []string
	for _, program := range h.programs {
		modes = append(modes, string(program.mode))
	}
	return strings.Join(modes, " and ")
}

// keepOnly leaves out the programs of TC that are not of an attachment, which may be nil: they
// are in nobody's way.
func (h *hook) keepOnly(ours *pinnedAttachment) {
	if h.at == XDP {
		return
	}
	h.programs = slices.DeleteFunc(h.programs, func(p hookedProgram) bool { return ours == nil || p.id != ours.program })
}

// hookByName returns a hook of an interface. It wraps nic.ErrNoInterface.
func hookByName(name string, at Hook) (*hook, error) {
	if at == XDP {
		return xdpHookByName(name)
	}
	hooks, err := hooksByName(name)
	if err != nil {
		return nil, err
	}
	found := slices.IndexFunc(hooks, func(h hook) bool { return h.at == at })
	return &hooks[found], nil
}

// hooksByName returns the hooks of an interface, that of XDP first. It wraps
// nic.ErrNoInterface.
func hooksByName(name string) ([]hook, error) {
	xdp, err := xdpHookByName(name)
	if err != nil {
		return nil, err
	}
	return withTC([]hook{*xdp})
}

func xdpHookByName(name string) (*hook, error) {
	netns, err := ownNetworkNamespace()
	if err != nil {
		return nil, err
	}
	found := &hook{at: XDP, netns: netns}
	if err := rtnetlink.Link(name, found.parse); err == nil {
		return found, nil
	}
	target, err := nic.ByName(name)
	if err != nil {
		return nil, err
	}
	hooks, err := xdpHooks()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(hooks, func(h hook) bool { return h.index == target.Index })
	if at < 0 {
		return nil, fmt.Errorf("%s: %w any more", name, nic.ErrNoInterface)
	}
	return &hooks[at], nil
}

// allHooks returns the hooks of all interfaces in the network namespace of the calling thread,
// by the number of the interface, that of XDP first.
func allHooks() ([]hook, error) {
	hooks, err := xdpHooks()
	if err != nil {
		return nil, err
	}
	return withTC(hooks)
}

// withTC adds the hooks of TC to those of XDP.
func withTC(hooks []hook) ([]hook, error) {
	qdiscs, err := clsactInterfaces()
	if err != nil {
		return nil, err
	}
	var all []hook
	for _, xdp := range hooks {
		all = append(all, xdp)
		for _, at := range []Hook{Ingress, Egress} {
			tc := hook{at: at, name: xdp.name, index: xdp.index, netns: xdp.netns}
			if err := tc.lookAtTC(qdiscs[xdp.index]); err != nil {
				return nil, fmt.Errorf("%s: %w", xdp.name, err)
			}
			all = append(all, tc)
		}
	}
	return all, nil
}

// xdpHooks returns the XDP hooks of all interfaces in the network namespace of the
// calling thread, by their number. It asks rtnetlink(7), since bpf(2) does not
// know about programs that are attached without a link.
func xdpHooks() ([]hook, error) {
	netns, err := ownNetworkNamespace()
	if err != nil {
		return nil, err
	}
	var hooks []hook
	err = rtnetlink.EachLink(func(index int, attributes *netlink.AttributeDecoder) error {
		h := hook{at: XDP, netns: netns}
		err := h.parse(index, attributes)
		hooks = append(hooks, h)
		return err
	})
	slices.SortFunc(hooks, func(a, b hook) int { return cmp.Compare(a.index, b.index) })
	return hooks, err
}

// parse reads an interface as rtnetlink(7) has it.
func (h *hook) parse(index int, attributes *netlink.AttributeDecoder) error {
	h.index = index
	for attributes.Next() {
		switch attributes.Type() {
		case unix.IFLA_IFNAME:
			h.name = attributes.String()
		case unix.IFLA_XDP:
			attributes.Nested(h.parsePrograms)
		}
	}
	return attributes.Err()
}

// parsePrograms reads the nested attributes of IFLA_XDP (rtnl_xdp_fill in
// net/core/rtnetlink.c).
func (h *hook) parsePrograms(attributes *netlink.AttributeDecoder) error {
	byMode := make(map[uint16]ebpf.ProgramID)
	for attributes.Next() {
		if len(attributes.Bytes()) == 4 { // the mode itself is a byte
			byMode[attributes.Type()] = ebpf.ProgramID(attributes.Uint32())
		}
	}
	for _, mode := range modes {
		if id := byMode[mode.attribute]; id != 0 {
			h.programs = append(h.programs, hookedProgram{id: id, mode: mode.Mode})
		}
	}
	return attributes.Err()
}

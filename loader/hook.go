//go:build linux

package loader

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/rtnetlink"
	"github.com/xdp-load/xdp-load/nic"
)

// hook is the place for XDP programs that an interface has.
type hook struct {
	name     string
	index    int
	netns    uint64          // inode number of the network namespace
	programs []hookedProgram // native ones first
}

// hookedProgram is a program on an interface.
type hookedProgram struct {
	id   ebpf.ProgramID
	mode Mode
}

// runs reports whether an attachment is that of the interface: whether this runs its
// program. The number of the interface is not enough: others have it in other network
// namespaces.
func (h *hook) runs(pin pinnedAttachment) bool {
	return h.index == pin.ifindex && (pin.netns == 0 || pin.netns == h.netns) &&
		slices.ContainsFunc(h.programs, func(p hookedProgram) bool { return p.id == pin.program })
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

// hookByName returns the hook of an interface. It wraps nic.ErrNoInterface.
func hookByName(name string) (*hook, error) {
	netns, err := ownNetworkNamespace()
	if err != nil {
		return nil, err
	}
	found := &hook{netns: netns}
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

// xdpHooks returns the hooks of all interfaces in the network namespace of the
// calling thread, by their number. It asks rtnetlink(7), since bpf(2) does not
// know about programs that are attached without a link.
func xdpHooks() ([]hook, error) {
	netns, err := ownNetworkNamespace()
	if err != nil {
		return nil, err
	}
	var hooks []hook
	err = rtnetlink.EachLink(func(index int, attributes *netlink.AttributeDecoder) error {
		h := hook{netns: netns}
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
			h.programs = append(h.programs, hookedProgram{id, mode.Mode})
		}
	}
	return attributes.Err()
}

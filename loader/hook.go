package loader

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

// hook is the place for XDP programs that an interface has.
type hook struct {
	name     string
	index    int
	programs []hookedProgram // native ones first
}

// hookedProgram is a program on an interface.
type hookedProgram struct {
	id   ebpf.ProgramID
	mode string // as ip-link(8) calls it
}

// hookModes are the attributes that have a program's ID, by mode.
var hookModes = []struct {
	attribute uint16
	name      string
}{
	{unix.IFLA_XDP_DRV_PROG_ID, "xdp"},
	{unix.IFLA_XDP_SKB_PROG_ID, "xdpgeneric"},
	{unix.IFLA_XDP_HW_PROG_ID, "xdpoffload"},
}

// runs reports whether the interface runs the program that a link attaches. The
// number of the interface is not enough: others have it in other network
// namespaces.
func (h *hook) runs(pin pinnedLink) bool {
	return h.index == pin.ifindex && slices.ContainsFunc(h.programs, func(p hookedProgram) bool { return p.id == pin.program })
}

// hookByName returns the hook of an interface. It wraps nic.ErrNoInterface.
func hookByName(name string) (*hook, error) {
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
	dump, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(dump)
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}

	var hooks []hook
	for i := range messages {
		if messages[i].Header.Type != unix.RTM_NEWLINK {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&messages[i])
		if err != nil {
			return nil, fmt.Errorf("list network interfaces: %w", err)
		}
		index := binary.NativeEndian.Uint32(messages[i].Data[4:]) // ifi_index of struct ifinfomsg
		hooks = append(hooks, newHook(int(index), attributes))
	}
	slices.SortFunc(hooks, func(a, b hook) int { return cmp.Compare(a.index, b.index) })
	return hooks, nil
}

func newHook(index int, attributes []syscall.NetlinkRouteAttr) hook {
	h := hook{index: index}
	for _, attribute := range attributes {
		switch attribute.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			h.name = unix.ByteSliceToString(attribute.Value)
		case unix.IFLA_XDP:
			h.programs = xdpPrograms(attribute.Value)
		}
	}
	return h
}

// xdpPrograms returns the programs in the nested attributes of IFLA_XDP
// (rtnl_xdp_fill in net/core/rtnetlink.c).
func xdpPrograms(nested []byte) []hookedProgram {
	byMode := make(map[uint16]ebpf.ProgramID)
	for len(nested) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(nested))
		kind := binary.NativeEndian.Uint16(nested[2:])
		if length < unix.SizeofNlAttr || length > len(nested) {
			break
		}
		if value := nested[unix.SizeofNlAttr:length]; len(value) == 4 {
			byMode[kind] = ebpf.ProgramID(binary.NativeEndian.Uint32(value))
		}
		nested = nested[min(len(nested), (length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}

	var programs []hookedProgram
	for _, mode := range hookModes {
		if id := byMode[mode.attribute]; id != 0 {
			programs = append(programs, hookedProgram{id, mode.name})
		}
	}
	return programs
}

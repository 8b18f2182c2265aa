//go:build linux

package loader

import (
	"fmt"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Of XDP programs the kernel calls them XDP_MODE_DRV, XDP_MODE_SKB and XDP_MODE_HW. Programs of
// TC run in the network stack, called by one or the other part of it.
const (
	Native  Mode = "native"
	Generic Mode = "generic"
	Offload Mode = "offload" // on the NIC

	TCX    Mode = "tcx"    // since Linux 6.6
	Clsact Mode = "clsact" // as a filter of the qdisc of that name
)

// modes are what ip-link(8) and the kernel call those of XDP, and the attributes that have a
// program's ID (rtnl_xdp_fill in net/core/rtnetlink.c).
var modes = []struct {
	Mode
	name      string
	attribute uint16
	flag      link.XDPAttachFlags
}{
	{Native, "xdp", unix.IFLA_XDP_DRV_PROG_ID, link.XDPDriverMode},
	{Generic, "xdpgeneric", unix.IFLA_XDP_SKB_PROG_ID, link.XDPGenericMode},
	{Offload, "xdpoffload", unix.IFLA_XDP_HW_PROG_ID, link.XDPOffloadMode},
}

// iproute2 returns what ip-link(8) calls the mode.
func (m Mode) iproute2() string {
	for _, mode := range modes {
		if mode.Mode == m {
			return mode.name
		}
	}
	return ""
}

// flag returns the mode as the kernel takes it (XDP_FLAGS_MODES).
func (m Mode) flag() link.XDPAttachFlags {
	for _, mode := range modes {
		if mode.Mode == m {
			return mode.flag
		}
	}
	return 0
}

// mode returns the mode to attach an XDP program in.
func (o *Options) mode() Mode {
	if o.Mode == "" {
		return Native
	}
	return o.Mode
}

// isMode reports whether a program that is attached in a mode is so as the options say.
func (l *load) isMode(mode Mode) bool {
	return l.at != XDP && l.Mode == "" || mode == l.mode()
}

// modeOf returns the mode that an attachment of the load is in.
func (l *load) modeOf(pin *pinnedAttachment) Mode {
	if l.at != XDP && pin.link == 0 {
		return Clsact
	}
	return l.linkMode()
}

// linkMode returns the mode that a link attaches the program in.
func (l *load) linkMode() Mode {
	if l.at != XDP {
		return TCX
	}
	return l.mode()
}

// checkMode refuses modes in which programs are not attached at a hook.
func (o *Options) checkMode(at Hook) error {
	switch mode := o.mode(); {
	case at != XDP && (o.Mode == "" || mode == TCX || mode == Clsact):
	case at != XDP:
		return fmt.Errorf("mode %s: programs of TC are attached in the modes tcx and clsact", mode)
	case mode != Native && mode != Generic && mode != Offload:
		return fmt.Errorf("mode %s: XDP programs are attached in native, generic or offload mode", mode)
	}
	return nil
}

// checkReadable refuses modes in which programs would have nothing to read.
func (o *Options) checkReadable() error {
	switch {
	case len(o.Accessors) == 0:
	case o.Mode == Generic:
		return fmt.Errorf("%w in generic mode: what a program is given there is not the driver's: give the layout of the metadata area, which is empty there, so that md_desc(ctx) is NULL", ErrNoDriverHere)
	case o.Mode == Offload:
		return fmt.Errorf("%w in offload mode: the program runs on the NIC, where there is no memory of the kernel: give the layout of the metadata area", ErrNoDriverHere)
	}
	return nil
}

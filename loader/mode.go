//go:build linux

package loader

import (
	"fmt"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// What the kernel calls them are XDP_MODE_DRV, XDP_MODE_SKB and XDP_MODE_HW.
const (
	Native  Mode = "native"
	Generic Mode = "generic"
	Offload Mode = "offload" // on the NIC, where this package puts no programs
)

// modes are what ip-link(8) and the kernel call them, and the attributes that have a
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

// mode returns the mode to attach in.
func (o *Options) mode() Mode {
	if o.Mode == "" {
		return Native
	}
	return o.Mode
}

// checkMode refuses modes in which programs are not attached, or have nothing to read.
func (o *Options) checkMode() error {
	switch mode := o.mode(); {
	case mode == Native:
	case mode != Generic:
		return fmt.Errorf("mode %s: programs are attached in native or generic mode", mode)
	case len(o.Accessors) > 0:
		return fmt.Errorf("%w in generic mode: what a program is given there is not the driver's: give the layout of the metadata area, which is empty there, so that md_desc(ctx) is NULL", ErrNoDriverHere)
	}
	return nil
}

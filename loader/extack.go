//go:build linux

package loader

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/nic"
)

// explainAttach says why the kernel did not attach an XDP program by a link, err, in the
// kernel's own words as far as it has any.
func (l *load) explainAttach(target *nic.Target, program *ebpf.Program, err error) error {
	if refused := l.refusedOverNetlink(target, program, err); refused != nil {
		return refused
	}
	return fmt.Errorf("%s: what was in the way of the program is gone: try again: %w", target.Interface, err)
}

// explainNoLink says why there is no link for an XDP program: the kernel knows none, or a driver
// refuses the program with the same error.
func (l *load) explainNoLink(target *nic.Target, program *ebpf.Program, err error) error {
	if l.at != XDP || !errors.Is(err, errNoLink) || !errors.Is(err, unix.EINVAL) {
		return err
	}
	return cmp.Or(l.refusedOverNetlink(target, program, unix.EINVAL), err)
}

// refusedOverNetlink says why the kernel attaches an XDP program neither by a link, err, nor over
// netlink. It returns nil if it does, and has taken the program off again then.
func (l *load) refusedOverNetlink(target *nic.Target, program *ebpf.Program, err error) error {
	if again := attachOverNetlink(target.Index, program, l.mode()); again != nil {
		return l.explainRefused(target, err, again)
	}
	if err := detachOverNetlink(target.Index, program, l.mode()); err != nil {
		return fmt.Errorf("%s: attached without a link, and can't be taken off again: %w: ip link set dev %[1]s %[3]s off", target.Interface, err, l.mode().iproute2())
	}
	return nil
}

// explainRefused says why the kernel attaches an XDP program neither by a link, err, nor over
// netlink, again.
func (l *load) explainRefused(target *nic.Target, err, again error) error {
	reason := kernelsReason(again)
	switch {
	case l.mode() == Native && errors.Is(again, unix.EOPNOTSUPP) && (reason == "" || reason == noNative):
		return fmt.Errorf("%s: %w in %s, and generic mode is no way out: %s: %w",
			target.Interface, ErrNoNative, driverName(target), l.inGenericMode(), err)
	case reason == "":
		return fmt.Errorf("%s: attach in %s mode: %s refuses, and does not say why: %w", target.Interface, l.mode(), driverName(target), err)
	}
	return fmt.Errorf("%s: attach in %s mode: %s%s: %w", target.Interface, l.mode(), reason, attachRemedy(target, l.spec.Programs[l.Program], reason), err)
}

// inGenericMode says what programs find there.
func (o *Options) inGenericMode() string {
	if len(o.Accessors) > 0 {
		return "what a program is given there is not the driver's"
	}
	return "it starts with an empty metadata area"
}

// noNative is what dev_xdp_attach in net/core/dev.c says of drivers without XDP.
const noNative = "Underlying driver does not support XDP in native mode"

var (
	ofMTU    = pattern(`(?i)\bmtu\b|\bfrags?\b|multi-?buf|frame size`)
	ofQueues = pattern(`(?i)queue|channel`)
)

// attachRemedy returns what to do about a driver's reason, with a colon in front, or
// nothing if that is not known. The words are each driver's own.
func attachRemedy(target *nic.Target, spec *ebpf.ProgramSpec, reason string) string {
	switch {
	case ofMTU().MatchString(reason) && mayHaveFragments(target, spec):
		return `: lower the MTU, or give the program SEC("xdp.frags") if it can do with packets of which only the start is in one piece`
	case ofMTU().MatchString(reason):
		return ": lower the MTU"
	case ofQueues().MatchString(reason):
		return ": ethtool -L sets the numbers of queues"
	}
	return ""
}

// mayHaveFragments reports whether a program could be one in SEC("xdp.frags") as far
// as the driver goes, and is none yet.
func mayHaveFragments(target *nic.Target, spec *ebpf.ProgramSpec) bool {
	if spec.Flags&unix.BPF_F_XDP_HAS_FRAGS != 0 {
		return false
	}
	has, err := target.HasFragments()
	return has || errors.Is(err, nic.ErrFeaturesUnknown)
}

// attachOverNetlink attaches a program unless there is one. Other than
// that of bpf(2), netlink's answer has the reason if it is refused, in a
// *netlink.OpError: see NLMSGERR_ATTR_MSG in include/uapi/linux/netlink.h. Without
// a link, the program would outlive this process.
func attachOverNetlink(ifindex int, program *ebpf.Program, mode Mode) error {
	return setXDP(ifindex, func(xdp *netlink.AttributeEncoder) error {
		xdp.Int32(unix.IFLA_XDP_FD, int32(program.FD()))
		xdp.Uint32(unix.IFLA_XDP_FLAGS, uint32(mode.flag())|unix.XDP_FLAGS_UPDATE_IF_NOEXIST)
		return nil
	})
}

// detachOverNetlink takes a program off unless it has been replaced by another.
func detachOverNetlink(ifindex int, program *ebpf.Program, mode Mode) error {
	err := setXDP(ifindex, func(xdp *netlink.AttributeEncoder) error {
		xdp.Int32(unix.IFLA_XDP_FD, -1)
		xdp.Int32(unix.IFLA_XDP_EXPECTED_FD, int32(program.FD()))
		xdp.Uint32(unix.IFLA_XDP_FLAGS, uint32(mode.flag())|unix.XDP_FLAGS_REPLACE)
		return nil
	})
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// replaceOverNetlink replaces a program by another unless something else has done so.
func replaceOverNetlink(ifindex int, old, program *ebpf.Program, mode Mode) error {
	return setXDP(ifindex, func(xdp *netlink.AttributeEncoder) error {
		xdp.Int32(unix.IFLA_XDP_FD, int32(program.FD()))
		xdp.Int32(unix.IFLA_XDP_EXPECTED_FD, int32(old.FD()))
		xdp.Uint32(unix.IFLA_XDP_FLAGS, uint32(mode.flag())|unix.XDP_FLAGS_REPLACE)
		return nil
	})
}

// kernelsReason returns what netlink's answer says why something is refused, empty if
// nothing.
func kernelsReason(err error) string {
	var answer *netlink.OpError
	if !errors.As(err, &answer) {
		return ""
	}
	return answer.Message
}

// setXDP sends RTM_SETLINK with nested attributes of IFLA_XDP, rtnetlink(7).
func setXDP(ifindex int, attributes func(*netlink.AttributeEncoder) error) error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetOption(netlink.ExtendedAcknowledge, true); err != nil {
		return err
	}

	data, err := binary.Append(nil, binary.NativeEndian, unix.IfInfomsg{Family: unix.AF_UNSPEC, Index: int32(ifindex)})
	if err != nil {
		return err
	}
	encoder := netlink.NewAttributeEncoder()
	encoder.Nested(unix.IFLA_XDP, attributes)
	encoded, err := encoder.Encode()
	if err != nil {
		return err
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_SETLINK, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(data, encoded...),
	})
	return err
}

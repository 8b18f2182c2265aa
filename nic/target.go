// Package nic knows network interfaces: which driver and firmware is behind
// each, and the layout of the metadata that they write.
package nic

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/reloc"
)

// ErrNoInterface is wrapped by ByName's error about an interface that the
// network namespace does not have.
var ErrNoInterface = errors.New("no such network interface")

// Target is the NIC that a program is loaded for.
type Target struct {
	// Interface is its name in the current network namespace, never an
	// alternative one, and Index its number there.
	Interface string `json:"interface"`
	Index     int    `json:"index"`

	// Driver and Firmware are what ethtool -i calls "driver" and
	// "firmware-version". Either is empty if the driver doesn't tell.
	Driver   string `json:"driver,omitempty"`
	Firmware string `json:"firmware,omitempty"`

	// Layout is where the NIC keeps each field. ByName leaves it nil: it
	// comes from OpenLayout.
	Layout *reloc.Layout `json:"-"`
}

// ByName returns the interface of that name, or that alternative name (altname in
// ip-link(8)), in the network namespace of the calling thread. It needs no
// privileges.
//
// Returns an error wrapping ErrNoInterface if there is none, which lists the
// interfaces that there are.
func ByName(name string) (*Target, error) {
	all, err := interfaces()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(i netInterface) bool { return slices.Contains(i.names(), name) })
	if at < 0 {
		return nil, missingInterface(name, all)
	}

	target := &Target{Interface: all[at].name, Index: all[at].index}
	target.Driver, target.Firmware, err = driver(target.Interface)
	if err != nil {
		return nil, fmt.Errorf("%s: ask for its driver: %w", target.Interface, err)
	}
	return target, nil
}

// driver returns the names of driver and firmware, empty for an interface
// without them, such as lo.
func driver(name string) (driver, firmware string, err error) {
	// Any socket will do: ethtool(7) requests are not about a protocol.
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		socket, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	}
	if err != nil {
		return "", "", err
	}
	defer unix.Close(socket)

	info, err := unix.IoctlGetEthtoolDrvinfo(socket, name)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}

	firmware = unix.ByteSliceToString(info.Fw_version[:])
	if firmware == "N/A" { // how some drivers spell nothing
		firmware = ""
	}
	return unix.ByteSliceToString(info.Driver[:]), firmware, nil
}

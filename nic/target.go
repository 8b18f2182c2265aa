// Package nic knows network interfaces: which driver and firmware is behind
// each, and the layout of the metadata that they write.
package nic

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/reloc"
)

// ErrNoInterface is wrapped by ByName's error about an interface that the
// network namespace does not have.
var ErrNoInterface = errors.New("no such network interface")

// Target is the NIC that a program is loaded for.
type Target struct {
	// Interface is its name in the current network namespace, Index its
	// number there.
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

// ByName returns the interface of that name in the network namespace of the
// calling thread. It needs no privileges.
//
// Returns an error wrapping ErrNoInterface if there is none, which lists the
// interfaces that there are.
func ByName(name string) (*Target, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	at := slices.IndexFunc(interfaces, func(i net.Interface) bool { return i.Name == name })
	if at < 0 {
		return nil, missingInterface(name, interfaces)
	}

	target := &Target{Interface: name, Index: interfaces[at].Index}
	target.Driver, target.Firmware, err = driver(name)
	if err != nil {
		return nil, fmt.Errorf("%s: ask for its driver: %w", name, err)
	}
	return target, nil
}

func missingInterface(name string, interfaces []net.Interface) error {
	if len(interfaces) == 0 {
		return fmt.Errorf("%s: %w: this network namespace has none at all", name, ErrNoInterface)
	}
	var names []string
	for _, i := range interfaces {
		names = append(names, i.Name)
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(commonPrefix(b, name), commonPrefix(a, name))
	})
	return fmt.Errorf("%s: %w in this network namespace, which has %s", name, ErrNoInterface, strings.Join(names, ", "))
}

// commonPrefix returns how many bytes a and b have in common at their start.
func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
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

//go:build linux

package nic

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
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

	// Bus is the bus and the device that the interface is of, as devlink(8) has it, such as
	// "pci/0000:03:00.0"; empty if there is none, as of a veth.
	Bus string `json:"bus,omitempty"`

	// Source is where the fields come from, and Layout where the NIC keeps each of them, if
	// it is one of the metadata area. ByName leaves them empty: FindLayout looks for them.
	Source Source        `json:"source,omitzero"`
	Layout *reloc.Layout `json:"-"`
}

// ByName returns the interface of that name, or that alternative name (altname in
// ip-link(8)), in the network namespace of the calling thread. It needs no
// privileges.
//
// Returns an error wrapping ErrNoInterface if there is none, which lists the
// interfaces that there are.
func ByName(name string) (*Target, error) {
	if found, err := interfaceByName(name); err == nil {
		return found.target()
	}
	all, err := interfaces()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(i netInterface) bool { return slices.Contains(i.names(), name) })
	if at < 0 {
		return nil, missingInterface(name, all)
	}

	return all[at].target()
}

// All returns the interfaces in the network namespace of the calling thread, as ByName
// does, by their numbers.
func All() ([]*Target, error) {
	all, err := interfaces()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b netInterface) int { return cmp.Compare(a.index, b.index) })
	var targets []*Target
	for i := range all {
		target, err := all[i].target()
		if errors.Is(err, unix.ENODEV) {
			continue // it has gone since
		}
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// target asks for the driver of the interface.
func (i *netInterface) target() (*Target, error) {
	info, err := askDriver(i.name)
	if err != nil {
		return nil, err
	}
	return &Target{Interface: i.name, Index: i.index, Driver: info.name, Firmware: info.firmware, Bus: i.busOf(info)}, nil
}

// busOf returns what Target.Bus says of an interface. Before Linux 5.14 only the driver tells
// the device.
func (i *netInterface) busOf(info driverInfo) string {
	if i.device != "" && i.bus != "" {
		return i.bus + "/" + i.device
	}
	if i.device != "" || info.device == "" {
		return i.device
	}
	if found, _ := filepath.Glob("/sys/bus/*/devices/" + info.device); len(found) == 1 {
		return filepath.Base(filepath.Dir(filepath.Dir(found[0]))) + "/" + info.device
	}
	return info.device
}

// driverInfo is what a driver says of itself, empty if it doesn't.
type driverInfo struct{ name, firmware, device string }

// askDriver returns what ethtool -i has of an interface, nothing for one without a
// driver, such as lo.
func askDriver(name string) (driverInfo, error) {
	info, err := ethtoolDriver(name)
	if err != nil {
		return info, fmt.Errorf("%s: ask for its driver: %w", name, err)
	}
	return info, nil
}

func ethtoolDriver(name string) (driverInfo, error) {
	// Any socket will do: ethtool(7) requests are not about a protocol.
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		socket, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	}
	if err != nil {
		return driverInfo{}, err
	}
	defer unix.Close(socket)

	info, err := unix.IoctlGetEthtoolDrvinfo(socket, name)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return driverInfo{}, nil
	}
	if err != nil {
		return driverInfo{}, err
	}

	found := driverInfo{
		name:     unix.ByteSliceToString(info.Driver[:]),
		firmware: unix.ByteSliceToString(info.Fw_version[:]),
		device:   unix.ByteSliceToString(info.Bus_info[:]),
	}
	for _, text := range []*string{&found.firmware, &found.device} {
		if *text == "N/A" { // how some drivers spell nothing
			*text = ""
		}
	}
	return found, nil
}

//go:build linux

package nic

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// bonding is what ethtool -i calls the driver of a bond (DRV_NAME of
// drivers/net/bonding/bonding_priv.h).
const bonding = "bonding"

var (
	// ErrNoSlaves is wrapped by XDPDriver's error about a bond of nothing.
	ErrNoSlaves = errors.New("a bond without slaves")

	// ErrSeveralDrivers is wrapped by XDPDriver's error about a bond whose slaves have
	// different drivers.
	ErrSeveralDrivers = errors.New("a bond whose slaves have different drivers")
)

// XDPDriver returns the name of the driver that gives native XDP programs on the interface
// their packets. It is the interface's own, but for a bond that of its slaves, to whose
// drivers it passes programs on (bond_xdp_set of drivers/net/bonding/bond_main.c). It is
// empty if the driver doesn't tell.
//
// Returns an error wrapping ErrNoSlaves, or ErrSeveralDrivers, which lists the slaves.
func (t *Target) XDPDriver() (string, error) {
	if t.Driver != bonding {
		return t.Driver, nil
	}
	slaves, err := t.receivers()
	switch {
	case err != nil:
		return "", err
	case len(slaves) == 0:
		return "", fmt.Errorf("%s: %w", t.Interface, ErrNoSlaves)
	case !sameDriver(slaves):
		return "", fmt.Errorf("%s: %w, %s", t.Interface, ErrSeveralDrivers, listSlaves(slaves))
	}
	return slaves[0].driver, nil
}

// receiver is an interface that receives for itself, or for a bond.
type receiver struct{ name, driver, firmware, bus string }

// receivers returns the interface, or a bond's slaves.
func (t *Target) receivers() ([]receiver, error) {
	if t.Driver != bonding {
		return []receiver{{t.Interface, t.Driver, t.Firmware, t.Bus}}, nil
	}
	all, err := interfaces()
	if err != nil {
		return nil, err
	}
	return slavesOf(t.Index, all)
}

func sameDriver(receivers []receiver) bool {
	return !slices.ContainsFunc(receivers, func(r receiver) bool { return r.driver != receivers[0].driver })
}

// slavesOf returns the slaves of the bond of a number. Those that are bonds themselves
// give way to theirs.
func slavesOf(bond int, all []netInterface) ([]receiver, error) {
	var slaves []receiver
	for i := range all {
		if all[i].master != bond {
			continue
		}
		info, err := askDriver(all[i].name)
		if err != nil {
			return nil, err
		}
		if info.name != bonding {
			slaves = append(slaves, receiver{all[i].name, info.name, info.firmware, all[i].busOf(info)})
			continue
		}
		below, err := slavesOf(all[i].index, all)
		if err != nil {
			return nil, err
		}
		slaves = append(slaves, below...)
	}
	return slaves, nil
}

// listSlaves returns "eth0 (igb), eth1 (ice)".
func listSlaves(slaves []receiver) string {
	var list []string
	for _, s := range slaves {
		list = append(list, fmt.Sprintf("%s (%s)", s.name, cmp.Or(s.driver, "of unknown driver")))
	}
	return strings.Join(list, ", ")
}

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
	all, err := interfaces()
	if err != nil {
		return "", err
	}
	slaves, err := slavesOf(t.Index, all)
	switch {
	case err != nil:
		return "", err
	case len(slaves) == 0:
		return "", fmt.Errorf("%s: %w", t.Interface, ErrNoSlaves)
	case slices.ContainsFunc(slaves, func(s slave) bool { return s.driver != slaves[0].driver }):
		return "", fmt.Errorf("%s: %w, %s", t.Interface, ErrSeveralDrivers, listSlaves(slaves))
	}
	return slaves[0].driver, nil
}

// slave is an interface that receives for a bond.
type slave struct{ name, driver string }

// slavesOf returns the slaves of the bond of a number. Those that are bonds themselves
// give way to theirs.
func slavesOf(bond int, all []netInterface) ([]slave, error) {
	var slaves []slave
	for i := range all {
		if all[i].master != bond {
			continue
		}
		name, _, err := driver(all[i].name)
		if err != nil {
			return nil, fmt.Errorf("%s: ask for its driver: %w", all[i].name, err)
		}
		if name != bonding {
			slaves = append(slaves, slave{all[i].name, name})
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
func listSlaves(slaves []slave) string {
	var list []string
	for _, s := range slaves {
		list = append(list, fmt.Sprintf("%s (%s)", s.name, cmp.Or(s.driver, "of unknown driver")))
	}
	return strings.Join(list, ", ")
}

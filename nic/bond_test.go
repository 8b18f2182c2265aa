package nic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
)

// A bond has the driver of its slaves.
func TestXDPDriver(t *testing.T) {
	ns := netlab.Enter(t)
	for _, name := range []string{"nic0", "nic1"} {
		if _, err := ns.AddNIC(name); err != nil {
			t.Fatal(err)
		}
	}
	checkXDPDriver(t, "nic0", "veth", nil)
	checkXDPDriver(t, "lo", "", nil)

	netlab.NeedBonds(t)
	ip := func(args string) {
		t.Helper()
		if err := ns.Run("ip", strings.Fields(args)...); err != nil {
			t.Fatal(err)
		}
	}
	enslave := func(name, bond string) {
		t.Helper()
		ip("link set " + name + " down")
		ip("link set " + name + " master " + bond)
	}
	ip("link add bond0 type bond")
	checkXDPDriver(t, "bond0", "", nic.ErrNoSlaves)
	enslave("nic0", "bond0")
	checkXDPDriver(t, "bond0", "veth", nil)
	enslave("nic1", "bond0")
	checkXDPDriver(t, "bond0", "veth", nil)

	// A bond of bonds has that of their slaves.
	ip("link add bond1 type bond")
	enslave("bond0", "bond1")
	checkXDPDriver(t, "bond1", "veth", nil)

	ip("tuntap add dev tap0 mode tap")
	enslave("tap0", "bond1")
	checkXDPDriver(t, "bond0", "veth", nil)
	checkXDPDriver(t, "bond1", "", nic.ErrSeveralDrivers, "nic0 (veth)", "nic1 (veth)", "tap0 (tun)")
}

// checkXDPDriver wants an interface to have a driver, or to be refused with some words.
func checkXDPDriver(t *testing.T, name, want string, is error, words ...string) {
	t.Helper()
	target, err := nic.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := target.XDPDriver()
	if driver != want || !errors.Is(err, is) {
		t.Errorf("%s: driver %q, %v instead of %q, %v", name, driver, err, want, is)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v lacks %q", name, err, word)
		}
	}
}

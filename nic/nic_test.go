package nic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
)

func TestByName(t *testing.T) {
	ns := netlab.Enter(t)
	veth, err := ns.AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}

	for _, want := range []nic.Target{
		{Interface: "nic0", Index: veth.Index, Driver: "veth"},
		{Interface: "lo", Index: 1},
	} {
		got, err := nic.ByName(want.Interface)
		if err != nil {
			t.Fatal(err)
		}
		if *got != want {
			t.Errorf("Got %+v instead of %+v", *got, want)
		}
	}
}

func TestNoInterface(t *testing.T) {
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"nic1", "", "a name that is longer than any interface's"} {
		_, err := nic.ByName(name)
		if !errors.Is(err, nic.ErrNoInterface) {
			t.Errorf("%q: %v", name, err)
		}
	}

	// The most similar ones come first.
	_, err := nic.ByName("nic1")
	if want := "nic1: no such network interface in this network namespace, which has nic0"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%q\ndoes not start with %q", err, want)
	}
}

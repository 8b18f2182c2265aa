package nic_test

import (
	"errors"
	"path/filepath"
	"slices"
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

	if err := ns.Run("ip", "link", "property", "add", "dev", "nic0", "altname", "short", "altname", "longer-than-a-name-can-be"); err != nil {
		t.Fatal(err)
	}

	nic0 := nic.Target{Interface: "nic0", Index: veth.Index, Driver: "veth"}
	for name, want := range map[string]nic.Target{
		"nic0":                      nic0,
		"short":                     nic0,
		"longer-than-a-name-can-be": nic0,
		"lo":                        {Interface: "lo", Index: 1},
	} {
		got, err := nic.ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if *got != want {
			t.Errorf("%s: got %+v instead of %+v", name, *got, want)
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

// A veth has both, unless its peer sends from more queues than it receives on.
func TestXDPFeatures(t *testing.T) {
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	if err := ns.Run("ip", "link", "add", "bridge0", "type", "bridge"); err != nil {
		t.Fatal(err)
	}

	if err := ns.Run("ip", "link", "add", "few", "numrxqueues", "1", "numtxqueues", "1",
		"type", "veth", "peer", "numrxqueues", "2", "numtxqueues", "2", "name", "many"); err != nil {
		t.Fatal(err)
	}

	for name, want := range map[string]bool{"nic0": true, "lo": false, "bridge0": false, "few": false} {
		target, err := nic.ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := target.HasNativeXDP(); err != nil || got != want {
			t.Errorf("%s: native XDP %v, %v", name, got, err)
		}
		if got, err := target.HasFragments(); err != nil || got != want {
			t.Errorf("%s: fragments %v, %v", name, got, err)
		}
	}
}

// A veth has all of them, which the kernel tells since it has the third.
func TestKfuncs(t *testing.T) {
	netlab.Need(t, netlab.MetadataFunctions)
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	if err := ns.Run("ip", "link", "add", "bridge0", "type", "bridge"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"nic0": nic.Kfuncs(), "lo": nil, "bridge0": nil} {
		target, err := nic.ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := target.Kfuncs(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// What netlink tells of an interface's device is what sysfs shows; virtual ones have none.
// Before Linux 5.14 only ethtool tells, of virtio's the device that they are on.
func TestBus(t *testing.T) {
	all, err := nic.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range all {
		want := ""
		device, err := filepath.EvalSymlinks("/sys/class/net/" + target.Interface + "/device")
		if err == nil {
			want = onBus(t, device)
		}
		if target.Bus != want && !(strings.HasPrefix(want, "virtio/") && target.Bus == onBus(t, filepath.Dir(device))) {
			t.Errorf("%s: %q instead of %q", target.Interface, target.Bus, want)
		}
	}
}

// onBus returns the bus of a device, by its directory in sysfs, and its name there.
func onBus(t *testing.T, device string) string {
	t.Helper()
	bus, err := filepath.EvalSymlinks(device + "/subsystem")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(bus) + "/" + filepath.Base(device)
}

// The names are those of the flags that decide what is loaded.
func TestFeatures(t *testing.T) {
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nic0", "lo"} {
		target, err := nic.ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		features, err := target.Features()
		native, nativeErr := target.HasNativeXDP()
		if errors.Is(err, nic.ErrFeaturesUnknown) && errors.Is(nativeErr, nic.ErrFeaturesUnknown) {
			t.Skip("needs Linux 6.3: make test-kernels has some without and some with it")
		}
		frags, fragsErr := target.HasFragments()
		kfuncs, kfuncsErr := target.Kfuncs()
		if err != nil || nativeErr != nil || fragsErr != nil || kfuncsErr != nil {
			t.Fatal(err, nativeErr, fragsErr, kfuncsErr)
		}
		if slices.Contains(features.XDP, "basic") != native || slices.Contains(features.XDP, "rx-sg") != frags || len(features.Metadata) != len(kfuncs) {
			t.Errorf("%s: %v, but native XDP %v, fragments %v, kfuncs %v", name, features, native, frags, kfuncs)
		}
		if name == "nic0" && !slices.Equal(features.XDP[:1], []string{"basic"}) {
			t.Errorf("%s: %v", name, features)
		}
	}
}

package loader_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// builtIn is the types of a kernel, as far as a driver's accessors look at them.
func builtIn(t testing.TB, cut string) string {
	t.Helper()
	dir := t.TempDir()
	copyTypes(t, filepath.Join(dir, "vmlinux"), cut)
	return dir
}

func copyTypes(t testing.TB, to, cut string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../bpf/drivers/testdata", cut+".btf"))
	if err == nil {
		err = os.WriteFile(to, raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func knownDriver(t *testing.T, kernel *nic.Kernel, driver string) *loader.KnownDriver {
	t.Helper()
	known, err := loader.KnownDrivers(kernel)
	if err != nil {
		t.Fatal(err)
	}
	for i := range known {
		if len(known[i].Fields) != len(drivers.Fields) {
			t.Errorf("%s: fields %v", known[i].Driver, known[i].Fields)
		}
		for field, source := range known[i].Fields {
			if (source.From == "") == (source.Reason == "") {
				t.Errorf("%s: %s is from %q, as %q", known[i].Driver, field, source.From, source.Reason)
			}
		}
	}
	at := slices.IndexFunc(known, func(k loader.KnownDriver) bool { return k.Driver == driver })
	if at < 0 {
		t.Fatalf("no driver %s", driver)
	}
	return &known[at]
}

// On the running kernel what is told is what a program of this driver is given.
func TestKnownDriversHere(t *testing.T) {
	for _, driver := range []string{"veth", "virtio_net"} {
		known := knownDriver(t, nic.NewKernel(""), driver)
		accessors, err := (&loader.Driver{Name: driver}).Accessors(nil)
		for field, source := range known.Fields {
			is := err == nil && accessors[0].Fields[field].Function != ""
			if is != (source.From == accessor.FromDescriptor) {
				t.Errorf("%s: %s is from %q: %s", driver, field, source.From, source.Reason)
			}
		}
	}
	if known := knownDriver(t, nic.NewKernel(""), "skb"); known.Module != "vmlinux" || known.Fields["mark"].From != accessor.FromDescriptor {
		t.Errorf("%+v", known)
	}
}

// A driver may be built in; the others' modules are not there.
func TestKnownDriversBuiltIn(t *testing.T) {
	dir := builtIn(t, "igb-7.3.4")
	kernel := nic.NewKernel(dir)
	igb := knownDriver(t, kernel, "igb")
	if igb.Kernel != filepath.Base(dir) || igb.Module != "igb" || igb.Err != nil {
		t.Errorf("%+v", igb)
	}
	if mark := igb.Fields["mark"]; igb.Fields["hash"].From != accessor.FromDescriptor || mark.From != "" || mark.Reason != "the descriptor has none" {
		t.Errorf("%+v", igb.Fields)
	}
	ice := knownDriver(t, kernel, "ice")
	if why := ice.Fields["mark"].Reason; !strings.HasPrefix(why, "there is no "+dir+"/ice, and "+dir+"/vmlinux lacks") || ice.Err != nil {
		t.Errorf("%v, %v", why, ice.Err)
	}
}

// Types that are damaged, or another kernel's, are a reason, and told besides.
func TestKnownDriversDamaged(t *testing.T) {
	dir := builtIn(t, "igb-7.3.4")
	copyTypes(t, filepath.Join(dir, "ice"), "ice-7.3.4")
	ice := knownDriver(t, nic.NewKernel(dir), "ice")
	if ice.Err == nil || ice.Fields["hash"].Reason != ice.Err.Error() || !strings.Contains(ice.Err.Error(), "not split from the kernel's") {
		t.Errorf("%v", ice)
	}
	if igb := knownDriver(t, nic.NewKernel(dir), "igb"); igb.Err != nil || igb.Fields["hash"].From == "" {
		t.Errorf("%v", igb)
	}
	if _, err := loader.KnownDrivers(nic.NewKernel(t.TempDir())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without vmlinux: %v", err)
	}
}

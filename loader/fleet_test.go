package loader_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// fleet is every driver on each of some kernels.
func fleet(t testing.TB, kernels []*nic.Kernel) []*loader.Driver {
	t.Helper()
	var fleet []*loader.Driver
	for _, name := range drivers.Names() {
		for _, kernel := range kernels {
			fleet = append(fleet, &loader.Driver{Name: name, Kernel: kernel})
		}
	}
	return fleet
}

// Many at a time are what each is alone.
func TestFits(t *testing.T) {
	object, err := os.ReadFile("../bpf/examples/record-el.o")
	if err != nil {
		t.Fatal(err)
	}
	kernels := nic.NewKernels(builtIn(t, "igb-7.3.4"), builtIn(t, "mlx5_core-6.12.117"), builtIn(t, "mlx5_core-6.1.0-56"), "", t.TempDir())
	all := fleet(t, kernels)
	fits := 0
	for i, fit := range loader.Fits(object, all) {
		alone := loader.Fits(object, all[i:i+1])[0]
		if diff := cmp.Diff(spelt(t, alone.Report), spelt(t, fit.Report)); diff != "" {
			t.Errorf("%s on %s: %s", all[i].Name, all[i].Kernel.Name(), diff)
		}
		switch {
		case (alone.Err == nil) != (fit.Err == nil) || fit.Err != nil && alone.Err.Error() != fit.Err.Error():
			t.Errorf("%s on %s: %v, and alone %v", all[i].Name, all[i].Kernel.Name(), fit.Err, alone.Err)
		case fit.Err == nil:
			fits++
		case fit.Why() == "" || len(fit.Why()) > len(fit.Err.Error()):
			t.Errorf("%q is no shorter than %q", fit.Why(), fit.Err)
		}
	}
	if fits < 2 { // mlx5_core has all fields
		t.Errorf("%d of %d fit", fits, len(all))
	}
}

func spelt(t *testing.T, report *rewrite.Report) string {
	t.Helper()
	raw, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// BenchmarkFits is 100 drivers on the running kernel, of which most are not there.
func BenchmarkFits(b *testing.B) {
	object, err := os.ReadFile("../bpf/examples/record-el.o")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		kernel := nic.NewKernel("")
		var all []*loader.Driver
		for len(all) < 100 {
			all = append(all, fleet(b, []*nic.Kernel{kernel})...)
		}
		loader.Fits(object, all[:100])
	}
}

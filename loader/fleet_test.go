package loader_test

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/internal/drivertypes"
	"github.com/xdp-load/xdp-load/internal/performance"
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

var rowsFile = flag.String("performance.rows", "", "`FILE` to write what the benchmarks have measured to")

// BenchmarkFleet says how the time for a driver on a kernel grows with their number. Each is
// one that the accessors' tests have the types of, and each kernel's types are read for it.
func BenchmarkFleet(b *testing.B) {
	object, err := os.ReadFile("../bpf/examples/balance-el.o")
	if err != nil {
		b.Fatal(err)
	}
	each := func(many int) performance.Median {
		var times []float64
		for range 9 {
			fleet := modelledFleet(b, many)
			start := time.Now()
			for i, fit := range loader.Fits(object, fleet) {
				if fit.Err != nil {
					b.Fatalf("%s: %v", fleet[i].Name, fit.Err)
				}
			}
			times = append(times, float64(time.Since(start).Microseconds())/1000/float64(many))
		}
		return performance.MedianOf(times)
	}
	const least = 0.7 // the caches take the rest
	row := performance.NewRow("growth/drivers/100", each(100), each(10), "ms/driver", least)
	fmt.Printf("%s: %.2f %s, before %.2f: %.2f\n", row.Name, row.Of, row.Unit, row.Against, row.Ratio)
	if *rowsFile != "" {
		if err := performance.AddRows(*rowsFile, []performance.Row{row}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() { // it was measured above
	}
}

// modelledFleet returns so many drivers, each on a kernel of its own.
func modelledFleet(b *testing.B, many int) (fleet []*loader.Driver) {
	b.Helper()
	for len(fleet) < many {
		for _, name := range drivers.Names() {
			files, err := drivertypes.Files("../bpf/drivers/testdata", name, binary.LittleEndian)
			if err != nil {
				b.Fatal(err)
			}
			for _, file := range files {
				if driver := driverWithHash(b, name); driver != "" && !file.Without {
					kernel := nic.NewKernel(builtIn(b, name+"-"+file.Kernel))
					fleet = append(fleet, &loader.Driver{Name: driver, Kernel: kernel})
				}
			}
		}
	}
	return fleet[:many]
}

// driverWithHash returns the name of the first driver of an accessor file that has the hash,
// empty for another and for that of TC.
func driverWithHash(b *testing.B, name string) string {
	b.Helper()
	object, err := drivers.Object(name, binary.LittleEndian)
	if err != nil {
		b.Fatal(err)
	}
	file, err := accessor.Read(name, object)
	if err != nil {
		b.Fatal(err)
	}
	if _, ok := file.Fields["hash"]; !ok || file.Context != "xdp_buff" {
		return ""
	}
	return file.Drivers[0]
}

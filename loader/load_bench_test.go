package loader_test

import (
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// BenchmarkLoad loads a program on an emulated NIC and unloads it, all that the command does
// but for the start of its processes: for make profile.
func BenchmarkLoad(b *testing.B) {
	ns := netlab.Enter(b)
	if _, err := ns.AddNIC("nic0"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		layout, err := nic.OpenLayout("../bpf/examples/nic_a"+endian, "")
		if err != nil {
			b.Fatal(err)
		}
		loaded, err := loader.LoadRewritten("../bpf/examples/balance"+endian, loader.Options{Layout: layout, Interface: "nic0"})
		if err != nil {
			b.Fatal(err)
		}
		loaded.Close()
		if err := loader.Unload("nic0"); err != nil {
			b.Fatal(err)
		}
	}
}

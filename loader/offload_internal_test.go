package loader

import (
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What the kernel makes no map of on a NIC, or no driver takes, is refused by its name.
func TestFitsNIC(t *testing.T) {
	for _, test := range []struct {
		spec ebpf.MapSpec
		fits bool
	}{
		{ebpf.MapSpec{Name: "counts", Type: ebpf.Array}, true},
		{ebpf.MapSpec{Name: "flows", Type: ebpf.Hash}, true},
		{ebpf.MapSpec{Name: "flows", Type: ebpf.Hash, Flags: unix.BPF_F_NO_PREALLOC}, false},
		{ebpf.MapSpec{Name: "flows", Type: ebpf.LRUHash}, false},
		{ebpf.MapSpec{Name: "counts", Type: ebpf.PerCPUArray}, false},
		{ebpf.MapSpec{Name: "events", Type: ebpf.RingBuf}, false},
		{ebpf.MapSpec{Name: ".bss", Type: ebpf.Array}, false},
	} {
		if fitsNIC(&test.spec) != test.fits {
			t.Errorf("%s of type %s with flags %#x: fits %t", test.spec.Name, test.spec.Type, test.spec.Flags, !test.fits)
		}
	}
}

package loader_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// A kernel that is locked down for confidentiality lets nothing be read by
// bpf_probe_read_kernel, and everything by a cast. It stays so until it is booted again.
func TestLockedDown(t *testing.T) {
	if !*ownNICs {
		t.Skip("needs a machine to lock down: make test-kernels has some")
	}
	netlab.NeedRoot(t)
	if err := os.WriteFile("/sys/kernel/security/lockdown", []byte("confidentiality"), 0); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []accessor.Lowering{"", accessor.Carrier, accessor.Probe} {
		t.Run("lowering "+string(wanted), func(t *testing.T) {
			if wanted == accessor.Carrier {
				netlab.Need(t, netlab.Casts)
			}
			testLockedDown(t, wanted, wanted == accessor.Probe || !netlab.Has(netlab.Casts))
		})
	}
}

// testLockedDown loads what reads an skb, and wants it to be refused, by the loader and by
// the kernel if it is asked, or not.
func testLockedDown(t *testing.T, lowering accessor.Lowering, refused bool) {
	t.Helper()
	file := program("tc")
	object, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	driver := loader.Driver{Lowering: lowering}
	accessors, err := driver.Accessors(object)
	if err != nil {
		t.Fatal(err)
	}
	opts := loader.Options{Accessors: accessors}
	_, previewed := loader.Preview(file, opts)
	loaded, err := loader.LoadRewritten(file, opts)
	if err == nil {
		loaded.Close()
	}
	t.Logf("%s: %v", accessors[0].Lowering, err)
	if errors.Is(err, loader.ErrLockdown) != refused || errors.Is(previewed, loader.ErrLockdown) != refused || !refused && err != nil {
		t.Errorf("%v, previewed %v", err, previewed)
	}

	spec, _, err := loader.RewrittenSpec(bytes.NewReader(object), opts)
	if err != nil {
		t.Fatal(err)
	}
	programs, err := ebpf.NewCollection(spec)
	if err == nil {
		programs.Close()
	}
	if (err != nil) != refused {
		t.Errorf("The kernel says %v", err)
	}
}

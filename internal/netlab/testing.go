package netlab

import (
	"os"
	"testing"

	"github.com/cilium/ebpf/rlimit"
)

// Enter makes a namespace for a test and moves the test's goroutine into it,
// for the rest of the test. Subtests run on goroutines of their own: they stay
// outside unless they call Namespace.Enter.
//
// Without root it skips the test, but fails it if CI is set.
func Enter(tb testing.TB) *Namespace {
	tb.Helper()

	NeedRoot(tb)
	ns, err := New()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ns.Close() })

	if err := ns.Enter(); err != nil {
		tb.Fatal(err)
	}
	return ns
}

// NeedRoot skips a test that can't run without root, but fails it if CI is set.
// It lifts the limit on locked memory, which old kernels heed.
func NeedRoot(tb testing.TB) {
	tb.Helper()

	if os.Geteuid() == 0 {
		if err := rlimit.RemoveMemlock(); err != nil {
			tb.Fatal(err)
		}
		return
	}
	if os.Getenv("CI") != "" {
		tb.Fatal("needs root")
	}
	tb.Skip("needs root")
}

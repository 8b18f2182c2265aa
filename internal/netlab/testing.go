package netlab

import (
	"os"
	"os/exec"
	"strings"
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
// With -short it is skipped for root, too: what is left runs anywhere. It lifts the
// limit on locked memory, which old kernels heed.
func NeedRoot(tb testing.TB) {
	tb.Helper()

	if testing.Short() {
		tb.Skip("needs root, not with -short")
	}
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

// NeedBonds skips a test on a kernel without bonds, which some are built without. Those that
// make test-kernels runs have them. The calling thread is in a namespace of the test's.
func NeedBonds(tb testing.TB) {
	tb.Helper()

	if err := run("ip", "link", "add", "try-bond", "type", "bond"); err != nil {
		tb.Skipf("needs a kernel with bonds: make test-kernels has some: %v", err)
	}
	if err := run("ip", "link", "del", "try-bond"); err != nil {
		tb.Fatal(err)
	}
}

// NeedTools skips a test that can't run without some commands, but fails it if CI
// is set. With -short it is skipped where they are, too.
func NeedTools(tb testing.TB, commands ...string) {
	tb.Helper()

	if testing.Short() {
		tb.Skipf("needs %s, not with -short", strings.Join(commands, ", "))
	}
	for _, command := range commands {
		_, err := exec.LookPath(command)
		switch {
		case err != nil && os.Getenv("CI") != "":
			tb.Fatal(err)
		case err != nil:
			tb.Skip(err)
		}
	}
}

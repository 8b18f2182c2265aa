package main

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// Without privileges there is one line that says so, by make and by the demo itself.
func TestNeedsRoot(t *testing.T) {
	netlab.NeedRoot(t) // to have privileges to drop

	for _, test := range []struct{ command, want string }{
		{"make demo", "needs root, to make network namespaces and to load programs: sudo make demo\n"},
		{"go run ./cmd/demo", "demo: needs root, to make network namespaces and to load programs: "},
	} {
		arguments := append([]string{"--bounding-set=-all", "--inh-caps=-all"}, strings.Fields(test.command)...)
		cmd := exec.Command("setpriv", arguments...)
		cmd.Dir = "../.."
		// As from a shell, even if make runs this test.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") })
		output, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%s: %v", test.command, err)
		}
		lines := strings.SplitAfter(string(output), "\n")
		// After it comes what make or go say of the exit code.
		if !strings.HasPrefix(lines[0], test.want) || len(lines) != 3 {
			t.Errorf("%s: %s", test.command, output)
		}
	}
}

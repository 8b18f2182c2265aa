package loader_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// exampleFiles are what the examples find in their working directory.
var exampleFiles = map[string]string{
	"balance.o":      "../bpf/examples/balance",
	"nic.o":          "../bpf/examples/nic_a",
	"other.o":        "../bpf/examples/nic_b",
	"constant.o":     "testdata/constant",
	"layouts/veth.o": "../bpf/examples/nic_a",
}

// runWithExamples runs the tests, and the examples in a network namespace with two NICs, eth0 and
// eth1, and in a directory with exampleFiles. Where that can't be, the examples are skipped, and
// those that the kernel is too old for.
//
// Examples run on the goroutine that calls m.Run. It is another than the one of the process's
// first thread, whose namespaces are taken to be those of the process.
func runWithExamples(m *testing.M) (code int) {
	runtime.LockOSThread()
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	done := make(chan int)
	go func() {
		if err := enterExampleLab(dir); err != nil {
			fmt.Println("error:", err)
			done <- 1
			return
		}
		done <- m.Run()
	}()
	return <-done
}

// enterExampleLab moves the calling goroutine to where examples run.
func enterExampleLab(dir string) error {
	if testing.Short() || os.Geteuid() != 0 || !netlab.Has(netlab.BoundMaps) {
		return skipExamples("Example")
	}
	for name, file := range exampleFiles {
		object, err := os.ReadFile(file + endian)
		if err != nil {
			return err
		}
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, object, 0o600)); err != nil {
			return err
		}
	}
	ns, err := netlab.New()
	if err != nil {
		return err
	}
	defer ns.Close() // which the thread that enters it keeps alive
	for _, name := range []string{"eth0", "eth1"} {
		if _, err := ns.AddNIC(name); err != nil {
			return err
		}
	}
	if err := errors.Join(ns.Enter(), os.Chdir(dir)); err != nil {
		return err
	}
	return skipExamplesForLater()
}

// skipExamplesForLater skips what the running kernel is too old for.
func skipExamplesForLater() error {
	for _, needs := range []struct {
		feature netlab.Feature
		names   string
	}{
		{netlab.Casts, "ExampleDriver_Accessors|ExampleFits"},
		{netlab.RunContext, "ExampleRun"},
	} {
		if !netlab.Has(needs.feature) {
			if err := skipExamples(needs.names); err != nil {
				return err
			}
		}
	}
	return nil
}

// skipExamples has examples skipped besides what the caller of the tests has skipped.
func skipExamples(names string) error {
	given := flag.Lookup("test.skip").Value.String()
	patterns := []string{"^(" + names + ")"}
	if given != "" {
		patterns = append(patterns, given)
	}
	return flag.Set("test.skip", strings.Join(patterns, "|"))
}

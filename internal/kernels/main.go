// Command kernels runs tests on Debian's kernels, each booted in a virtual
// machine. It is run by make test-kernels, as root, from the top of the
// repository; its arguments name the kernels, all of the table if there are none.
//
// Kernels are downloaded once, into xdp-load in the user's cache directory: to
// have newer ones, remove it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func main() {
	if os.Args[0] == "/init" {
		beInit()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "test-kernels:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, series []string) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("the kernels are for amd64, and take commands from a machine of that kind, not %s", runtime.GOARCH)
	}
	chosen, err := choose(series)
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	archive := archive{filepath.Join(cache, "xdp-load")}
	if err := archive.fetch(ctx, chosen); err != nil {
		return err
	}

	work, err := os.MkdirTemp("", "xdp-load-kernels-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := buildTests(ctx, work); err != nil {
		return err
	}

	var machines errgroup.Group
	machines.SetLimit(runtime.NumCPU())
	for _, k := range chosen {
		machines.Go(func() error { return test(ctx, k, archive.kernelDir(k), work) })
	}
	return machines.Wait()
}

// choose returns the kernels of the table of some series, all if none is named.
func choose(series []string) ([]kernel, error) {
	if len(series) == 0 {
		return kernels, nil
	}
	var chosen []kernel
	for _, name := range series {
		at := slices.IndexFunc(kernels, func(k kernel) bool { return k.series == name })
		if at < 0 {
			return nil, fmt.Errorf("no kernel %s: there are %s", name, listSeries())
		}
		chosen = append(chosen, kernels[at])
	}
	return chosen, nil
}

func listSeries() string {
	var list []string
	for _, k := range kernels {
		list = append(list, k.series)
	}
	return strings.Join(list, ", ")
}

// test boots a kernel with the tests, and prints what they come to.
func test(ctx context.Context, k kernel, kernelDir, work string) error {
	m, err := newMachine(ctx, kernelDir, work)
	if err != nil {
		return fmt.Errorf("kernel %s: %w", k.series, err)
	}
	return m.test(ctx)
}

// Command kernels runs tests on Debian's kernels, each booted in a virtual
// machine. It is run by make test-kernels, as root, from the top of the
// repository; its arguments name the kernels, all of the table if there are none.
//
// Kernels, and a QEMU that has the NICs, are downloaded once, into xdp-load in the
// user's cache directory, and a module that one of them lacks is built there: to have
// newer ones, remove it.
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

func run(ctx context.Context, names []string) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("most kernels are for amd64, and take commands from a machine of that kind, not %s", runtime.GOARCH)
	}
	chosen, err := choose(names)
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
	for _, a := range architectures {
		if !slices.ContainsFunc(chosen, func(k kernel) bool { return k.architecture == a }) {
			continue
		}
		if err := a.buildTests(ctx, filepath.Join(work, a.arch)); err != nil {
			return err
		}
	}

	var machines errgroup.Group
	machines.SetLimit(runtime.NumCPU())
	// The newest have most tests: what is left for the end, when some have nothing to do any
	// more, is to be short.
	for _, k := range slices.Backward(chosen) {
		machines.Go(func() error { return test(ctx, archive, k, filepath.Join(work, k.arch)) })
	}
	return machines.Wait()
}

// choose returns the kernels of the table of some names, all if there are none.
func choose(names []string) ([]kernel, error) {
	if len(names) == 0 {
		return kernels, nil
	}
	var chosen []kernel
	for _, name := range names {
		at := slices.IndexFunc(kernels, func(k kernel) bool { return k.name() == name })
		if at < 0 {
			return nil, fmt.Errorf("no kernel %s: there are %s", name, listNames())
		}
		chosen = append(chosen, kernels[at])
	}
	return chosen, nil
}

func listNames() string {
	var list []string
	for _, k := range kernels {
		list = append(list, k.name())
	}
	return strings.Join(list, ", ")
}

// test boots a kernel with the tests, and prints what they come to.
func test(ctx context.Context, a archive, k kernel, work string) error {
	command := []string{k.qemu}
	if k.emulator != nil {
		command = k.emulator.command(a.treeDir(k.emulator.tree))
	}
	tools := "/"
	if k.toolTree != nil {
		tools = a.treeDir(k.toolTree)
	}
	m, err := newMachine(ctx, k, command, a.kernelDir(k), tools, work)
	if err != nil {
		return fmt.Errorf("kernel %s: %w", k.name(), err)
	}
	return m.test(ctx)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// emulator is a QEMU of another release of Debian than the machine's, with all that it
// needs, its C library included.
type emulator struct {
	source
	pkg     string
	libDir  string // in what is unpacked
	loader  string // the dynamic linker, in libDir
	program string
	data    []string // directories with firmware
}

// newEmulator has igb, which the QEMU of Debian 12 lacks.
var newEmulator = &emulator{
	source:  source{"amd64", "trixie"},
	pkg:     "qemu-system-x86",
	libDir:  "usr/lib/x86_64-linux-gnu",
	loader:  "ld-linux-x86-64.so.2",
	program: "usr/bin/qemu-system-x86_64",
	data:    []string{"usr/share/qemu", "usr/share/seabios"},
}

// emulatorDir is where an emulator is unpacked.
func (a archive) emulatorDir(e *emulator) string {
	return filepath.Join(a.dir, "emulators", e.suite+"-"+e.pkg)
}

// fetchEmulator downloads and unpacks an emulator.
func (a archive) fetchEmulator(ctx context.Context, e *emulator) error {
	partial := a.emulatorDir(e) + ".partial"
	if err := a.fetchRoot(ctx, partial, e.suite, e.pkg+":"+e.arch); err != nil {
		return err
	}
	return os.Rename(partial, a.emulatorDir(e))
}

// fetchRoot downloads packages of a suite with all that they need, the C library included, and
// unpacks them into a directory.
func (a archive) fetchRoot(ctx context.Context, dir, suite string, packages ...string) error {
	// By an empty list of what is installed, nothing that they need is.
	if err := os.WriteFile(a.apt("status"), nil, 0o644); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "downloading", strings.Join(packages, " "), "of", suite)
	args := []string{
		"--config-file", a.apt("apt.conf"),
		"--option", "Dir::State::status=" + a.apt("status"), "--target-release", suite,
		"install", "--download-only", "--no-install-recommends", "--yes",
	}
	if _, err := output(ctx, "", "apt-get", append(args, packages...)...); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	return unpack(ctx, a.apt("cache/archives"), dir)
}

// command returns the command that starts an emulator that is unpacked in a directory, by
// the dynamic linker that came along: the machine's does not fit its C library.
func (e *emulator) command(dir string) []string {
	libraries := filepath.Join(dir, e.libDir)
	command := []string{
		filepath.Join(libraries, e.loader), "--library-path", libraries,
		filepath.Join(dir, e.program),
	}
	for _, data := range e.data {
		command = append(command, "-L", filepath.Join(dir, data))
	}
	return command
}

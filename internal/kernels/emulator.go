package main

import "path/filepath"

// emulator is a QEMU of another release of Debian than the machine's.
type emulator struct {
	*tree
	libDir  string // in the tree
	loader  string // the dynamic linker, in libDir
	program string
	data    []string // directories with firmware
}

// newEmulator has igb, which the QEMU of Debian 12 lacks.
var newEmulator = &emulator{
	tree: &tree{
		source:   source{"amd64", "trixie"},
		name:     "emulators/trixie-qemu-system-x86",
		packages: []string{"qemu-system-x86"},
	},
	libDir:  "usr/lib/x86_64-linux-gnu",
	loader:  "ld-linux-x86-64.so.2",
	program: "usr/bin/qemu-system-x86_64",
	data:    []string{"usr/share/qemu", "usr/share/seabios"},
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

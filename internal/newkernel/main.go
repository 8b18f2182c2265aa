// Command newkernel says what a kernel takes from the accessor files of bpf/drivers, and what
// it changes of what they read, against the newest kernel whose types are checked in.
//
//	go run ./internal/newkernel DIRECTORY
//
// DIRECTORY is laid out like /sys/kernel/btf. The exit code is 1 if a driver has lost a field,
// or if a number that its accessors read is another one.
package main

import (
	"fmt"
	"os"

	"github.com/xdp-load/xdp-load/bpf/drivers"
	"github.com/xdp-load/xdp-load/nic"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: newkernel DIRECTORY, which is laid out like "+nic.KernelBTF)
		os.Exit(2)
	}
	clean, err := run(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "newkernel:", err)
	}
	if err != nil || !clean {
		os.Exit(1)
	}
}

// run prints a paragraph for each driver, and reports whether none has lost anything.
func run(dir string) (clean bool, err error) {
	kernel := nic.NewKernel(dir)
	clean, compared := true, 0
	for _, name := range drivers.Names() {
		c, err := compare("bpf/drivers/testdata", name, kernel)
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		fmt.Print(c)
		clean = clean && c.isClean()
		if c.absent == "" {
			compared++
		}
	}
	if compared == 0 {
		return false, fmt.Errorf("%s has no driver that there are accessors for", dir)
	}
	return clean, nil
}

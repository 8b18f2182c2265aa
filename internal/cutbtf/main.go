// Command cutbtf cuts the BTF of a kernel down to what accessor files use of it, for tests
// that lay out a driver's structs without the driver.
//
//	go run ./internal/cutbtf VMLINUX MODULE OBJECT... > cut.btf
//
// VMLINUX and MODULE are raw BTF, as in /sys/kernel/btf. What is kept of a struct are its
// name, its size and, of its members, those that the C struct of an object has, where the
// kernel has them.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/cilium/ebpf/btf"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cutbtf:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: cutbtf VMLINUX MODULE OBJECT... > cut.btf")
	}
	vmlinux, err := readBTF(args[0], nil)
	if err != nil {
		return err
	}
	module, err := readBTF(args[1], vmlinux)
	if err != nil {
		return err
	}
	c := newCut(module, vmlinux)
	for _, object := range args[2:] {
		spec, err := btf.LoadSpec(object)
		if err != nil {
			return fmt.Errorf("%s: %w", object, err)
		}
		if err := c.need(spec); err != nil {
			return fmt.Errorf("%s: %w", object, err)
		}
	}
	raw, err := c.marshal()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(raw)
	return err
}

func readBTF(path string, base *btf.Spec) (*btf.Spec, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var spec *btf.Spec
	if base == nil {
		spec, err = btf.LoadSpecFromReader(bytes.NewReader(raw))
	} else {
		spec, err = btf.LoadSplitSpecFromReader(bytes.NewReader(raw), base)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}

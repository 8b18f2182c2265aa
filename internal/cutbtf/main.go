// Command cutbtf cuts the BTF of a kernel down to what accessor files use of it, for tests
// that lay out a driver's structs without the driver.
//
//	go run ./internal/cutbtf VMLINUX MODULE OBJECT... > cut.btf
//	go run ./internal/cutbtf -drivers DIRECTORY [DRIVER...]
//
// VMLINUX and MODULE are raw BTF, as in /sys/kernel/btf. MODULE is - if VMLINUX has all.
// What is kept of a struct are its name, its size and, of its members, those that the C
// struct of an object has, where the kernel has them. The kernel's metadata kfuncs are kept,
// and what the module has for them.
//
// The second form does it for all accessor files of bpf/drivers, or some, with the types in
// a directory that is laid out like /sys/kernel/btf and named after its kernel. It writes
// them to bpf/drivers/testdata, or to its directory "without" if the accessors find nothing
// there that they could read.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/nic"
)

func main() {
	dir := flag.String("drivers", "", "cut down what all accessor files use of the kernel in this `DIRECTORY`")
	flag.Parse()
	run := cutOne
	if *dir != "" {
		run = func(names []string) error { return cutDrivers(*dir, names) }
	}
	if err := run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cutbtf:", err)
		os.Exit(1)
	}
}

func cutOne(args []string) error {
	if len(args) < 3 {
		return errors.New("usage: cutbtf VMLINUX MODULE OBJECT... > cut.btf")
	}
	vmlinux, err := readTypes(args[0], nil)
	if err != nil {
		return err
	}
	module := vmlinux
	if args[1] != "-" {
		if module, err = readTypes(args[1], vmlinux); err != nil {
			return err
		}
	}
	var objects [][]byte
	for _, path := range args[2:] {
		object, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		objects = append(objects, object)
	}
	raw, err := cutDown(vmlinux, module, objects...)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(raw)
	return err
}

// cutDown returns what objects use of a module's types and of its kernel's.
func cutDown(vmlinux, module *types, objects ...[]byte) ([]byte, error) {
	c := newCut(module.spec, vmlinux.spec)
	for _, object := range objects {
		spec, err := btf.LoadSpecFromReader(bytes.NewReader(object))
		if err != nil {
			return nil, err
		}
		if err := c.need(spec); err != nil {
			return nil, err
		}
	}
	if err := c.needFunctions(module.raw, module.spec, nic.Kfuncs()...); err != nil {
		return nil, err
	}
	return c.marshal(vmlinux.raw.Order)
}

// types are those of a kernel or a module.
type types struct {
	raw  *btfraw.BTF
	spec *btf.Spec
}

func readTypes(path string, base *types) (*types, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := &types{}
	if base == nil {
		t.raw, err = btfraw.Parse(raw, nil)
		if err == nil {
			t.spec, err = btf.LoadSpecFromReader(bytes.NewReader(raw))
		}
	} else {
		t.raw, err = btfraw.Parse(raw, base.raw)
		if err == nil {
			t.spec, err = btf.LoadSplitSpecFromReader(bytes.NewReader(raw), base.spec)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

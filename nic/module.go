package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/xdp-load/xdp-load/reloc"
)

// OpenModule reads the types that a kernel module is compiled with, its kernel's and its
// own, from a directory that is laid out like KernelBTF. A module without a file there is
// built into the kernel, or not loaded: the types are the kernel's alone then. Messages call
// them by the file's path.
//
// Returns an error wrapping ErrWrongBase for a module of another kernel's, or os.ErrNotExist
// if there is no vmlinux.
func OpenModule(dir, module string) (*reloc.Layout, error) {
	kernel, err := openKernel(filepath.Join(dir, "vmlinux"))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, module)
	types, err := readTypes(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return kernel, nil
	case err != nil:
		return nil, fmt.Errorf("types of module %s: %w", module, err)
	case !isSplit(types.btf):
		return nil, fmt.Errorf("types of module %s: %s: not split from the kernel's: take the file that the kernel shows in %s", module, file, KernelBTF)
	}
	split, err := kernel.Split(file, types.btf)
	if err != nil {
		return nil, fmt.Errorf("types of module %s: %w: base %s", module, err, kernel.Name())
	}
	return split, nil
}

func openKernel(vmlinux string) (*reloc.Layout, error) {
	if resolved(vmlinux) == vmlinuxBTF {
		return KernelTypes()
	}
	types, err := readTypes(vmlinux)
	if err != nil {
		return nil, fmt.Errorf("types of the kernel: %w", err)
	}
	if isSplit(types.btf) {
		return nil, fmt.Errorf("types of the kernel: %s: is itself %w", vmlinux, ErrNeedsBase)
	}
	return reloc.NewLayout(vmlinux, types.btf, nil)
}

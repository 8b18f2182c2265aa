package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/xdp-load/xdp-load/reloc"
)

// KernelBTF is where the kernel shows its own BTF, in a file vmlinux, and that of its
// modules, in a file for each (Documentation/bpf/btf.rst).
const KernelBTF = "/sys/kernel/btf"

const vmlinuxBTF = KernelBTF + "/vmlinux"

// OpenModule reads the types that a kernel module is compiled with, which are its kernel's
// and its own, from a directory that is laid out like KernelBTF. A module without a file of
// its own there is built into the kernel, or not loaded: the types are vmlinux's alone then.
// Messages call them by the file's path.
//
// Returns an error wrapping ErrWrongBase for a module of another kernel's, or os.ErrNotExist
// if there is no vmlinux.
func OpenModule(dir, module string) (*reloc.Layout, error) {
	vmlinux, file := filepath.Join(dir, "vmlinux"), filepath.Join(dir, module)
	kernel, err := readTypes(vmlinux)
	if err != nil {
		return nil, fmt.Errorf("types of the kernel: %w", err)
	}
	if isSplit(kernel.btf) {
		return nil, fmt.Errorf("types of the kernel: %s: is itself %w", vmlinux, ErrNeedsBase)
	}
	types, err := readTypes(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return named(vmlinux, kernel.btf, nil)
	case err != nil:
		return nil, fmt.Errorf("types of module %s: %w", module, err)
	case !isSplit(types.btf):
		return nil, fmt.Errorf("types of module %s: %s: not split from the kernel's: take the file that the kernel shows in %s", module, file, KernelBTF)
	}
	if filepath.Clean(dir) != KernelBTF { // where both are of one kernel
		if err := checkBase(types.btf, kernel.btf); err != nil {
			return nil, fmt.Errorf("types of module %s: %s: base %s: %w", module, file, vmlinux, err)
		}
	}
	return named(file, types.btf, kernel.btf)
}

// named is reloc.NewLayout of types that are no layout to the user.
func named(path string, types, base []byte) (*reloc.Layout, error) {
	kernel, err := reloc.NewLayout(path, types, base)
	if err != nil {
		return nil, fmt.Errorf("types of the kernel: %w", err)
	}
	return kernel, nil
}

package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/xdp-load/xdp-load/reloc"
)

// Kernel is the types of a kernel and its modules. They are read when they are asked for,
// those of the kernel once. It may be shared by goroutines.
type Kernel struct {
	dir   string
	types func() (*reloc.Layout, error)
}

// NewKernel returns the kernel whose types are in a directory that is laid out like
// KernelBTF, the running one if dir is empty.
func NewKernel(dir string) *Kernel {
	if dir == "" {
		dir = KernelBTF
	}
	k := &Kernel{dir: dir}
	k.types = sync.OnceValues(func() (*reloc.Layout, error) { return readKernel(k.vmlinux()) })
	return k
}

func (k *Kernel) vmlinux() string { return filepath.Join(k.dir, vmlinux) }

func readKernel(file string) (*reloc.Layout, error) {
	if resolved(file) == vmlinuxBTF {
		return KernelTypes()
	}
	types, err := readTypes(file)
	if err != nil {
		return nil, fmt.Errorf("types of the kernel: %w", err)
	}
	if isSplit(types.btf) {
		return nil, fmt.Errorf("types of the kernel: %s: is itself %w", file, ErrNeedsBase)
	}
	return reloc.NewLayout(file, types.btf, nil)
}

// Name returns the release of the kernel that runs, if it is that. BTF does not tell of
// which release it is, so another kernel goes by the name of its directory.
func (k *Kernel) Name() (string, error) {
	if resolved(k.vmlinux()) == vmlinuxBTF {
		return kernelRelease()
	}
	dir, err := filepath.Abs(k.dir)
	return filepath.Base(dir), err
}

// File returns the path of the file that a module's types are in, if they are not the
// kernel's own.
func (k *Kernel) File(module string) string { return filepath.Join(k.dir, module) }

// Types returns the types of the kernel, those of its modules left out.
//
// Returns an error wrapping os.ErrNotExist if there is no vmlinux.
func (k *Kernel) Types() (*reloc.Layout, error) { return k.types() }

// Module returns the types that a module is compiled with: its kernel's and its own, those
// of the kernel alone for "vmlinux". A module without a file is built into the kernel, or not loaded, or not there at all: they
// are what Types returns then. Messages call them by the file's path.
//
// Returns the errors of Types, and one wrapping ErrWrongBase for a module of another
// kernel's.
func (k *Kernel) Module(module string) (*reloc.Layout, error) {
	kernel, err := k.types()
	if err != nil || module == vmlinux {
		return kernel, err
	}
	file := k.File(module)
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

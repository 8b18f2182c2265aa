package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/xdp-load/xdp-load/internal/kernel"
	"github.com/xdp-load/xdp-load/reloc"
)

// Kernel is the types of a kernel and its modules. They are read when they are asked for,
// those of the kernel once. It may be shared by goroutines.
type Kernel struct {
	dir   string
	name  string
	types func() (*reloc.Layout, error)
}

// NewKernel returns the kernel whose types are in a directory that is laid out like
// KernelBTF, the running one if dir is empty.
func NewKernel(dir string) *Kernel {
	if dir == "" {
		dir = KernelBTF
	}
	k := &Kernel{dir: dir}
	k.name = k.findName()
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

// NewKernels returns what NewKernel does for each directory. Those that would go by the same
// name go by the paths of their directories.
func NewKernels(dirs ...string) []*Kernel {
	kernels := make([]*Kernel, len(dirs))
	named := make(map[string]int)
	for i, dir := range dirs {
		kernels[i] = NewKernel(dir)
		named[kernels[i].name]++
	}
	for _, kernel := range kernels {
		if named[kernel.name] > 1 {
			kernel.name = kernel.dir
		}
	}
	return kernels
}

// Name returns the release of the kernel that runs, if it is that. BTF does not tell of
// which release it is, so another kernel goes by the name of its directory.
func (k *Kernel) Name() string { return k.name }

func (k *Kernel) findName() string {
	if resolved(k.vmlinux()) == vmlinuxBTF {
		if release, err := kernel.Release(); err == nil {
			return release
		}
	}
	if dir, err := filepath.Abs(k.dir); err == nil {
		return filepath.Base(dir)
	}
	return k.dir
}

// File returns the path of the file that a module's types are in, if they are not the
// kernel's own.
func (k *Kernel) File(module string) string { return filepath.Join(k.dir, module) }

// Types returns the types of the kernel, those of its modules left out.
//
// Returns an error wrapping os.ErrNotExist if there is no vmlinux.
func (k *Kernel) Types() (*reloc.Layout, error) { return k.types() }

// Module returns the types that a module is compiled with: its kernel's and its own, those
// of the kernel alone for "vmlinux". A module without a file is built into the kernel, or not
// loaded, or not there at all: they are what Types returns then. Messages call them by the
// file's path.
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

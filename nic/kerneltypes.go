package nic

import (
	"fmt"
	"path/filepath"
	"sync"

	"github.com/xdp-load/xdp-load/reloc"
)

// KernelBTF is where the kernel shows its own BTF, in a file vmlinux, and that of its
// modules, in a file for each (Documentation/bpf/btf.rst).
const KernelBTF = "/sys/kernel/btf"

const (
	vmlinux    = "vmlinux"
	vmlinuxBTF = KernelBTF + "/" + vmlinux
)

func isKernelBTF(file string) bool { return filepath.Dir(resolved(file)) == KernelBTF }

// resolved returns the path of a file without symbolic links, empty if there is no such
// file.
func resolved(file string) string {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	return path
}

// KernelTypes returns the types of the running kernel, those of its modules left out. It
// reads them once where it can.
//
// Returns an error wrapping os.ErrNotExist if the kernel was built without BTF.
func KernelTypes() (*reloc.Layout, error) {
	if mappedVmlinux() == nil {
		return readKernelTypes()
	}
	return mappedTypes()
}

var mappedTypes = sync.OnceValues(readKernelTypes)

func readKernelTypes() (*reloc.Layout, error) {
	types, err := readTypes(vmlinuxBTF)
	if err != nil {
		return nil, fmt.Errorf("types of the kernel: %w", err)
	}
	return reloc.NewLayout(vmlinuxBTF, types.btf, nil)
}

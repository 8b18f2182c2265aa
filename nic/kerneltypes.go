package nic

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

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

// mappedVmlinux returns the running kernel's BTF, of which a process looks at a small part:
// the kernel's own memory, which is there as long as the process. It is nil before Linux
// 6.16, which did not let it be mapped, and where no kernel shows it.
var mappedVmlinux = sync.OnceValue(func() []byte {
	file, err := os.Open(vmlinuxBTF)
	if err != nil {
		return nil
	}
	defer file.Close()

	// Of a file that is no kernel's the end may be cut off, which ends the process.
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil || fs.Type != unix.SYSFS_MAGIC {
		return nil
	}
	info, err := file.Stat()
	if err != nil || info.Size() < btfHeaderSize {
		return nil
	}
	mapped, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return mapped
})

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

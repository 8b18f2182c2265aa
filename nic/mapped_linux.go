package nic

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

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

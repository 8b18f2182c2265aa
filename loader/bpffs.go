package loader

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// bpffs is where the BPF file system is by convention.
const bpffs = "/sys/fs/bpf"

func isBPFFS(path string) bool {
	var stat unix.Statfs_t
	err := unix.Statfs(path, &stat)
	return err == nil && stat.Type == unix.BPF_FS_MAGIC
}

// mountBPFFS makes /sys/fs/bpf a bpffs unless it is one. It returns what undoes
// that, which leaves a bpffs that something was pinned in.
func mountBPFFS() (unmount func(), err error) {
	if isBPFFS(bpffs) {
		return func() {}, nil
	}

	// Two that mount at once would hide each other's pins.
	dir, err := os.Open(bpffs)
	if err != nil {
		return nil, fmt.Errorf("mount bpffs: %w", err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("mount bpffs: lock %s: %w", bpffs, err)
	}
	if isBPFFS(bpffs) {
		return func() {}, nil
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, "mode=0700"); err != nil {
		return nil, fmt.Errorf("mount bpffs on %s: %w", bpffs, err)
	}
	return unmountIfEmpty, nil
}

// unmountIfEmpty unmounts a bpffs in which nothing is pinned. Names with dots
// are the kernel's own (bpf_lookup in kernel/bpf/inode.c): with
// CONFIG_BPF_PRELOAD each new bpffs has a maps.debug and a progs.debug.
func unmountIfEmpty() {
	files, err := os.ReadDir(bpffs)
	if err != nil {
		return
	}
	for _, file := range files {
		if !strings.Contains(file.Name(), ".") {
			return
		}
	}
	_ = unix.Unmount(bpffs, 0)
}

// inLastingMounts calls fn where /sys/fs/bpf is a bpffs, or can be made one that
// outlives this process, and returns its error. fn runs in the network namespace
// of the calling thread, but possibly in another mount namespace: it must not
// open files of the user's.
//
// "ip netns exec" runs its command in a mount namespace of its own with a fresh
// /sys, which is gone when the command ends. If /sys/fs/bpf is no bpffs there,
// the place to look for it, and to mount it, is the mount namespace of PID 1.
func inLastingMounts(fn func() error) error {
	if isBPFFS(bpffs) {
		return fn()
	}
	mounts, err := lastingMounts()
	if err != nil {
		return fmt.Errorf("no bpffs on %s, and no lasting place to mount it: %w", bpffs, err)
	}
	if mounts == nil {
		return fn()
	}
	defer mounts.Close()
	return inMounts(mounts, fn)
}

// lastingMounts opens the mount namespace that outlives this process. It returns
// nil if that is the one of the calling thread.
func lastingMounts() (*os.File, error) {
	own, err := os.Stat("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, err
	}
	lasting, err := outermostMounts()
	if err != nil {
		return nil, err
	}
	info, err := lasting.Stat()
	if err != nil || os.SameFile(own, info) {
		lasting.Close()
		return nil, err
	}
	return lasting, nil
}

// outermostMounts opens the mount namespace of PID 1 or, where that is out of
// reach, as in some containers, of the outermost ancestor that is not.
func outermostMounts() (*os.File, error) {
	mounts, err := os.Open("/proc/1/ns/mnt")
	if !errors.Is(err, os.ErrPermission) {
		return mounts, err
	}

	for pid := os.Getppid(); pid > 1; pid = parent(pid) {
		outer, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err != nil {
			break
		}
		if mounts != nil {
			mounts.Close()
		}
		mounts = outer
	}
	if mounts == nil {
		return nil, err
	}
	return mounts, nil
}

// parent returns the parent of a process, 0 if there is none.
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// pid (comm) state ppid: proc_pid_stat(5). comm may hold anything.
	var state string
	var ppid int
	afterComm := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
	if _, err := fmt.Sscan(afterComm, &state, &ppid); err != nil {
		return 0
	}
	return ppid
}

// inMounts calls fn in a mount namespace and in the network namespace of the
// calling thread.
func inMounts(mounts *os.File, fn func() error) error {
	network, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer network.Close()

	done := make(chan error)
	go func() {
		// Never unlocked: no other goroutine gets to see the changed thread,
		// it ends with this one.
		runtime.LockOSThread()
		if err := enter(mounts, network); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// enter moves the calling thread to other namespaces.
func enter(mounts, network *os.File) error {
	if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	// The kernel wants a thread that shares no working directory with others.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("leave shared working directory: %w", err)
	}
	if err := unix.Setns(int(mounts.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return nil
}

//go:build linux

package loader

import (
	"cmp"
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

// checkWritable wants the bpffs to be one that pins can be made in.
func checkWritable() error {
	var stat unix.Statfs_t
	if err := unix.Statfs(bpffs, &stat); err != nil {
		return fmt.Errorf("%s: %w", bpffs, err)
	}
	if stat.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("%s: %w, so nothing can be pinned there: mount -o remount,rw %[1]s", bpffs, unix.EROFS)
	}
	return nil
}

// newBPFFS makes a bpffs that is not mounted anywhere yet. It is gone when it is
// closed, unless it was mounted by then. See fsopen(2), fsmount(2).
func newBPFFS() (*os.File, error) {
	if err := checkMountPoint(); err != nil {
		return nil, err
	}
	config, err := unix.Fsopen("bpf", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount bpffs: %w", err)
	}
	defer unix.Close(config)
	if err := cmp.Or(unix.FsconfigSetString(config, "mode", "0700"), unix.FsconfigCreate(config)); err != nil {
		return nil, fmt.Errorf("mount bpffs: %w", err)
	}
	mount, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount bpffs: %w", err)
	}
	return os.NewFile(uintptr(mount), bpffs), nil
}

// checkMountPoint wants /sys/fs/bpf to be what sysfs has there: what somebody has
// mounted on it is not to be hidden.
func checkMountPoint() error {
	var stat unix.Statfs_t
	if err := unix.Statfs(bpffs, &stat); err != nil {
		return fmt.Errorf("mount bpffs: %s: %w", bpffs, err)
	}
	if stat.Type != unix.SYSFS_MAGIC {
		return fmt.Errorf("mount bpffs: something else is mounted on %[1]s: unmount it, or mount -t bpf bpf %[1]s over it yourself", bpffs)
	}
	return nil
}

// inLastingMounts calls fn where /sys/fs/bpf is a bpffs, or can be made one that
// outlives this process, and returns its error. fn runs in the network namespace
// of the calling thread, but possibly in another mount namespace: it must not
// open files of the user's. It returns a process that is in that namespace, 0 if it
// is the calling thread's.
//
// "ip netns exec" runs its command in a mount namespace of its own with a fresh
// /sys, which is gone when the command ends. If /sys/fs/bpf is no bpffs there,
// the place to look for it, and to mount it, is the mount namespace of PID 1.
func inLastingMounts(fn func() error) (pid int, err error) {
	if isBPFFS(bpffs) {
		return 0, fn()
	}
	mounts, pid, err := lastingMounts()
	if err != nil {
		return 0, fmt.Errorf("no bpffs on %s, and no lasting place to mount it: %w", bpffs, err)
	}
	if mounts == nil {
		return 0, fn()
	}
	defer mounts.Close()
	return pid, inMounts(mounts, fn)
}

// lastingMounts opens the mount namespace that outlives this process, and returns a
// process that is in it. It returns nil if that is the one of the calling thread.
func lastingMounts() (*os.File, int, error) {
	own, err := os.Stat("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, 0, err
	}
	lasting, pid, err := outermostMounts()
	if err != nil {
		return nil, 0, err
	}
	info, err := lasting.Stat()
	if err != nil || os.SameFile(own, info) {
		lasting.Close()
		return nil, 0, err
	}
	return lasting, pid, nil
}

// outermostMounts opens the mount namespace of PID 1 or, where that is out of
// reach, as in some containers, of the outermost ancestor that is not.
func outermostMounts() (mounts *os.File, pid int, err error) {
	mounts, err = os.Open("/proc/1/ns/mnt")
	if !errors.Is(err, os.ErrPermission) {
		return mounts, 1, err
	}

	for ancestor := os.Getppid(); ancestor > 1; ancestor = parent(ancestor) {
		outer, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", ancestor))
		if err != nil {
			break
		}
		if mounts != nil {
			mounts.Close()
		}
		mounts, pid = outer, ancestor
	}
	if mounts == nil {
		return nil, 0, err
	}
	return mounts, pid, nil
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

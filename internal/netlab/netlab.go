// Package netlab makes network namespaces with emulated NICs in them, so that
// XDP programs can be loaded, attached and sent packets on the real kernel
// without touching the machine's own network.
//
// A namespace has no name and no process of its own: it vanishes, with its
// links, attached programs and pins, when its owner exits or is killed.
package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const bpffs = "/sys/fs/bpf"

// Namespace is a network namespace, and a mount namespace with a bpffs of its
// own on /sys/fs/bpf and a /run of its own, where xdp-loader keeps its lock.
// Everything else of the file system is the machine's.
type Namespace struct {
	net, mnt *os.File
}

// New makes a namespace. The calling goroutine stays where it is.
//
// Returns an error wrapping os.ErrPermission without CAP_SYS_ADMIN.
func New() (*Namespace, error) {
	ns := new(Namespace)
	if err := onThreadOfItsOwn(ns.unshare); err != nil {
		ns.Close()
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	return ns, nil
}

// unshare moves the calling thread to new namespaces and keeps hold of them.
func (ns *Namespace) unshare() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := silenceIPv6(); err != nil {
		return err
	}

	if ns.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	ns.mnt, err = os.Open("/proc/thread-self/ns/mnt")
	return err
}

// silenceIPv6 keeps the kernel from sending packets of its own on new links:
// a test that counts packets wants to see only those it sent.
func silenceIPv6() error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without IPv6
	}
	return err
}

// Close gives the namespace up. It vanishes once no thread or process is left
// in it.
func (ns *Namespace) Close() error {
	return errors.Join(closeFile(ns.net), closeFile(ns.mnt))
}

func closeFile(file *os.File) error {
	if file == nil {
		return nil
	}
	return file.Close()
}

// Enter moves the calling goroutine into the namespace for the rest of its
// life, locked to a thread that ends with it. Commands it starts with os/exec
// run in the namespace too; goroutines it starts do not.
func (ns *Namespace) Enter() error {
	runtime.LockOSThread()

	// A thread has to have a working directory of its own to change its mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	if err := unix.Setns(int(ns.net.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}

	// setns goes to the root directory of the mount namespace.
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := unix.Setns(int(ns.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return unix.Chdir(dir)
}

// Do calls fn in the namespace and returns its error. It may be called from
// inside and outside of the namespace.
func (ns *Namespace) Do(fn func() error) error {
	return onThreadOfItsOwn(func() error {
		if err := ns.Enter(); err != nil {
			return err
		}
		return fn()
	})
}

// onThreadOfItsOwn calls fn on a thread that is not used for anything else
// afterwards: a goroutine that ends while locked takes its thread along.
func onThreadOfItsOwn(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	return <-done
}

// Run executes a command in the namespace. Its output becomes part of the
// error if it fails.
func (ns *Namespace) Run(name string, args ...string) error {
	return ns.Do(func() error { return run(name, args...) })
}

func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, strings.TrimSpace(string(output)))
	}
	return nil
}

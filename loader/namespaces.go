//go:build linux

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// namedNamespaces is where ip-netns(8) has network namespaces by name.
const namedNamespaces = "/run/netns"

// eachNetworkNamespace calls fn in that of the calling thread, by an empty name, and in
// every other that has a name of ip-netns(8), or else a process. It takes CAP_SYS_ADMIN. It
// returns how many processes it may not ask for theirs.
func eachNetworkNamespace(fn func(name string) error) (denied int, err error) {
	own, err := ownNetworkNamespace()
	if err != nil {
		return 0, err
	}
	if err := fn(""); err != nil {
		return 0, err
	}
	known := map[uint64]bool{own: true}
	for _, place := range networkNamespaces() {
		info, err := os.Stat(place.path)
		if errors.Is(err, os.ErrPermission) {
			denied++
			continue
		}
		if err != nil { // gone
			continue
		}
		if inode := info.Sys().(*syscall.Stat_t).Ino; !known[inode] {
			known[inode] = true
			if err := inNetwork(place.path, func() error { return fn(place.name) }); err != nil {
				return denied, fmt.Errorf("network namespace %s: %w", place.name, err)
			}
		}
	}
	return denied, nil
}

// inNetworkNamespace calls fn in the network namespace of an inode number. It reports
// whether that was found.
func inNetworkNamespace(inode uint64, fn func() error) (found bool, err error) {
	_, err = eachNetworkNamespace(func(string) error {
		if own, err := ownNetworkNamespace(); err != nil || own != inode {
			return err
		}
		found = true
		return fn()
	})
	return found, err
}

// namespacePlace is where a network namespace is to be found.
type namespacePlace struct{ name, path string }

// networkNamespaces returns where there may be network namespaces, those with names
// first, then by process.
func networkNamespaces() (places []namespacePlace) {
	named, _ := filepath.Glob(namedNamespaces + "/*")
	for _, path := range named {
		places = append(places, namespacePlace{filepath.Base(path), path})
	}
	files, _ := os.ReadDir("/proc")
	var processes []int
	for _, file := range files {
		if pid, err := strconv.Atoi(file.Name()); err == nil {
			processes = append(processes, pid)
		}
	}
	slices.SortFunc(processes, cmp.Compare)
	for _, pid := range processes {
		places = append(places, namespacePlace{fmt.Sprintf("of process %d", pid), fmt.Sprintf("/proc/%d/ns/net", pid)})
	}
	return places
}

// inNetwork calls fn in a network namespace.
func inNetwork(path string, fn func() error) error {
	network, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) { // gone
		return nil
	}
	if err != nil {
		return err
	}
	defer network.Close()

	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	err = unix.Setns(int(network.Fd()), unix.CLONE_NEWNET)
	if errors.Is(err, unix.EINVAL) { // a file of another kind among those with names
		runtime.UnlockOSThread()
		return nil
	}
	if err == nil {
		err = fn()
	}
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return back // a locked thread ends with its goroutine: nobody else gets to see it
	}
	runtime.UnlockOSThread()
	return err
}

//go:build linux

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// linkPins is the directory of what this package has pinned.
const linkPins = bpffs + "/" + linkPinsName

const linkPinsName = "xdp-load"

// ErrUntrusted is wrapped by the error about a directory of pins that somebody else
// may change: on a bpffs that everybody may write to, anybody can make it first.
var ErrUntrusted = errors.New("not to be trusted with pins")

// pinDir is linkPins while this process has it for itself: no other adds to it or
// takes from it, and none is between attaching a program and pinning its link.
type pinDir struct {
	lock *os.File

	// loading is set while programs are attached: what is of no attachment may be that of one
	// that is about to come, or to come back.
	loading bool

	// everywhere is set if attachments in other network namespaces are asked for, too.
	everywhere bool

	// gone are the attachments that were found gone with their interfaces.
	gone []string

	// untrusted is why nothing there is taken to be this package's.
	untrusted error

	// mount is a bpffs that is nowhere to be seen before publish mounts it. It is
	// nil if there is one on /sys/fs/bpf.
	mount *os.File

	// published is set if publish has mounted that.
	published bool
}

// lockPins waits until no other process is at work on the pins. It returns nil if
// there are none.
func lockPins() (*pinDir, error) {
	for {
		if !isBPFFS(bpffs) {
			// Somebody may be about to mount one, with a first pin in it.
			lock, err := lockDir(bpffs, nil)
			if errors.Is(err, os.ErrNotExist) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			lock.Close()
			if !isBPFFS(bpffs) {
				return nil, nil
			}
			continue
		}
		lock, err := lockDir(linkPins, checkTrusted)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, nil
		case errors.Is(err, ErrUntrusted):
			return &pinDir{untrusted: err}, nil
		case err != nil:
			return nil, err
		}
		return &pinDir{lock: lock}, nil
	}
}

// withPins calls fn with the pins locked.
func withPins(fn func(*pinDir) error) error {
	pins, err := lockPins()
	if err != nil {
		return err
	}
	defer pins.close()
	return fn(pins)
}

// makePins is lockPins for who is going to pin something. The directory is made if
// it is missing, and a bpffs if /sys/fs/bpf is none.
func makePins() (*pinDir, error) {
	for {
		if !isBPFFS(bpffs) {
			d, err := makeMount()
			if d == nil && err == nil {
				continue // mounted by somebody else in the meantime
			}
			return d, err
		}
		if err := checkWritable(); err != nil {
			return nil, err
		}
		if err := os.Mkdir(linkPins, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		lock, err := lockDir(linkPins, checkTrusted)
		if errors.Is(err, os.ErrNotExist) {
			continue // another process is done with it, and took it away empty
		}
		if err != nil {
			return nil, err
		}
		return &pinDir{lock: lock}, nil
	}
}

// makeMount makes a bpffs that publish will mount. It returns nil if one has been
// mounted by the time that it may.
func makeMount() (*pinDir, error) {
	lock, err := lockDir(bpffs, nil)
	if err != nil {
		return nil, fmt.Errorf("mount bpffs: %w", err)
	}
	if isBPFFS(bpffs) {
		lock.Close()
		return nil, nil
	}
	d := &pinDir{lock: lock}
	if d.mount, err = newBPFFS(); err == nil {
		err = os.Mkdir(d.path(linkPinsName), 0o700)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// path returns where something in the bpffs is.
func (d *pinDir) path(elements ...string) string {
	root := bpffs
	if d != nil && d.mount != nil {
		root = fmt.Sprintf("/proc/self/fd/%d", d.mount.Fd())
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

// publish mounts the bpffs with all that was pinned in it, if it is not yet, and keeps the pins
// locked. Nobody who does not know of the lock gets theirs hidden.
func (d *pinDir) publish() error {
	if d == nil || d.mount == nil {
		return nil
	}
	if isBPFFS(bpffs) {
		return fmt.Errorf("mount bpffs: somebody else has mounted one on %s in the meantime: try again", bpffs)
	}
	if err := checkMountPoint(); err != nil {
		return err
	}
	lock, err := lockDir(d.path(linkPinsName), nil) // which others look for afterwards
	if err != nil {
		return err
	}
	if err := unix.MoveMount(int(d.mount.Fd()), "", unix.AT_FDCWD, bpffs, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		lock.Close()
		return fmt.Errorf("mount bpffs on %s: %w", bpffs, err)
	}
	d.mount.Close()
	d.lock.Close()
	d.mount, d.lock, d.published = nil, lock, true
	return nil
}

// unpublish unmounts after close what publish has mounted, unless something is pinned there by now.
func (d *pinDir) unpublish() {
	if d == nil || !d.published {
		return
	}
	left, err := os.ReadDir(bpffs)
	isPin := func(file os.DirEntry) bool { return !strings.Contains(file.Name(), ".") } // else it is the kernel's
	if err == nil && !slices.ContainsFunc(left, isPin) {
		_ = unix.Unmount(bpffs, 0)
	}
}

// close lets other processes at the pins. A bpffs that was not published is gone
// then, with all that was pinned in it; an empty directory is taken away.
func (d *pinDir) close() {
	if d == nil || d.lock == nil {
		return
	}
	if d.mount != nil {
		d.mount.Close()
	} else {
		_ = os.Remove(linkPins) // unless there is something in it
	}
	d.lock.Close()
}

// checkTrusted wants a directory that nobody but root and the caller can change.
func checkTrusted(dir os.FileInfo) error {
	owner := dir.Sys().(*syscall.Stat_t).Uid
	switch {
	case owner != 0 && int(owner) != os.Geteuid():
		return fmt.Errorf("%w: it belongs to user %d, who may remove what is in it: rm -r it, or have bpffs mounted with mode=0700", ErrUntrusted, owner)
	case dir.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%w: its mode %v lets others remove what is in it: chmod 0700", ErrUntrusted, dir.Mode().Perm())
	}
	return nil
}

// lockTimeout is longer than anybody who means well holds the lock. A test makes it shorter.
var lockTimeout = 30 * time.Second

// lockDir opens the directory that a path leads to and waits for its lock, see
// flock(2). check, which may be nil, comes before that.
func lockDir(path string, check func(os.FileInfo) error) (*os.File, error) {
	for start := time.Now(); time.Since(start) < lockTimeout; {
		dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil, fmt.Errorf("%s: %w: it is no directory: remove it", path, ErrUntrusted)
		}
		if err != nil {
			return nil, err
		}
		locked, err := tryLock(dir, check)
		if err != nil {
			dir.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if locked && isAt(dir, path) {
			return dir, nil
		}
		dir.Close()
		if !locked {
			time.Sleep(time.Millisecond)
		}
	}
	return nil, fmt.Errorf("%s: another process has held its lock for %v: fuser -v %[1]s tells which", path, lockTimeout)
}

func tryLock(dir *os.File, check func(os.FileInfo) error) (bool, error) {
	info, err := dir.Stat()
	if err != nil {
		return false, err
	}
	if check != nil {
		if err := check(info); err != nil {
			return false, err
		}
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// isAt reports whether a path still leads to an open directory.
func isAt(dir *os.File, path string) bool {
	there, err := os.Lstat(path)
	if err != nil {
		return false
	}
	info, err := dir.Stat()
	return err == nil && os.SameFile(there, info)
}

package loader

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// In a bpffs that is not mounted yet, nothing is anybody's.
func TestUnpublishedPins(t *testing.T) {
	withoutBPFFS(t)
	pins := newMount(t)
	defer pins.close()

	if links, skipped, err := pins.attachments(); len(links) > 0 || len(skipped) > 0 || err != nil {
		t.Errorf("Links: %v, %v, %v", links, skipped, err)
	}
}

// A bpffs that somebody mounts in the meantime is not hidden under another.
func TestMountedInTheMeantime(t *testing.T) {
	withoutBPFFS(t)
	pins := newMount(t)
	defer pins.close()
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bpffs+"/theirs", 0o700); err != nil {
		t.Fatal(err)
	}

	if err := pins.publish(); err == nil || !strings.Contains(err.Error(), "mount bpffs: somebody else has mounted one on /sys/fs/bpf in the meantime: try again") {
		t.Errorf("Published: %v", err)
	}
	if _, err := os.Stat(bpffs + "/theirs"); err != nil {
		t.Error(err)
	}
}

// A process that has mounted a bpffs has the pins for itself until it is done with them.
func TestPublishKeepsLock(t *testing.T) {
	withoutBPFFS(t)
	pins := newMount(t)
	if err := pins.publish(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(linkPins)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if locked, err := tryLock(dir, nil); locked || err != nil {
		t.Errorf("Locked by another: %t, %v", locked, err)
	}
	pins.close()
	if locked, err := tryLock(dir, nil); !locked || err != nil {
		t.Errorf("Locked afterwards: %t, %v", locked, err)
	}
}

// Who waits for a lock that is never let go of is told how to find who has it.
func TestLockHeld(t *testing.T) {
	withoutBPFFS(t)
	pins := newMount(t)
	if err := pins.publish(); err != nil {
		t.Fatal(err)
	}
	defer pins.close()
	defer func(before time.Duration) { lockTimeout = before }(lockTimeout)
	lockTimeout = 10 * time.Millisecond
	_, err := lockDir(linkPins, nil)
	if want := linkPins + ": another process has held its lock for 10ms: fuser -v " + linkPins + " tells which"; err == nil || err.Error() != want {
		t.Errorf("%v instead of %s", err, want)
	}
}

// What was mounted for nothing is unmounted, unless it is of use to somebody by then.
func TestUnpublish(t *testing.T) {
	for _, isUsed := range []bool{false, true} {
		withoutBPFFS(t)
		pins := newMount(t)
		if err := pins.publish(); err != nil {
			t.Fatal(err)
		}
		if isUsed {
			if err := os.Mkdir(bpffs+"/theirs", 0o700); err != nil {
				t.Fatal(err)
			}
		}
		pins.close()
		if pins.unpublish(); isBPFFS(bpffs) != isUsed {
			t.Errorf("Used %t, mounted %t", isUsed, isBPFFS(bpffs))
		}
	}
}

// An empty directory of pins is not left in the bpffs that is mounted, which is for
// nobody else.
func TestPublishWithoutLinks(t *testing.T) {
	withoutBPFFS(t)
	pins := newMount(t)
	if err := pins.publish(); err != nil {
		t.Fatal(err)
	}
	pins.close()
	if _, err := os.Stat(linkPins); !isBPFFS(bpffs) || !os.IsNotExist(err) {
		t.Errorf("%s is left behind: %v", linkPins, err)
	}
	if root, err := os.Stat(bpffs); err != nil || root.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", root.Mode(), err)
	}
}

// While a process has the pins, no other gets them.
func TestLockExcludes(t *testing.T) {
	netlab.Enter(t)
	pins, err := makePins()
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(linkPins)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if locked, err := tryLock(other, nil); locked || err != nil {
		t.Errorf("Locked twice: %v, %v", locked, err)
	}
	pins.close()
	if locked, err := tryLock(other, nil); !locked || err != nil {
		t.Errorf("Not let go of: %v, %v", locked, err)
	}
}

// Who locks a directory that was taken away in the meantime goes for the one that is
// there now.
func TestLockOfRemovedDirectory(t *testing.T) {
	path := t.TempDir() + "/dir"
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	looks := 0
	lock, err := lockDir(path, func(os.FileInfo) error {
		if looks++; looks > 1 {
			return nil
		}
		return errors.Join(os.Rename(path, path+"-before"), os.Mkdir(path, 0o700))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if looks != 2 || !isAt(lock, path) {
		t.Errorf("Locked what was there before, after %d looks", looks)
	}
}

// A directory of the user's own is as good as root's.
func TestDirectoryOfUser(t *testing.T) {
	netlab.Enter(t)
	const user, keep = 65534, ^uintptr(0)
	dir := t.TempDir() + "/dir"
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, user, user)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Of this thread alone, which the test is locked to and which ends with it.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, user, keep); errno != 0 {
		t.Fatal(errno)
	}
	err = checkTrusted(info)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep); errno != 0 {
		t.Fatal(errno)
	}
	if err != nil {
		t.Error(err)
	}
}

// withoutBPFFS moves the test into a namespace with nothing mounted on /sys/fs/bpf.
func withoutBPFFS(t *testing.T) {
	t.Helper()

	netlab.Enter(t)
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

// newMount returns pins in a bpffs that is not mounted yet.
func newMount(t *testing.T) *pinDir {
	t.Helper()

	pins, err := makePins()
	if err != nil {
		t.Fatal(err)
	}
	if pins.mount == nil {
		t.Fatalf("There is a bpffs on %s", bpffs)
	}
	return pins
}

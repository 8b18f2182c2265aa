package loader

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// In a bpffs that is not mounted yet, nothing is anybody's.
func TestUnpublishedPins(t *testing.T) {
	withoutBPFFS(t)
	pins := newMount(t)
	defer pins.close()

	if links, skipped, err := pins.links(); len(links) > 0 || len(skipped) > 0 || err != nil {
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

	if err := pins.publish(); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("Published: %v", err)
	}
	if _, err := os.Stat(bpffs + "/theirs"); err != nil {
		t.Error(err)
	}
}

// A process that has mounted a bpffs takes nothing away from under another, which has
// the directory by then.
func TestDirectoryOfNextProcess(t *testing.T) {
	withoutBPFFS(t)
	pins := newMount(t)
	if err := pins.publish(); err != nil {
		t.Fatal(err)
	}
	next, err := makePins()
	if err != nil {
		t.Fatal(err)
	}
	pins.close()
	if _, err := os.Stat(linkPins); err != nil {
		t.Error(err)
	}
	next.close()
	if _, err := os.Stat(linkPins); !os.IsNotExist(err) {
		t.Errorf("%s is left behind: %v", linkPins, err)
	}
}

// An empty directory of pins is not left in the bpffs that is mounted.
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

package loader_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// A watch has the interface for a while: a program that is there comes back, and nothing of
// the watch stays, also if it fails halfway.
func TestWatch(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.TCX)
	lab := newLab(t)
	for _, replaces := range []bool{false, true} {
		if replaces {
			lab.load(program("fields"))
			defer lab.unload("nic0")
		}
		before, pinned := lab.attached(), lab.pins()
		if (before != 0) != replaces {
			t.Fatalf("Program %d is attached", before)
		}
		for _, tc := range []string{"absent", "asked"} { // the latter is of XDP
			if _, err := lab.watch(tc); err == nil || lab.attached() != before {
				t.Errorf("A watch with %s in TC: %v", tc, err)
			}
		}
		watch, err := lab.watch("stacked")
		if err != nil {
			t.Fatal(err)
		}
		if lab.attached() == before || (watch.Replaced != "") != replaces {
			t.Errorf("Program %d is attached in place of %q, %d", lab.attached(), watch.Replaced, before)
		}
		wanted := loader.ErrOccupied
		if replaces {
			wanted = loader.ErrWatched
		}
		if _, err := lab.watch("stacked"); !errors.Is(err, wanted) {
			t.Errorf("A watch beside another: %v", err)
		}
		if _, _, err := loader.Status(); err != nil { // which sweeps away what is of no program
			t.Error(err)
		}
		if err := watch.Close(); err != nil || lab.attached() != before || lab.filters() != 0 {
			t.Errorf("Program %d is attached instead of %d, and %d in TC: %v", lab.attached(), before, lab.filters(), err)
		}
		if left := lab.pins(); !slices.Equal(left, pinned) {
			t.Errorf("There are pinned %v instead of %v", left, pinned)
		}
	}
}

// What a watch has replaced may be unloaded meanwhile.
func TestWatchUnloaded(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.TCX)
	lab := newLab(t)
	lab.load(program("fields"))
	watch, err := lab.watch("stacked")
	if err != nil {
		t.Fatal(err)
	}
	lab.unload("nic0")
	if err := watch.Close(); err != nil || lab.attached() != 0 || lab.filters() != 0 {
		t.Errorf("Program %d is attached, and %d in TC: %v", lab.attached(), lab.filters(), err)
	}
}

func (l *lab) watch(tc string) (*loader.Watch, error) {
	l.Helper()
	object, err := os.ReadFile(ownProgram("nics"))
	if err != nil {
		l.Fatal(err)
	}
	driver := loader.Driver{Name: "veth"}
	accessors, err := driver.Accessors(object)
	if err != nil {
		l.Fatal(err)
	}
	return loader.NewWatch(object, loader.Options{Accessors: accessors, Interface: "nic0", Program: "received"}, tc)
}

// attached returns the number of the program on the NIC, 0 if there is none.
func (l *lab) attached() int {
	l.Helper()
	var links []struct {
		XDP struct{ Prog struct{ ID int } }
	}
	output, err := exec.Command("ip", "-j", "link", "show", "nic0").Output()
	if err == nil {
		err = json.Unmarshal(output, &links)
	}
	if err != nil || len(links) != 1 {
		l.Fatalf("%v: %s", err, output)
	}
	return links[0].XDP.Prog.ID
}

// filters returns how many programs TC has on the way in of the NIC.
func (l *lab) filters() int {
	l.Helper()
	result, err := link.QueryPrograms(link.QueryOptions{Target: l.nic.Index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		l.Fatal(err)
	}
	return len(result.Programs)
}

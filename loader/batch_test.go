package loader_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// A program is on all of several interfaces, each with its own layout and its own program
// array, even if that is pinned by name.
func TestLoadOnAll(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	other, err := lab.ns.AddNIC("nic1")
	if err != nil {
		t.Fatal(err)
	}
	object := ownProgram("calls_pinned")
	all, err := loader.LoadOnAll(object, []loader.Options{
		{Layout: layout(t, "exact"), Interface: "nic0"},
		{Layout: layout(t, "sparse"), Interface: "nic1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var attached []loader.Attachment
	for _, loaded := range all {
		loaded.Close()
		attached = append(attached, *loaded.Attachment)
	}
	if got := lab.status(); !slices.EqualFunc(got, attached, func(a, b loader.Attachment) bool { return !differ(a, b) }) {
		t.Errorf("Status: %+v instead of %+v", got, attached)
	}
	lab.wantCalled(attached[0], lab.nic, object, 8)
	lab.wantCalled(attached[1], other, object, 12)
	lab.unload("nic0")
	lab.unload("nic1")
	remove(t, bpffs+"/jump")
}

// If one of several fails, at whichever step, the others are as they were.
func TestLoadOnAllOrNone(t *testing.T) {
	lab := newLab(t)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	present := lab.load(program("fields"))
	pins := strings.Join(lab.pins(), "\n")
	exact, sparse := layout(t, "exact"), layout(t, "sparse")
	for name, test := range map[string]struct {
		object string
		each   []loader.Options
		err    error
		want   string
	}{
		"a field is missing on one": {program("unguarded"), []loader.Options{
			{Layout: exact, Interface: "nic0", Replace: true}, {Layout: sparse, Interface: "nic1"},
		}, nil, "nic1: ../testdata/programs/unguarded"},
		"one has a program": {program("fields"), []loader.Options{
			{Layout: exact, Interface: "nic1"}, {Layout: exact, Interface: "nic0"},
		}, loader.ErrOccupied, "nic0 already has"},
		"one is not attached": {ownProgram("counted"), []loader.Options{
			{Layout: exact, Interface: "nic1"}, {Layout: sparse, Interface: "nic0", Replace: true}, {Layout: exact, Interface: "lo"},
		}, loader.ErrNoNative, "lo: no native XDP"},
		"one is given twice": {program("fields"), []loader.Options{
			{Layout: exact, Interface: "nic1"}, {Layout: exact, Interface: "nic1"},
		}, nil, "nic1: given twice, as nic1 before"},
		"one is given twice, to be replaced": {program("fields"), []loader.Options{
			{Layout: exact, Interface: "nic0", Replace: true}, {Layout: exact, Interface: "nic0", Replace: true},
		}, nil, "nic0: given twice, as nic0 before"},
		"one has no name": {program("fields"), []loader.Options{
			{Layout: exact, Interface: "nic1"}, {Layout: exact},
		}, nil, "no interface to attach it to"},
	} {
		all, err := loader.LoadOnAll(test.object, test.each)
		if all != nil || err == nil || test.err != nil && !errors.Is(err, test.err) || !strings.HasPrefix(err.Error(), test.want) && !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: %v, %v", name, all, err)
		}
		if got := lab.status(); len(got) != 1 || differ(got[0], *present) {
			t.Errorf("%s: status %+v instead of %+v", name, got, present)
		}
		if links, _ := run("ip link show nic1"); strings.Contains(links, "xdp") {
			t.Errorf("%s: %s", name, links)
		}
		if now := strings.Join(lab.pins(), "\n"); now != pins {
			t.Errorf("%s: pinned are %s\ninstead of %s", name, now, pins)
		}
	}
	lab.unload("nic0")
}

// A filter that was added, or that asks another program, is as it was before if a next one fails.
func TestFiltersAllOrNone(t *testing.T) {
	netlab.NeedTools(t, "tc")
	lab := newLab(t)
	exact := layout(t, "exact")
	each := []loader.Options{
		{Layout: exact, Interface: "nic0", Program: "in", Mode: loader.Clsact},
		{Layout: exact, Interface: "nic0", Program: "out", Mode: loader.Clsact},
		{Layout: exact, Interface: "lo", Program: "first"},
	}
	wantRefused := func() {
		t.Helper()
		if _, err := loader.LoadOnAll(ownProgram("places"), each); !errors.Is(err, loader.ErrNoNative) {
			t.Errorf("%v", err)
		}
	}
	wantRefused()
	if qdiscs := lab.output("tc", "qdisc", "show", "dev", "nic0"); strings.Contains(qdiscs, "clsact") {
		t.Errorf("Left: %s", qdiscs)
	}
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Pinned: %v", pins)
	}

	var present []loader.Attachment
	for i := range 2 {
		each[i].Replace = true
		present = append(present, *lab.loadAs(each[i]).Attachment)
	}
	pins := lab.pins()
	wantRefused()
	if got := lab.status(); !slices.EqualFunc(got, present, func(a, b loader.Attachment) bool { return !differ(a, b) }) {
		t.Errorf("Status: %+v instead of %+v", got, present)
	}
	if now := lab.pins(); !slices.Equal(now, pins) {
		t.Errorf("Pinned: %v instead of %v", now, pins)
	}
	lab.unload("nic0")
}

package loader_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// offloadLab is a lab with a NIC that runs programs itself, as far as the kernel can tell.
type offloadLab struct {
	*lab
	sim *netlab.SimNIC
}

func newOffloadLab(t *testing.T) *offloadLab {
	t.Helper()

	netlab.NeedSimNICs(t)
	lab := newLab(t)
	sim, err := lab.ns.AddSimNIC("sim0")
	if err != nil {
		t.Fatal(err)
	}
	l := &offloadLab{lab, sim}
	t.Cleanup(func() {
		if l.sim == nil {
			return
		}
		if err := l.sim.Remove(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *offloadLab) options() loader.Options {
	return loader.Options{Layout: layout(l.T, "exact"), Interface: l.sim.Name, Mode: loader.Offload}
}

// check compares what the driver and Status say of the NIC with an attachment, nil if
// there is to be none.
func (l *offloadLab) check(want *loader.Attachment) {
	l.Helper()

	var id, bound int
	if want != nil {
		id, bound = int(want.ProgramID), 1
		if want.Mode != loader.Offload || want.Driver != "netdevsim" || want.Interface != l.sim.Name {
			l.Errorf("Attachment: %+v", want)
		}
	}
	got, err := l.sim.Get("bpf_offloaded_id")
	if err != nil {
		l.Fatal(err)
	}
	if got != fmt.Sprint(id) {
		l.Errorf("The NIC runs program %s instead of %d", got, id)
	}
	l.awaitBound(bound)
	switch status := l.status(); {
	case want == nil && len(status) != 0, want != nil && (len(status) != 1 || differ(status[0], *want)):
		l.Errorf("Status: %+v instead of %+v", status, want)
	}
}

// awaitBound returns once so many programs are loaded for the NIC: the kernel lets go of them
// later.
func (l *offloadLab) awaitBound(want int) {
	l.Helper()

	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		programs, err := l.sim.BoundPrograms()
		if err != nil {
			l.Fatal(err)
		}
		if programs == want {
			return
		}
		if time.Now().After(deadline) {
			l.Errorf("%d programs are loaded for the NIC instead of %d", programs, want)
			return
		}
	}
}

// set turns one of the driver's knobs.
func (l *offloadLab) set(knob, value string) {
	l.Helper()

	if err := l.sim.Set(knob, value); err != nil {
		l.Fatal(err)
	}
}

// A NIC that runs programs is given one, another in its place, the same for the layout
// that there is by then, and none any more.
func TestOffload(t *testing.T) {
	lab := newOffloadLab(t)
	opts := lab.options()
	if plan, err := loader.Preview(program("oneload"), opts); err != nil || plan.Target.Interface != "sim0" {
		t.Errorf("Preview: %+v, %v", plan, err)
	}
	lab.check(nil)

	loaded, err := loader.LoadRewritten(program("oneload"), opts)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	lab.check(loaded.Attachment)

	opts.Layout, opts.Replace = layout(t, "reordered"), true
	replaced, err := loader.LoadRewritten(program("oneload"), opts)
	if err != nil {
		t.Fatal(err)
	}
	replaced.Close()
	if replaced.Replaced != loaded.Attachment.ProgramID {
		t.Errorf("Replaced %d instead of %d", replaced.Replaced, loaded.Attachment.ProgramID)
	}
	if replaced.Attachment.Tag == loaded.Attachment.Tag {
		t.Error("It is the same for another layout")
	}
	lab.check(replaced.Attachment)

	reloaded, err := loader.Reload("sim0", func(record *loader.Record) (loader.Options, error) {
		return loader.Options{Layout: layout(t, "exact"), Origin: record.Origin}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	reloaded.Close()
	if reloaded.Attachment.Tag != loaded.Attachment.Tag {
		t.Errorf("Tag %s, for the same layout before %s", reloaded.Attachment.Tag, loaded.Attachment.Tag)
	}
	lab.check(reloaded.Attachment)

	lab.unload("sim0")
	lab.check(nil)
}

// A map that the program uses is on the NIC, too, or the kernel would refuse the program
// (bpf_offload_prog_map_match in kernel/bpf/offload.c), and is read and written from here. A
// program in its place uses it again by its name.
func TestOffloadMaps(t *testing.T) {
	lab := newOffloadLab(t)
	opts := lab.options()
	loaded, err := loader.LoadRewritten(ownProgram("pinned"), opts)
	if err != nil {
		t.Fatal(err)
	}
	lab.check(loaded.Attachment)
	if want := bpffs + "/last_hash"; len(loaded.Pinned) != 1 || loaded.Pinned[0].Path != want || loaded.Pinned[0].Reused {
		t.Errorf("Pinned: %+v", loaded.Pinned)
	}
	if err := loaded.Maps["last_hash"].Put(uint32(0), uint64(0xcafe)); err != nil {
		t.Fatal(err)
	}
	loaded.Close()

	opts.Replace = true
	replaced, err := loader.LoadRewritten(ownProgram("pinned"), opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(replaced.Pinned) != 1 || !replaced.Pinned[0].Reused {
		t.Errorf("Pinned: %+v", replaced.Pinned)
	}
	var hash uint64
	if err := replaced.Maps["last_hash"].Lookup(uint32(0), &hash); err != nil || hash != 0xcafe {
		t.Errorf("The map has %#x, %v", hash, err)
	}
	replaced.Close()
	lab.check(replaced.Attachment)
	lab.unload("sim0")

	// Now nothing is there to be used, and the NIC has no more.
	remove(t, bpffs+"/last_hash")
	lab.set("bpf_map_accept", "N")
	opts.Replace = false
	want := "sim0: map last_hash: the NIC's driver makes none like it (Array, 1 entries of 4 and 8 bytes): operation not supported"
	if _, err := loader.LoadRewritten(ownProgram("pinned"), opts); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Load: %v", err)
	}
	lab.check(nil)
}

// What the NIC's driver refuses leaves nothing behind, and what is there as it was.
func TestOffloadRefusals(t *testing.T) {
	for _, test := range []struct{ knob, load, replace string }{
		{
			"bpf_bind_accept",
			"sim0: the NIC's driver does not take program oneload for it, and does not say why: attach it in native mode",
			"sim0: the NIC's driver does not take program oneload for it, and does not say why: attach it in native mode",
		},
		{
			"bpf_bind_verifier_accept",
			"oneload.c:42: driver netdevsim does not take the program for its NIC: Hello from netdevsim!: attach it in native mode",
			"oneload.c:42: driver netdevsim does not take the program for its NIC: Hello from netdevsim!: attach it in native mode",
		},
		{
			"bpf_xdpoffload_accept",
			"sim0: attach in offload mode: netdevsim: XDP offload disabled in DebugFS",
			"which stays: driver netdevsim refuses, and does not say why",
		},
	} {
		t.Run(test.knob, func(t *testing.T) {
			lab := newOffloadLab(t)
			lab.set(test.knob, "N")
			opts := lab.options()
			if _, err := loader.LoadRewritten(program("oneload"), opts); err == nil || !strings.Contains(err.Error(), test.load) {
				t.Errorf("Load: %v", err)
			}
			lab.check(nil)
			if pins := lab.pins(); len(pins) != 0 {
				t.Errorf("Pinned: %v", pins)
			}

			lab.set(test.knob, "Y")
			loaded, err := loader.LoadRewritten(program("oneload"), opts)
			if err != nil {
				t.Fatal(err)
			}
			loaded.Close()
			lab.set(test.knob, "N")
			opts.Replace = true
			if _, err := loader.LoadRewritten(program("oneload"), opts); err == nil || !strings.Contains(err.Error(), test.replace) {
				t.Errorf("Replace: %v", err)
			}
			lab.check(loaded.Attachment)

			lab.set(test.knob, "Y") // or the driver lets none go, either
			lab.unload("sim0")
			lab.check(nil)
		})
	}
}

// A program on the NIC and one in its driver do not take each other's place.
func TestOffloadAndNative(t *testing.T) {
	lab := newOffloadLab(t)
	for _, modes := range [][2]loader.Mode{{loader.Offload, loader.Native}, {loader.Native, loader.Offload}} {
		opts := lab.options()
		opts.Mode = modes[0]
		loaded, err := loader.LoadRewritten(program("oneload"), opts)
		if err != nil {
			t.Fatal(err)
		}
		loaded.Close()
		opts.Mode = modes[1]
		want := fmt.Sprintf("attached by xdp-load in %s mode, which a program in %s mode can't replace", modes[0], modes[1])
		for _, opts.Replace = range []bool{false, true} {
			if _, err := loader.LoadRewritten(program("oneload"), opts); !errors.Is(err, loader.ErrOccupied) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, replace %t: %v", modes[1], opts.Replace, err)
			}
		}
		if status := lab.status(); len(status) != 1 || differ(status[0], *loaded.Attachment) {
			t.Errorf("Status: %+v", status)
		}
		lab.unload("sim0")
	}
	lab.check(nil)
}

// A NIC that is unplugged takes its program along, of which nothing is left pinned but a map by
// its name: this is of no use any more.
func TestOffloadUnplugged(t *testing.T) {
	lab := newOffloadLab(t)
	loaded, err := loader.LoadRewritten(ownProgram("pinned"), lab.options())
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	if err := lab.sim.Remove(); err != nil {
		t.Fatal(err)
	}
	lab.sim = nil

	want := fmt.Sprintf("link %d, program id %d: the interface is gone", loaded.Attachment.LinkID, loaded.Attachment.ProgramID)
	overview, err := loader.Survey(loader.SurveyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(overview.Programs) != 0 || len(overview.Skipped) != 0 || len(overview.Gone) != 1 || !strings.Contains(overview.Gone[0], want) {
		t.Errorf("Survey: %+v", overview)
	}
	const named = bpffs + "/last_hash"
	if pins := lab.pins(); !slices.Equal(pins, []string{named}) {
		t.Errorf("Pinned: %v", pins)
	}

	if lab.sim, err = lab.ns.AddSimNIC("sim0"); err != nil {
		t.Fatal(err)
	}
	want = "map last_hash: what is pinned at " + named + " was on a NIC that is gone: rm " + named
	if _, err := loader.LoadRewritten(ownProgram("pinned"), lab.options()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Load: %v", err)
	}
	remove(t, named)
	lab.check(nil)
}

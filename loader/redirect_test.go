package loader_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/rewrite"
)

// The slots of counts in redirects.c.
const (
	onCPU = iota
	onWayOut
)

// markedFrames are frames with a mark in the metadata area of the layout exact.
func markedFrames(packets int) []netlab.Frame {
	metadata := make([]byte, 40)
	binary.NativeEndian.PutUint32(metadata[28:], 0xcafe)
	return slices.Repeat([]netlab.Frame{{Metadata: metadata, Packet: make([]byte, 64)}}, packets)
}

// wantRedirected delivers frames, and wants them to be counted where they are redirected to.
func (l *lab) wantRedirected(counted *ebpf.Map, slot uint32, packets uint64) {
	l.Helper()

	before := redirected(l.T, counted, slot)
	if err := l.nic.Deliver(markedFrames(int(packets))); err != nil {
		l.Fatal(err)
	}
	want := counts{before.Seen + packets, before.Found + packets, before.Right + packets}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		got := redirected(l.T, counted, slot)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("%+v instead of %+v", got, want)
		}
	}
}

func redirected(t *testing.T, counted *ebpf.Map, slot uint32) (got counts) {
	t.Helper()

	if err := counted.Lookup(slot, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// What a program redirects is seen by the programs that are put into the maps, which are loaded
// with it, read the metadata area as it does, and are pinned beside it; also after a reload.
func TestRedirects(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	netlab.NeedTools(t, "ethtool")
	for _, test := range []struct {
		redirect loader.Redirect
		program  string
		slot     uint32
		kind     string
	}{
		{loader.Redirect{Map: "cpus", Key: 0, Queue: 512, Program: "on_cpu"}, "spread", onCPU, "cpumap"},
		{loader.Redirect{Map: "ports", Key: 7, Interface: "nic1", Program: "on_way_out"}, "forward", onWayOut, "devmap"},
		{loader.Redirect{Map: "named", Key: 0, Queue: 512, Program: "on_cpu"}, "spread_named", onCPU, "cpumap"},
	} {
		t.Run(test.program, func(t *testing.T) {
			lab := newLab(t)
			if _, err := lab.ns.AddNIC("nic1"); err != nil {
				t.Fatal(err)
			}
			lab.output("ethtool", "-K", "nic1-wire", "gro", "on") // else veth takes no redirected packets
			opts := loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Program: test.program, Redirects: []loader.Redirect{test.redirect}}
			loaded, err := loader.LoadRewritten(ownProgram("redirects"), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer loaded.Close()
			lab.wantRedirected(loaded.Maps["counts"], test.slot, 100)

			if len(loaded.ForMaps) != 1 || loaded.ForMaps[0].Name != test.redirect.Program || loaded.ForMaps[0].For != test.kind {
				t.Fatalf("For maps: %+v", loaded.ForMaps)
			}
			pinned, err := ebpf.LoadPinnedProgram(loaded.ForMaps[0].Path, nil)
			if err != nil {
				t.Fatal(err)
			}
			pinned.Close()

			reloaded, err := loader.Reload("nic0", func(*loader.Record) (loader.Options, error) { return loader.Options{Layout: opts.Layout}, nil })
			if err != nil {
				t.Fatal(err)
			}
			defer reloaded.Close()
			lab.wantRedirected(reloaded.Maps["counts"], test.slot, 100)
			if got := redirected(t, loaded.Maps["counts"], test.slot); got.Seen != 100 {
				t.Errorf("Of the first program: %+v", got)
			}
			if _, err := os.Stat(loaded.ForMaps[0].Path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v", loaded.ForMaps[0].Path, err)
			}

			// What fails leaves the entries as they are.
			opts.Replace, opts.Redirects = true, append(opts.Redirects, loader.Redirect{Map: test.redirect.Map, Key: 1 << 20, Queue: test.redirect.Queue, Interface: test.redirect.Interface})
			if test.kind == "cpumap" {
				if _, err := loader.LoadRewritten(ownProgram("redirects"), opts); err == nil || !strings.Contains(err.Error(), "map "+test.redirect.Map+": key 1048576: ") {
					t.Errorf("Beyond the map: %v", err)
				}
				lab.wantRedirected(reloaded.Maps["counts"], test.slot, 100)
			}
			lab.unload("nic0")
			if err := loaded.Detach(); !errors.Is(err, loader.ErrNotAttached) {
				t.Errorf("Detached what is replaced: %v", err)
			}
			if err := errors.Join(loaded.Attach(), loaded.Detach()); err != nil {
				t.Errorf("Attached again: %v", err)
			}
			if left, err := filepath.Glob(bpffs + "/named"); err == nil && len(left) > 0 {
				remove(t, left[0])
			}
		})
	}
}

// Of the programs for maps only those are loaded that the program can use.
func TestRedirectsReach(t *testing.T) {
	for program, want := range map[string][]string{
		"spread":       {"on_cpu", "spread"},
		"forward":      {"forward", "on_way_out"},
		"spread_plain": {"spread_plain"},
	} {
		lab := newLab(t)
		loaded, err := loader.LoadRewritten(ownProgram("redirects"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Program: program})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for name := range loaded.Programs {
			got = append(got, name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %v instead of %v", program, got, want)
		}
		loaded.Close()
		lab.unload("nic0")
	}
}

// Entries that make no sense are refused, and so is what reads the driver's memory where
// packets have left it.
func TestRedirectsRefused(t *testing.T) {
	lab := newLab(t)
	for _, test := range []struct {
		redirect loader.Redirect
		program  string
		want     string
	}{
		{loader.Redirect{Map: "cpu", Queue: 1}, "spread", "map cpu: nothing that is loaded uses a map of the name"},
		{loader.Redirect{Map: "ports", Interface: "nic0"}, "spread", "map ports: nothing that is loaded uses a map of the name"},
		{loader.Redirect{Map: "cpus"}, "spread", "map cpus: key 0: a cpumap takes the size of the queue"},
		{loader.Redirect{Map: "cpus", Interface: "nic0"}, "spread", "a cpumap takes the size of the queue"},
		{loader.Redirect{Map: "ports", Queue: 1}, "forward", "a devmap takes the name of an interface"},
		{loader.Redirect{Map: "ports", Interface: "nowhere"}, "forward", "nowhere: no such network interface"},
		{loader.Redirect{Map: "counts", Queue: 1}, "spread", "map counts: its type is Array"},
		{loader.Redirect{Map: "cpus", Queue: 1, Program: "on_way_out"}, "spread", `program on_way_out is none in SEC("xdp/cpumap")`},
		{loader.Redirect{Map: "plain", Queue: 1, Program: "on_cpu"}, "spread_plain", "no room for program on_cpu"},
	} {
		opts := loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Program: test.program, Redirects: []loader.Redirect{test.redirect}}
		if _, err := loader.LoadRewritten(ownProgram("redirects"), opts); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v\nlacks %q", test.redirect, err, test.want)
		}
	}

	if got := lab.status(); len(got) > 0 {
		t.Errorf("Status: %+v", got)
	}
}

// Where a packet of a cpumap is, nothing of the driver's is left.
func TestRedirectedFromDriver(t *testing.T) {
	netlab.Need(t, netlab.VethBuff)
	newLab(t)
	accessors, err := (&loader.Driver{Name: "veth"}).Accessors(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = loader.LoadRewritten(ownProgram("redirects"), loader.Options{Accessors: accessors, Interface: "nic0", Program: "spread"})
	if want := `program on_cpu, in SEC("xdp/cpumap"), is given packets that have left the driver`; !errors.Is(err, rewrite.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nlacks %q", err, want)
	}
}

package loader_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/rewrite"
)

// In generic mode, on any interface, a program runs, and has no descriptor.
func TestGenericMode(t *testing.T) {
	lab := newLab(t)
	opts := loader.Options{Layout: layout(t, "exact"), Interface: "lo", Mode: loader.Generic}
	if plan, err := loader.Preview(ownProgram("calls"), opts); err != nil || plan.Target.Interface != "lo" {
		t.Errorf("Preview: %+v, %v", plan, err)
	}
	loaded, err := loader.LoadRewritten(ownProgram("calls"), opts)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	if got := lab.status(); len(got) != 1 || differ(got[0], *loaded.Attachment) || got[0].Mode != loader.Generic {
		t.Errorf("Status: %+v", got)
	}
	if _, err := run("ip link set lo up"); err != nil {
		t.Fatal(err)
	}
	if _, err := run("ping -c 1 -W 1 127.0.0.1"); err == nil {
		if called := lab.global(*loaded.Attachment, ownProgram("calls"), "called"); called == 0 {
			t.Error("It has not run")
		}
	}
	if hash := lab.global(*loaded.Attachment, ownProgram("calls"), "hash_called"); hash != 0 {
		t.Errorf("It has read %#x", hash)
	}
	lab.unload("lo")

	opts.Layout, opts.Accessors = nil, []*rewrite.Accessors{{}}
	if _, err := loader.LoadRewritten(ownProgram("calls"), opts); !errors.Is(err, loader.ErrNoDriverHere) {
		t.Errorf("With accessors: %v", err)
	}
}

// On the NIC there is nothing of the driver's, and few kinds of maps; and no NIC here runs programs,
// which the driver tells, or the kernel says when it is asked all the same.
func TestOffloadRefused(t *testing.T) {
	newLab(t)
	opts := loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Mode: loader.Offload}
	if _, err := loader.LoadRewritten(ownProgram("calls"), opts); err == nil || !strings.Contains(err.Error(), "mode offload: program calls uses maps that no NIC has, which are arrays and hashes without flags, and not global variables: .bss, jump") {
		t.Errorf("With maps: %v", err)
	}
	target, err := nic.ByName("nic0")
	if err != nil {
		t.Fatal(err)
	}
	want := "nic0: no XDP programs on the NIC by all that driver veth tells"
	if _, err := target.HasOffload(); errors.Is(err, nic.ErrFeaturesUnknown) {
		want = "nic0: no XDP programs on the NIC, or none like oneload: attach it in native mode"
	} else if _, err := loader.Preview(program("oneload"), opts); !errors.Is(err, loader.ErrNoOffload) || !strings.Contains(err.Error(), want) {
		t.Errorf("Preview: %v", err)
	}
	if _, err := loader.LoadRewritten(program("oneload"), opts); !errors.Is(err, loader.ErrNoOffload) || !strings.Contains(err.Error(), want) {
		t.Errorf("Load: %v", err)
	}
	want = strings.ReplaceAll(want, "oneload", "map last_hash")
	if _, err := loader.LoadRewritten(ownProgram("pinned"), opts); !errors.Is(err, loader.ErrNoOffload) || !strings.Contains(err.Error(), want) {
		t.Errorf("With a map: %v", err)
	}
	opts.Layout, opts.Accessors = nil, []*rewrite.Accessors{{}}
	if _, err := loader.LoadRewritten(ownProgram("calls"), opts); !errors.Is(err, loader.ErrNoDriverHere) || !strings.Contains(err.Error(), "no driver has the packet in offload mode: the program runs on the NIC, where there is no memory of the kernel: give the layout of the metadata area") {
		t.Errorf("With accessors: %v", err)
	}
}

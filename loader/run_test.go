package loader_test

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A program is run on what it is given, rewritten for the layout, and what it has changed is
// told. What is pinned by name is not its.
func TestRun(t *testing.T) {
	netlab.Need(t, netlab.RunContext)
	netlab.Need(t, netlab.LargeMetadata)
	newLab(t)
	for name, hashAt := range map[string]int{"exact": 8, "sparse": 12} {
		input := loader.Input{Metadata: make([]byte, 40), Packet: make([]byte, 60), Repeat: 3}
		binary.NativeEndian.PutUint32(input.Metadata[hashAt:], 0xcafe)
		outcome, err := loader.Run(ownProgram("calls_pinned"), loader.Options{Layout: layout(t, name)}, input)
		if err != nil {
			t.Fatal(err)
		}
		if outcome.Program != "calls" || outcome.Action != 2 || outcome.ActionName != "XDP_PASS" || outcome.Duration <= 0 {
			t.Errorf("%s: %+v", name, outcome)
		}
		if string(outcome.Metadata) != string(input.Metadata) || string(outcome.Packet) != string(input.Packet) {
			t.Errorf("%s: metadata area %x, packet %x", name, outcome.Metadata, outcome.Packet)
		}
		want := map[string]uint32{"called": 3, "hash_called": 0xcafe}
		for _, v := range outcome.Variables {
			if got := binary.NativeEndian.Uint32(v.After); got != want[v.Name] || binary.NativeEndian.Uint32(v.Before) != 0 {
				t.Errorf("%s: %+v", name, v)
			}
		}
		if len(outcome.Variables) != len(want) {
			t.Errorf("%s: %+v", name, outcome.Variables)
		}
		if _, err := os.Stat(bpffs + "/jump"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: its map is pinned: %v", name, err)
		}
	}
	object, err := os.ReadFile(ownProgram("calls_pinned"))
	if err != nil {
		t.Fatal(err)
	}
	input := loader.Input{Packet: make([]byte, 60)}
	if outcome, err := loader.Run("in-no-file.o", loader.Options{Layout: layout(t, "exact"), Object: object}, input); err != nil || outcome.Program != "calls" {
		t.Errorf("Of an object that was read: %+v, %v", outcome, err)
	}
	most := loader.Input{Metadata: make([]byte, 216), Packet: make([]byte, 14)}
	if outcome, err := loader.Run(program("fields"), loader.Options{Layout: layout(t, "exact")}, most); err != nil || len(outcome.Metadata) != 216 {
		t.Errorf("The largest area: %v", err)
	}
	_, err = loader.Run(program("fields"), loader.Options{Accessors: []*rewrite.Accessors{{}}}, loader.Input{})
	if !errors.Is(err, loader.ErrNoDriverHere) {
		t.Errorf("With accessors: %v", err)
	}
}

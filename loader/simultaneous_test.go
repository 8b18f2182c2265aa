package loader_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// atOnce runs this test binary as several commands at the same time, and returns what each
// prints, with "error: " in front if it fails.
func (l *lab) atOnce(lines ...[]string) []string {
	l.Helper()

	cmds, outputs := make([]*exec.Cmd, len(lines)), make([]bytes.Buffer, len(lines))
	for i, line := range lines {
		cmds[i] = command(line...)
		cmds[i].Stdout, cmds[i].Stderr = &outputs[i], &outputs[i]
		if err := cmds[i].Start(); err != nil {
			l.Fatal(err)
		}
	}
	said := make([]string, len(lines))
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil && !strings.HasPrefix(outputs[i].String(), "error: ") {
			l.Errorf("%v: %v: %s", lines[i], err, &outputs[i])
		}
		said[i] = outputs[i].String()
	}
	return said
}

// Several processes load on several interfaces at once, replace what is there, and unload it:
// on each interface one gets its way at a time and the others are told, maps that are pinned by
// name are shared by all, and nothing is left behind.
func TestSimultaneousOnSeveral(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	nics := []*netlab.NIC{lab.nic}
	for _, name := range []string{"nic1", "nic2"} {
		nic, err := lab.ns.AddNIC(name)
		if err != nil {
			t.Fatal(err)
		}
		nics = append(nics, nic)
	}
	onEach := func(times int, args ...string) (lines [][]string) {
		for range times {
			for _, nic := range nics {
				lines = append(lines, append(slices.Clone(args), nic.Name))
			}
		}
		return lines
	}
	sent := uint64(0)
	for range 3 {
		wantOnEach(t, lab.atOnce(onEach(2, "load", ownProgram("counted"), layoutFile("exact"))...), len(nics), false, loader.ErrOccupied)
		lab.wantShared(len(nics))
		var all []*traffic
		for _, nic := range nics {
			all = append(all, startTraffic(nic, cafe()))
		}
		wantOnEach(t, lab.atOnce(onEach(2, "replace", ownProgram("counted"), layoutFile("sparse"))...), len(nics), true, loader.ErrChanged)
		for _, traffic := range all {
			sent += traffic.end(t)
		}
		lab.wantShared(len(nics))
		wantOnEach(t, lab.atOnce(onEach(2, "unload")...), len(nics), false, loader.ErrNotAttached)
		if pins := lab.pins(); !slices.Equal(pins, []string{bpffs + "/counts"}) {
			t.Errorf("Pinned: %v", pins)
		}
	}
	wantAllCounted(t, sent)
	remove(t, bpffs+"/counts")
}

// wantOnEach wants commands to have succeeded on each of so many interfaces, of which the
// lines have one after the other, once or, if several is set, at least once; and the others to
// have failed for a reason.
func wantOnEach(t *testing.T, said []string, nics int, several bool, reason error) {
	t.Helper()

	for nic := range nics {
		done := 0
		for i := nic; i < len(said); i += nics {
			if !strings.HasPrefix(said[i], "error: ") {
				done++
			} else if !strings.Contains(said[i], reason.Error()) {
				t.Errorf("It says %q", said[i])
			}
		}
		if done == 0 || done > 1 && !several {
			t.Errorf("On interface %d %d were done: %q", nic, done, said)
		}
	}
}

// wantShared wants so many attachments, all with the map that is pinned by name, and nothing
// pinned besides.
func (l *lab) wantShared(many int) {
	l.Helper()

	programs := l.survey(loader.SurveyOptions{}).Programs
	if len(programs) != many {
		l.Fatalf("%d programs: %+v", len(programs), programs)
	}
	shared, err := ebpf.LoadPinnedMap(bpffs+"/counts", nil)
	if err != nil {
		l.Fatal(err)
	}
	defer shared.Close()
	info, err := shared.Info()
	if err != nil {
		l.Fatal(err)
	}
	id, _ := info.ID()
	for _, p := range programs {
		isIt := func(m loader.AttachedMap) bool { return m.Name == "counts" && m.ID == id }
		if !slices.ContainsFunc(p.Maps, isIt) {
			l.Errorf("%s: %+v lacks map %d", p.Interface, p.Maps, id)
		}
	}
	l.wantNothingStray(fmt.Sprintf("with %d attached", many))
}

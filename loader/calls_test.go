package loader_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// loadByCommand loads an object in a process of its own, which has ended by now.
func (l *lab) loadByCommand(object, layout, iface string) loader.Attachment {
	l.Helper()

	if output, err := command("load", object, layoutFile(layout), iface).CombinedOutput(); err != nil {
		l.Fatalf("%v: %s", err, output)
	}
	for _, attachment := range l.status() {
		if attachment.Interface == iface {
			return attachment
		}
	}
	l.Fatalf("Nothing attached to %s", iface)
	return loader.Attachment{}
}

// global reads a global variable of a program that is attached.
func (l *lab) global(a loader.Attachment, object, name string) uint32 {
	l.Helper()

	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		l.Fatal(err)
	}
	variable := spec.Variables[name]
	section := strings.ReplaceAll(variable.SectionName, ".", "_")
	m, err := ebpf.LoadPinnedMap(mapPins(a)+"/"+section, nil)
	if err != nil {
		l.Fatal(err)
	}
	defer m.Close()
	data, err := m.LookupBytes(uint32(0))
	if err != nil {
		l.Fatal(err)
	}
	return binary.NativeEndian.Uint32(data[variable.Offset:])
}

// wantCalled delivers a packet and wants the last program in line to have read its
// hash.
func (l *lab) wantCalled(a loader.Attachment, nic *netlab.NIC, object string, hashAt int) {
	l.Helper()

	hash := uint32(0xcafe0000) + l.global(a, object, "called")
	before := l.global(a, object, "missed")
	metadata := make([]byte, 40)
	binary.NativeEndian.PutUint32(metadata[hashAt:], hash)
	deliver(l.T, nic, metadata)
	if missed := l.global(a, object, "missed") - before; missed != 0 {
		l.Errorf("%s: a slot of the program array was empty", a.Interface)
	}
	if got := l.global(a, object, "hash_called"); got != hash {
		l.Errorf("%s: the program that is called last read hash %#x instead of %#x", a.Interface, got, hash)
	}
}

func (l *lab) unload(iface string) {
	l.Helper()

	if err := loader.Unload(iface); err != nil {
		l.Fatal(err)
	}
}

// A program array is empty once nobody has it open: it must not be when the process
// that filled it is gone.
func TestTailCallsOutliveProcess(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	object := ownProgram("calls")
	attachment := lab.loadByCommand(object, "exact", "nic0")
	lab.wantCalled(attachment, lab.nic, object, 8)
	lab.unload("nic0")
}

// Timers are cancelled once nobody has their map open.
func TestTimersOutliveProcess(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	netlab.Need(t, netlab.Timers)
	lab := newLab(t)
	object := ownProgram("timer")
	attachment := lab.loadByCommand(object, "exact", "nic0")
	deliver(t, lab.nic, make([]byte, 40))
	ticks := lab.global(attachment, object, "ticks")
	time.Sleep(50 * time.Millisecond)
	if now := lab.global(attachment, object, "ticks"); now-ticks < 10 {
		t.Errorf("%d ticks in 50 ms, after %d", now-ticks, ticks)
	}
	lab.unload("nic0")
}

// Interfaces don't share a program array, even if it is pinned by name: the programs
// in it are for the layout of one of them. What is on the first one stays as it is.
func TestPinnedProgramArrayOfTwoInterfaces(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	other, err := lab.ns.AddNIC("nic1")
	if err != nil {
		t.Fatal(err)
	}
	object := ownProgram("calls_pinned")
	first := lab.loadByCommand(object, "exact", "nic0")
	second := lab.loadByCommand(object, "sparse", "nic1")
	lab.wantCalled(first, lab.nic, object, 8)
	lab.wantCalled(second, other, object, 12)

	lab.unload("nic0")
	lab.wantCalled(second, other, object, 12)
	lab.unload("nic1")
	remove(t, bpffs+"/jump")
}

// A program array that is pinned by name and that no interface uses is used again.
func TestPinnedProgramArrayAgain(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	object := ownProgram("calls_pinned")
	lab.loadByCommand(object, "exact", "nic0")
	lab.unload("nic0")
	before := lab.programsIn(bpffs + "/jump")
	if len(before) != 2 {
		t.Fatalf("After unload the array has %v", before)
	}

	attachment := lab.loadByCommand(object, "sparse", "nic0")
	lab.wantCalled(attachment, lab.nic, object, 12)
	if after := lab.programsIn(bpffs + "/jump"); len(after) != 2 || after[0] == before[0] || after[2] == before[2] {
		t.Errorf("The array had %v and has %v", before, after)
	}
	lab.unload("nic0")
	remove(t, bpffs+"/jump")
}

// programsIn returns the IDs of the programs in a pinned array, by slot.
func (l *lab) programsIn(pin string) map[uint32]uint32 {
	l.Helper()

	m, err := ebpf.LoadPinnedMap(pin, nil)
	if err != nil {
		l.Fatal(err)
	}
	defer m.Close()
	programs := make(map[uint32]uint32)
	for slot := range m.MaxEntries() {
		var id uint32
		if err := m.Lookup(slot, &id); err == nil {
			programs[slot] = id
		} else if !errors.Is(err, ebpf.ErrKeyNotExist) {
			l.Fatal(err)
		}
	}
	return programs
}

// A load that fails leaves a program array as it was, at whichever step it does.
func TestProgramArrayAfterFailure(t *testing.T) {
	lab := newLab(t)
	lab.loadByCommand(ownProgram("calls_pinned"), "exact", "nic0")
	lab.unload("nic0")
	before := lab.programsIn(bpffs + "/jump")

	for name, test := range map[string]struct {
		object, iface, want string
	}{
		"no such interface":  {ownProgram("calls_pinned"), "nowhere", "which has"},
		"from empty slots":   {ownProgram("calls_pinned"), "lo", "no native XDP"},
		"not attached":       {ownProgram("calls_pinned"), "lo", "no native XDP"},
		"in the second slot": {ownProgram("calls_mixed"), "nic0", "put program last_called into slot 2"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "in the second slot" {
				netlab.Need(t, netlab.Fragments)
			}
			if err := lab.ns.Enter(); err != nil {
				t.Fatal(err)
			}
			before := before
			if name == "from empty slots" {
				before = nil
				put := lab.empty(bpffs+"/jump", 0, 2)
				defer put()
			}
			_, err := loader.LoadRewritten(test.object, loader.Options{Layout: layout(t, "exact"), Interface: test.iface})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%v\nlacks %q", err, test.want)
			}
			if after := lab.programsIn(bpffs + "/jump"); !maps.Equal(before, after) {
				t.Errorf("The array had %v and has %v", before, after)
			}
			if len(lab.status()) > 0 {
				t.Error("Something is attached")
			}
		})
	}
	remove(t, bpffs+"/jump")
}

// empty takes the programs out of slots of a pinned array, and returns what puts them
// back.
func (l *lab) empty(pin string, slots ...uint32) (putBack func()) {
	l.Helper()

	m, err := ebpf.LoadPinnedMap(pin, nil)
	if err != nil {
		l.Fatal(err)
	}
	programs := make(map[uint32]*ebpf.Program)
	for slot, id := range l.programsIn(pin) {
		if programs[slot], err = ebpf.NewProgramFromID(ebpf.ProgramID(id)); err != nil {
			l.Fatal(err)
		}
	}
	for _, slot := range slots {
		if err := m.Delete(slot); err != nil {
			l.Fatal(err)
		}
	}
	return func() {
		for slot, program := range programs {
			if err := m.Put(slot, program); err != nil {
				l.Error(err)
			}
			program.Close()
		}
		m.Close()
	}
}

// The programs of an object that the one to attach does not reach keep it out in no
// way: neither by what the rewriter refuses in them, nor the kernel.
func TestSparePrograms(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	for _, name := range []string{"exact", "sparse"} {
		loaded, err := loader.LoadRewritten(ownProgram("spares"), loader.Options{Layout: layout(t, name), Interface: "nic0", Program: "wanted"})
		if err != nil {
			t.Fatalf("Layout %s: %v", name, err)
		}
		metadata := make([]byte, 40)
		binary.NativeEndian.PutUint32(metadata[map[string]int{"exact": 8, "sparse": 12}[name]:], 4711)
		deliver(t, lab.nic, metadata)
		var hash uint32
		if err := loaded.Variables["hash_wanted"].Get(&hash); err != nil || hash != 4711 {
			t.Errorf("Layout %s: hash %d, %v", name, hash, err)
		}
		if len(loaded.Programs) != 1 || len(loaded.Report.Edits) == 0 {
			t.Errorf("Layout %s: loaded %v, %d edits", name, loaded.Programs, len(loaded.Report.Edits))
		}
		for _, edit := range loaded.Report.Edits {
			if !strings.HasPrefix(edit.Access.Program, "wanted") && edit.Access.Program != "read_hash" {
				t.Errorf("Report of %s", edit.Access.Program)
			}
		}
		loaded.Close()
		lab.unload("nic0")
	}
}

// Each of them is refused if it is the one that is wanted.
func TestSpareProgramsWanted(t *testing.T) {
	newLab(t)
	for name, want := range map[string]string{
		"copies":                "copy it with md_desc_copy",
		"reads_what_is_missing": "has no field rx_timestamp",
		"never_ends":            "spares.c:40",
		"needs_no_such_map":     "no_such_map",
		"calls_kfunc":           "",
		"traces_nothing":        "no program to attach",
	} {
		_, err := loader.LoadRewritten(ownProgram("spares"), loader.Options{Layout: layout(t, "sparse"), Interface: "nic0", Program: name})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Maps are told of, with where they are.
func TestPinnedMapsAreTold(t *testing.T) {
	lab := newLab(t)
	for _, reused := range []bool{false, true} {
		loaded, err := loader.LoadRewritten(ownProgram("calls_pinned"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0"})
		if err != nil {
			t.Fatal(err)
		}
		loaded.Close()
		own := mapPins(*loaded.Attachment)
		want := []loader.PinnedMap{
			{Name: ".bss", Path: own + "/_bss"},
			{Name: "jump", Path: bpffs + "/jump", Reused: reused},
		}
		if len(loaded.Pinned) != 2 || loaded.Pinned[0] != want[0] || loaded.Pinned[1] != want[1] {
			t.Errorf("%+v instead of %+v", loaded.Pinned, want)
		}
		for _, m := range loaded.Pinned {
			if _, err := os.Stat(m.Path); err != nil {
				t.Error(err)
			}
		}
		if matches, _ := filepath.Glob(own + "/*"); len(matches) != 2 {
			t.Errorf("Pinned with the link: %v", matches)
		}
		lab.unload("nic0")
	}
	remove(t, bpffs+"/jump")
}

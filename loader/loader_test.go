package loader_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

const bpffs = "/sys/fs/bpf"

// endian is what the names of objects for this machine end in.
var endian = map[binary.ByteOrder]string{binary.LittleEndian: "-el.o", binary.BigEndian: "-eb.o"}[nativeOrder()]

func nativeOrder() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

func program(name string) string    { return "../testdata/programs/" + name + endian }
func ownProgram(name string) string { return "testdata/" + name + endian }
func layoutFile(name string) string { return "../testdata/layouts/" + name + endian }

// lab is a network namespace with one NIC, which the test's goroutine is in.
type lab struct {
	*testing.T
	ns  *netlab.Namespace
	nic *netlab.NIC
}

// newLab makes a lab. When the test is over, nothing may be pinned or attached
// any more, and no file descriptor may be open that was not before.
func newLab(t *testing.T) *lab {
	t.Helper()

	ns := netlab.Enter(t)
	nic, err := ns.AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	// What is opened once and kept, by the runtime and by cilium/ebpf, is no leak.
	warmUp(t)

	before := openFiles(t)
	l := &lab{t, ns, nic}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		for _, path := range l.pins() {
			t.Errorf("%s is left behind", path)
		}
		if after := openFiles(t); after != before {
			t.Errorf("Open files, before:\n%s\nafter:\n%s", before, after)
		}
	})
	return l
}

func warmUp(t *testing.T) {
	t.Helper()

	loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact")})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
}

// openFiles lists what file descriptors are open on.
func openFiles(t *testing.T) string {
	t.Helper()

	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	for _, file := range files {
		// The directory itself is closed by now.
		if target, err := os.Readlink("/proc/self/fd/" + file.Name()); err == nil {
			fmt.Fprintf(&list, "%s %s\n", file.Name(), target)
		}
	}
	return list.String()
}

// pins lists everything in the bpffs, but for what the kernel puts there:
// names with dots are reserved for it.
func (l *lab) pins() []string {
	var pins []string
	err := filepath.WalkDir(bpffs, func(path string, _ os.DirEntry, err error) error {
		if path != bpffs && !strings.Contains(path, ".") {
			pins = append(pins, path)
		}
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	return pins
}

// programPins and mapPins return where the pins are of an attachment's program.
func programPins(a loader.Attachment) string {
	return fmt.Sprintf("%s/programs-%d", pinDir, a.ProgramID)
}
func mapPins(a loader.Attachment) string { return fmt.Sprintf("%s/maps-%d", pinDir, a.ProgramID) }

// differ reports whether two attachments are not the same.
func differ(a, b loader.Attachment) bool { return !reflect.DeepEqual(a, b) }

func (l *lab) status() []loader.Attachment {
	l.Helper()

	attachments, skipped, err := loader.Status()
	if err != nil {
		l.Fatal(err)
	}
	if len(skipped) > 0 {
		l.Errorf("Skipped %v", skipped)
	}
	return attachments
}

// load loads and attaches an object, and lets go of it.
func (l *lab) load(object string) *loader.Attachment {
	l.Helper()

	loaded, err := loader.LoadRewritten(object, loader.Options{Layout: layout(l.T, "exact"), Interface: l.nic.Name})
	if err != nil {
		l.Fatal(err)
	}
	loaded.Close()
	return loaded.Attachment
}

func layout(t *testing.T, name string) *reloc.Layout {
	t.Helper()

	layout, err := nic.OpenLayout(layoutFile(name), "")
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// A program reads what the NIC wrote, each NIC in its own layout.
func TestLoadRewritten(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	for name, hashAt := range map[string]int{"exact": 8, "sparse": 12} {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			loaded, err := loader.LoadRewritten(program("fields"), loader.Options{
				Layout:    layout(t, name),
				Interface: lab.nic.Name,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer loaded.Close()

			metadata := make([]byte, 40)
			binary.NativeEndian.PutUint32(metadata[hashAt:], 0xcafe0000)
			deliver(t, lab.nic, metadata)

			var hash uint64
			if err := loaded.Variables["got_hash"].Get(&hash); err != nil {
				t.Fatal(err)
			}
			if hash != 0xcafe0000 {
				t.Errorf("Read hash %#x instead of 0xcafe0000", hash)
			}
			if loaded.Report.Layout != layoutFile(name) || len(loaded.Report.Edits) == 0 {
				t.Errorf("Report of layout %s has %d edits", loaded.Report.Layout, len(loaded.Report.Edits))
			}
			if err := loader.Unload(lab.nic.Name); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func deliver(t *testing.T, nic *netlab.NIC, metadata []byte) {
	t.Helper()

	if err := nic.Deliver([]netlab.Frame{{Metadata: metadata, Packet: make([]byte, 64)}}); err != nil {
		t.Fatal(err)
	}
}

// A preview says what would be done and does nothing.
func TestPreview(t *testing.T) {
	lab := newLab(t)
	opts := loader.Options{Layout: layout(t, "sparse"), Interface: lab.nic.Name}
	plan, err := loader.Preview(program("fields"), opts)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Program != "fields" || len(plan.Report.Edits) == 0 {
		t.Errorf("Plan: %+v", plan)
	}
	want := nic.Target{Interface: lab.nic.Name, Index: lab.nic.Index, Driver: "veth", Layout: opts.Layout}
	if plan.Target == nil || *plan.Target != want {
		t.Errorf("Target %+v instead of %+v", plan.Target, want)
	}
	if got := lab.status(); len(got) != 0 {
		t.Errorf("Status: %+v", got)
	}

	lab.load(program("fields"))
	plan, err = loader.Preview(program("fields"), opts)
	if plan != nil || !errors.Is(err, loader.ErrOccupied) {
		t.Errorf("On an interface that has a program: %v, %v", plan, err)
	}
	if err := loader.Unload(lab.nic.Name); err != nil {
		t.Fatal(err)
	}
}

func TestStatus(t *testing.T) {
	lab := newLab(t)
	if got := lab.status(); len(got) != 0 {
		t.Fatalf("Status before: %+v", got)
	}

	before := time.Now()
	attachment := lab.load(ownProgram("pinned"))
	got := lab.status()
	if len(got) != 1 || differ(got[0], *attachment) {
		t.Fatalf("Status: %+v, loaded: %+v", got, attachment)
	}

	if got[0].Interface != lab.nic.Name || got[0].Index != lab.nic.Index || got[0].Driver != "veth" {
		t.Errorf("Interface: %+v", got[0])
	}
	if name := "keep_hash_of_last_packet"; got[0].Program != name {
		t.Errorf("Program %s instead of %s", got[0].Program, name)
	}
	if age := got[0].Loaded.Sub(before); age.Abs() > 5*time.Second {
		t.Errorf("Loaded at %v, now is %v", got[0].Loaded, before)
	}
	if want := fmt.Sprintf("%s/xdp-load/link-%d", bpffs, got[0].LinkID); got[0].Pin != want {
		t.Errorf("Pin %s instead of %s", got[0].Pin, want)
	}

	if err := loader.Unload(lab.nic.Name); err != nil {
		t.Fatal(err)
	}
	if got := lab.status(); len(got) != 0 {
		t.Errorf("Status after unload: %+v", got)
	}
	remove(t, bpffs+"/last_hash")
}

func remove(t *testing.T, path string) {
	t.Helper()

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// What is attached is found again under the interface's new name, and not
// mistaken for what another interface of the old name has.
func TestInterfaceRenamed(t *testing.T) {
	lab := newLab(t)
	lab.load(program("fields"))

	for _, line := range []string{"ip link set nic0 down", "ip link set nic0 name renamed"} {
		if _, err := run(line); err != nil {
			t.Fatal(err)
		}
	}
	if got := lab.status(); len(got) != 1 || got[0].Interface != "renamed" {
		t.Fatalf("Renamed: %+v", got)
	}

	if _, err := run("ip link add nic0 type veth peer name other0"); err != nil {
		t.Fatal(err)
	}
	if err := loader.Unload("nic0"); !errors.Is(err, loader.ErrNotAttached) {
		t.Errorf("Unload of another interface of the old name: %v", err)
	}
	if err := loader.Unload("renamed"); err != nil {
		t.Fatal(err)
	}
}

// What is attached goes with the interface to another network namespace, and is
// found and unloaded there.
func TestInterfaceMoves(t *testing.T) {
	lab := newLab(t)
	lab.load(program("fields"))

	elsewhere := exec.Command("unshare", "--net", "sh", "-c", "echo && exec sleep 60")
	started, err := elsewhere.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		elsewhere.Process.Kill()
		elsewhere.Wait()
	}()
	if _, err := started.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := run(fmt.Sprintf("ip link set nic0 netns %d", elsewhere.Process.Pid)); err != nil {
		t.Fatal(err)
	}

	if got := lab.status(); len(got) != 0 {
		t.Errorf("Status where it was: %+v", got)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	there := fmt.Sprintf("nsenter --net=/proc/%d/ns/net %s %s ", elsewhere.Process.Pid, self, asCommand)
	if output, err := run(there + "status"); err != nil || !strings.HasPrefix(output, "nic0 fields ") {
		t.Errorf("Status where it is: %v: %s", err, output)
	}
	if _, err := run(there + "unload nic0"); err != nil {
		t.Error(err)
	}
}

// A load that is killed has happened or it hasn't. Maps that are pinned by name may
// be there in either case.
func TestKilled(t *testing.T) {
	lab := newLab(t)
	for _, object := range []string{program("fields"), ownProgram("calls_pinned")} {
		start := time.Now()
		lab.loadByCommand(object, "exact", "nic0")
		took := time.Since(start)
		lab.unload("nic0")
		for i := range 40 {
			cmd := command("load", object, layoutFile("exact"), "nic0")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			delay := took * time.Duration(i) / 35
			time.Sleep(delay)
			cmd.Process.Kill()
			cmd.Wait()

			attached := lab.status() // sweeps away what has no link
			if len(attached) == 0 {
				if pins := lab.pins(); len(pins) > 0 && !slices.Equal(pins, []string{bpffs + "/jump"}) {
					t.Errorf("After %v, nothing is attached, but pinned is %v", delay, pins)
				}
				continue
			}
			if object == ownProgram("calls_pinned") {
				lab.wantCalled(attached[0], lab.nic, object, 8)
			}
			lab.unload("nic0")
		}
	}
	remove(t, bpffs+"/jump")
}

// A pin whose interface is gone is swept away.
func TestInterfaceGone(t *testing.T) {
	lab := newLab(t)
	lab.load(program("fields"))
	if err := lab.nic.Remove(); err != nil {
		t.Fatal(err)
	}

	if got := lab.status(); len(got) != 0 {
		t.Errorf("Status: %+v", got)
	}
	if pins := lab.pins(); len(pins) != 0 {
		t.Errorf("Pins: %v", pins)
	}
}

// What is attached is told by interface and program: neither a program of ours that
// somebody has put on another interface is ours there, nor what is on an interface of
// the same number in another network namespace.
func TestNotOursElsewhere(t *testing.T) {
	lab := newLab(t)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	attachment := lab.load(program("fields"))
	pin := programPins(*attachment) + "/fields"
	if _, err := run("ip link set nic1 xdp pinned " + pin); err != nil {
		t.Fatal(err)
	}
	if got := lab.status(); len(got) != 1 || differ(got[0], *attachment) {
		t.Errorf("Status: %+v", got)
	}
	if err := loader.Unload("nic1"); !errors.Is(err, loader.ErrNotAttached) {
		t.Errorf("Unload nic1: %v", err)
	}
	if _, err := run("ip link set nic1 xdp off"); err != nil {
		t.Fatal(err)
	}

	foreign := foreignProgram(t)
	defer foreign.Close()
	foreignPin := bpffs + "/foreign"
	if err := foreign.Pin(foreignPin); err != nil {
		t.Fatal(err)
	}
	err := lab.ns.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		for _, line := range []string{
			fmt.Sprintf("ip link add nic0 index %d type veth peer name wire0", attachment.Index),
			"ip link set nic0 up",
			"ip link set nic0 xdp pinned " + foreignPin,
		} {
			if _, err := run(line); err != nil {
				return err
			}
		}
		if got := lab.status(); len(got) > 0 {
			t.Errorf("Status elsewhere: %+v", got)
		}
		if err := loader.Unload("nic0"); !errors.Is(err, loader.ErrNotAttached) {
			t.Errorf("Unload elsewhere: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	remove(t, foreignPin)
	lab.unload("nic0")
}

// An interface that has a program keeps it.
func TestOccupied(t *testing.T) {
	for name, test := range map[string]struct {
		occupy func(*lab) (vacate func())
		want   string
	}{
		"ours": {func(l *lab) func() {
			l.load(program("fields"))
			return func() {
				if err := loader.Unload(l.nic.Name); err != nil {
					l.Error(err)
				}
			}
		}, `"fields", attached by xdp-load: to take it off, xdp-load unload --iface nic0`},
		"foreign link": {func(l *lab) func() {
			foreign := foreignLink(l.T, l.nic.Index, link.XDPDriverMode)
			return func() { foreign.Close() }
		}, `"foreign", not attached by xdp-load: to take it off, bpftool link detach id `},
		"foreign link, generic": {func(l *lab) func() {
			foreign := foreignLink(l.T, l.nic.Index, link.XDPGenericMode)
			return func() { foreign.Close() }
		}, `"foreign", not attached by xdp-load: to take it off, bpftool link detach id `},
		"without link": {func(l *lab) func() { return foreignWithoutLink(l, "xdp") },
			`"foreign", not attached by xdp-load: to take it off, ip link set dev nic0 xdp off`},
		"without link, but linked elsewhere": {foreignTwice, `"foreign", not attached by xdp-load: to take it off, ip link set dev nic0 xdp off`},
		"without link, generic": {func(l *lab) func() { return foreignWithoutLink(l, "xdpgeneric") },
			`"foreign", not attached by xdp-load: to take it off, ip link set dev nic0 xdpgeneric off`},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			vacate := test.occupy(lab)
			before, err := run("ip link show nic0")
			if err != nil {
				t.Fatal(err)
			}

			_, err = loader.LoadRewritten(ownProgram("pinned"), loader.Options{
				Layout:    layout(t, "exact"),
				Interface: "nic0",
			})
			if !errors.Is(err, loader.ErrOccupied) {
				t.Fatalf("Got %v", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q\nlacks %q", err, test.want)
			}

			if after, _ := run("ip link show nic0"); after != before {
				t.Errorf("Interface before: %s, after: %s", before, after)
			}
			if name == "ours" {
				vacate()
				return
			}
			unload := loader.Unload("nic0")
			if !errors.Is(unload, loader.ErrNotAttached) || !strings.Contains(unload.Error(), "foreign") {
				t.Errorf("Unload: %v", unload)
			}
			_, advice, _ := strings.Cut(err.Error(), "to take it off, ")
			if _, err := run(advice); err != nil {
				t.Error(err)
			}
			if after, _ := run("ip link show nic0"); strings.Contains(after, "xdp") {
				t.Errorf("After %q: %s", advice, after)
			}
			vacate()
		})
	}
}

func foreignSpec() *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{
		Name:         "foreign",
		Type:         ebpf.XDP,
		AttachType:   ebpf.AttachXDP,
		License:      "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	}
}

func foreignProgram(t *testing.T) *ebpf.Program {
	t.Helper()

	foreign, err := ebpf.NewProgram(foreignSpec())
	if err != nil {
		t.Fatal(err)
	}
	return foreign
}

// foreignWithoutLink attaches a program as loaders did before there were links.
func foreignWithoutLink(l *lab, mode string) (vacate func()) {
	l.Helper()

	pin := bpffs + "/foreign"
	foreign := foreignProgram(l.T)
	defer foreign.Close()
	if err := foreign.Pin(pin); err != nil {
		l.Fatal(err)
	}
	defer os.Remove(pin)
	if _, err := run("ip link set nic0 " + mode + " pinned " + pin); err != nil {
		l.Fatal(err)
	}
	return func() {
		if _, err := run("ip link set nic0 " + mode + " off"); err != nil {
			l.Error(err)
		}
	}
}

// foreignTwice attaches a program without a link that another interface has by one.
func foreignTwice(l *lab) (vacate func()) {
	l.Helper()

	pin := bpffs + "/foreign"
	other, err := l.ns.AddNIC("nic1")
	if err != nil {
		l.Fatal(err)
	}
	foreign := foreignProgram(l.T)
	defer foreign.Close()
	if err := foreign.Pin(pin); err != nil {
		l.Fatal(err)
	}
	defer os.Remove(pin)
	if _, err := run("ip link set nic0 xdp pinned " + pin); err != nil {
		l.Fatal(err)
	}
	linked, err := link.AttachXDP(link.XDPOptions{Program: foreign, Interface: other.Index, Flags: link.XDPDriverMode})
	if err != nil {
		l.Fatal(err)
	}
	return func() { linked.Close() }
}

func foreignLink(t *testing.T, ifindex int, mode link.XDPAttachFlags) link.Link {
	t.Helper()

	foreign := foreignProgram(t)
	defer foreign.Close()
	attached, err := link.AttachXDP(link.XDPOptions{Program: foreign, Interface: ifindex, Flags: mode})
	if err != nil {
		t.Fatal(err)
	}
	return attached
}

// A load that fails leaves nothing, at whichever step it does.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		object string
		opts   loader.Options
		err    error
		want   string
	}{
		"no such file":       {"nowhere.o", loader.Options{}, os.ErrNotExist, "nowhere.o: no such file or directory"},
		"no such interface":  {program("fields"), loader.Options{Interface: "nic1"}, nic.ErrNoInterface, "which has nic0"},
		"no native XDP":      {ownProgram("pinned"), loader.Options{Interface: "lo"}, loader.ErrNoNative, "generic mode"},
		"several programs":   {program("subprog"), loader.Options{Interface: "nic0"}, loader.ErrSeveralPrograms, "first, second"},
		"no such program":    {program("subprog"), loader.Options{Interface: "nic0", Program: "third"}, loader.ErrNoProgram, "third: there is first, second"},
		"not attached by us": {ownProgram("spares"), loader.Options{Interface: "nic0", Program: "traces_nothing"}, loader.ErrNoProgram, "no program to attach of the name"},
	} {
		t.Run(name, func(t *testing.T) {
			newLab(t)
			test.opts.Layout = layout(t, "exact")
			loaded, err := loader.LoadRewritten(test.object, test.opts)
			if loaded != nil || !errors.Is(err, test.err) {
				t.Fatalf("Got %v, %v", loaded, err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q\nlacks %q", err, test.want)
			}
		})
	}
}

func TestNoLayout(t *testing.T) {
	if _, err := loader.LoadRewritten(program("fields"), loader.Options{}); err == nil {
		t.Error("Loaded without a layout")
	}
}

// Programs that can't be attached to an interface can be loaded all the same.
func TestLoadWithoutAttaching(t *testing.T) {
	newLab(t)
	loaded, err := loader.LoadRewritten(program("tc"), loader.Options{Layout: layout(t, "exact")})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	if loaded.Attachment != nil || loaded.Programs["skb_fields"] == nil {
		t.Errorf("Loaded: %+v", loaded)
	}
}

func TestChosenProgram(t *testing.T) {
	lab := newLab(t)
	loaded, err := loader.LoadRewritten(program("subprog"), loader.Options{
		Layout:    layout(t, "exact"),
		Interface: "nic0",
		Program:   "second",
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	if got := lab.status(); len(got) != 1 || got[0].Program != "second" {
		t.Errorf("Status: %+v", got)
	}
	if err := loader.Unload("nic0"); err != nil {
		t.Fatal(err)
	}
}

// A map that is pinned by name is made once, kept, and used again.
func TestPinnedMap(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	const pin = bpffs + "/last_hash"

	lab.load(ownProgram("pinned"))
	metadata := make([]byte, 40)
	binary.NativeEndian.PutUint32(metadata[8:], 4711)
	deliver(t, lab.nic, metadata)
	if err := loader.Unload("nic0"); err != nil {
		t.Fatal(err)
	}

	loaded, err := loader.LoadRewritten(ownProgram("pinned"), loader.Options{Layout: layout(t, "exact")})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	var hash uint64
	if err := loaded.Maps["last_hash"].Lookup(uint32(0), &hash); err != nil || hash != 4711 {
		t.Errorf("The map has %d, %v", hash, err)
	}

	// A load that fails does not take a pin away that was there before.
	if _, err := loader.LoadRewritten(ownProgram("pinned"), loader.Options{Layout: layout(t, "exact"), Interface: "lo"}); err == nil {
		t.Error("Attached to lo")
	}
	remove(t, pin)
}

// The pinned map is another one: nothing is replaced.
func TestPinnedMapOfOtherShape(t *testing.T) {
	newLab(t)
	other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Pin(bpffs + "/last_hash"); err != nil {
		t.Fatal(err)
	}
	defer other.Unpin()

	_, err = loader.LoadRewritten(ownProgram("pinned"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0"})
	if !errors.Is(err, ebpf.ErrMapIncompatible) {
		t.Errorf("Got %v", err)
	}
}

// The way of code generated by bpf2go.
func TestRewrittenSpec(t *testing.T) {
	newLab(t)
	file, err := os.Open(program("fields"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	spec, report, err := loader.RewrittenSpec(file, loader.Options{Layout: layout(t, "nested")})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Edits) == 0 {
		t.Error("No edits")
	}
	var objects struct {
		Fields *ebpf.Program  `ebpf:"fields"`
		Hash   *ebpf.Variable `ebpf:"got_hash"`
	}
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		t.Fatal(err)
	}
	objects.Fields.Close()
}

package loader_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// counts is struct counts of counted.c.
type counts struct{ Seen, Found, Right uint64 }

// cafe is a frame with the hash that counted.c expects, in both of the layouts exact and
// sparse.
func cafe() netlab.Frame {
	metadata := make([]byte, 40)
	binary.NativeEndian.PutUint32(metadata[8:], 0xcafe)
	binary.NativeEndian.PutUint32(metadata[12:], 0xcafe)
	return netlab.Frame{Metadata: metadata, Packet: make([]byte, 64)}
}

// traffic delivers packets to a NIC until it is stopped.
type traffic struct {
	stop chan struct{}
	done chan error
	sent uint64
}

func startTraffic(nic *netlab.NIC, frame netlab.Frame) *traffic {
	frames := make([]netlab.Frame, 4096)
	for i := range frames {
		frames[i] = frame
	}
	return start(func() (int, error) { return len(frames), nic.Deliver(frames) })
}

// startPackets has the stack send packets to nic0, some at a time: no more than the ring of a
// veth takes, and the next when all of them were seen by a program of counted.c.
func startPackets(t *testing.T) *traffic {
	t.Helper()
	const some = 128
	wire, err := net.InterfaceByName("nic0-wire")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(socket) })
	if err := unix.Bind(socket, &unix.SockaddrLinklayer{Ifindex: wire.Index}); err != nil {
		t.Fatal(err)
	}
	counted := openCounts(t)
	t.Cleanup(func() { counted.Close() })
	sent := uint64(0)
	return start(func() (int, error) {
		for range some {
			if _, err := unix.Write(socket, make([]byte, 64)); err != nil {
				return 0, err
			}
		}
		sent += some
		return some, awaitSeen(counted, sent)
	})
}

func awaitSeen(counted *ebpf.Map, sent uint64) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		var got counts
		if err := counted.Lookup(uint32(0), &got); err != nil || got.Found == sent {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("of %d packets counted are %+v", sent, got)
		}
	}
}

// start calls a function, which returns how many packets it has delivered, again and again.
func start(deliver func() (int, error)) *traffic {
	tr := &traffic{stop: make(chan struct{}), done: make(chan error)}
	go func() {
		for {
			select {
			case <-tr.stop:
				tr.done <- nil
				return
			default:
			}
			n, err := deliver()
			if err != nil {
				tr.done <- err
				return
			}
			tr.sent += uint64(n)
		}
	}()
	return tr
}

// end stops the traffic and returns how many frames were delivered.
func (tr *traffic) end(t *testing.T) uint64 {
	t.Helper()

	close(tr.stop)
	if err := <-tr.done; err != nil {
		t.Fatal(err)
	}
	return tr.sent
}

// wantAllCounted wants all packets that were sent to have been seen by a program of
// counted.c, and by the last one of its chain, in the layout that this was rewritten for.
func wantAllCounted(t *testing.T, sent uint64) {
	t.Helper()

	got := readCounts(t)
	if want := (counts{sent, sent, sent}); got != want {
		t.Errorf("Of %d packets counted are %+v", sent, got)
	}
	t.Logf("%d packets", sent)
}

// readCounts returns what programs of counted.c have counted.
func readCounts(t *testing.T) (got counts) {
	t.Helper()
	m := openCounts(t)
	defer m.Close()
	if err := m.Lookup(uint32(0), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func openCounts(t *testing.T) *ebpf.Map {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(bpffs+"/counts", nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// replaced has a program take the place of the one on nic0, and lets go of it.
func (l *lab) replaced(object, layoutName string, before *loader.Attachment) *loader.Attachment {
	l.Helper()

	loaded, err := loader.LoadRewritten(object, loader.Options{Layout: layout(l.T, layoutName), Interface: l.nic.Name, Replace: true})
	if err != nil {
		l.Fatal(err)
	}
	loaded.Close()
	after := loaded.Attachment
	if loaded.Replaced != before.ProgramID || after.ProgramID == before.ProgramID || after.LinkID != before.LinkID {
		l.Fatalf("Replaced %d: %+v by %+v", loaded.Replaced, before, after)
	}
	return after
}

// While one program after the other takes the place of that before, each rewritten for
// another layout, every packet is seen, gets to the end of its chain of tail calls, and is
// read right.
func TestReplaceUnderTraffic(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	present := lab.load(ownProgram("counted"))

	traffic := startTraffic(lab.nic, cafe())
	for range 10 {
		for _, layout := range []string{"sparse", "exact"} {
			present = lab.replaced(ownProgram("counted"), layout, present)
		}
	}
	wantAllCounted(t, traffic.end(t))

	if got := lab.status(); len(got) != 1 || differ(got[0], *present) {
		t.Errorf("Status: %+v instead of %+v", got, present)
	}
	lab.wantPinsOf(*present)
	lab.unload("nic0")
	remove(t, bpffs+"/counts")
}

// Nor goes a packet of the stack unseen, on any kernel. It has no metadata.
func TestReplaceUnderPackets(t *testing.T) {
	lab := newLab(t)
	present := lab.load(ownProgram("counted"))

	traffic := startPackets(t)
	for range 5 {
		for _, layout := range []string{"sparse", "exact"} {
			present = lab.replaced(ownProgram("counted"), layout, present)
		}
	}
	sent := traffic.end(t)
	if got := readCounts(t); got != (counts{Seen: sent, Found: sent}) {
		t.Errorf("Of %d packets counted are %+v", sent, got)
	}
	t.Logf("%d packets", sent)
	lab.unload("nic0")
	remove(t, bpffs+"/counts")
}

// Where there is nothing to replace, the program is attached.
func TestReplaceNothing(t *testing.T) {
	lab := newLab(t)
	loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	if got := lab.status(); loaded.Replaced != 0 || len(got) != 1 || differ(got[0], *loaded.Attachment) {
		t.Errorf("Replaced %d, status %+v", loaded.Replaced, got)
	}
	lab.unload("nic0")
}

// Of several at once, each takes the place of what it found, or is told that this has
// changed.
func TestSimultaneousReplaces(t *testing.T) {
	lab := newLab(t)
	lab.load(program("fields"))
	var cmds [6]*exec.Cmd
	var outputs [len(cmds)]strings.Builder
	for i := range cmds {
		cmds[i] = command("replace", program("fields"), layoutFile("sparse"), "nic0")
		cmds[i].Stdout = &outputs[i]
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	replaced := 0
	for i, cmd := range cmds {
		if err := cmd.Wait(); err == nil {
			replaced++
		} else if want := loader.ErrChanged.Error(); !strings.Contains(outputs[i].String(), want) {
			t.Errorf("%v: %s\nlacks %q", err, outputs[i].String(), want)
		}
	}
	if got := lab.status(); replaced == 0 || len(got) != 1 {
		t.Errorf("%d have replaced, status %+v", replaced, got)
	}
	lab.unload("nic0")
}

// What kills how often is for make random.
var kills = flag.Int("replace.kills", 80, "how often a replacement is killed")

// Killed at any step, a replacement, or a reload, has happened or it hasn't: no packet goes
// unseen, nothing is left behind once somebody looks, and the next one works.
func TestReplaceKilled(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	_, file := lab.loadFrom(ownProgram("counted"), "exact")
	traffic := startTraffic(lab.nic, cafe())
	start := time.Now()
	if output, err := command("reload", "nic0", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	took := time.Since(start)
	for i := range *kills {
		layout := []string{"sparse", "exact"}[i/2%2]
		cmd := command("replace", ownProgram("counted"), file, "nic0")
		if i%2 == 0 {
			cmd = command("reload", "nic0", file)
		}
		writeLayout(t, file, layout)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(took * 5 / 4))))
		cmd.Process.Kill()
		cmd.Wait()

		got := lab.status()
		if len(got) != 1 {
			t.Fatalf("Status: %+v", got)
		}
		lab.wantPinsOf(got[0])
	}
	writeLayout(t, file, "exact")
	if output, err := command("reload", "nic0", file).CombinedOutput(); err != nil {
		t.Errorf("After all: %v: %s", err, output)
	}
	wantAllCounted(t, traffic.end(t))
	lab.unload("nic0")
	remove(t, bpffs+"/counts")
}

// On a bpffs that can't be written to, nothing is replaced, and nothing is lost.
func TestReplaceOnReadOnlyBPFFS(t *testing.T) {
	lab := newLab(t)
	present := lab.load(program("fields"))
	for _, readOnly := range []bool{true, false} {
		flags := uintptr(unix.MS_REMOUNT)
		if readOnly {
			flags |= unix.MS_RDONLY
		}
		if err := unix.Mount("", bpffs, "", flags, ""); err != nil {
			t.Fatal(err)
		}
		for _, force := range []bool{false, true} {
			loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "sparse"), Interface: "nic0", Replace: true, Force: force})
			if readOnly != errors.Is(err, unix.EROFS) {
				t.Fatalf("read-only %t: %v", readOnly, err)
			}
			if loaded != nil {
				loaded.Close()
				present = loaded.Attachment
			}
			if got := lab.status(); len(got) != 1 || differ(got[0], *present) {
				t.Errorf("read-only %t: status %+v instead of %+v", readOnly, got, present)
			}
		}
	}
	lab.wantPinsOf(*present)
	lab.unload("nic0")
}

// While a watch has its program in the place of another, what belongs to that one stays, and
// it is not replaced. It is told which one runs.
func TestLent(t *testing.T) {
	netlab.Need(t, netlab.Casts)
	netlab.Need(t, netlab.TCX)
	lab := newLab(t)
	present := lab.load(ownProgram("calls"))
	watch, err := lab.watch("stacked")
	if err != nil {
		t.Fatal(err)
	}
	away := *present
	away.StandIn = ebpf.ProgramID(lab.attached())
	if got := lab.status(); len(got) != 1 || differ(got[0], away) || away.StandIn == present.ProgramID {
		t.Errorf("Status: %+v instead of %+v", got, away)
	}
	if got := lab.survey(loader.SurveyOptions{}).Programs; len(got) != 2 || got[1].Hook != loader.Ingress || differ(got[0].Attachment, away) {
		t.Errorf("Survey: %+v instead of %+v", got, away)
	}
	log, end := lab.keep()
	log.await(t, "left alone: another program is in its place for a while", 1)
	end()
	for what, try := range map[string]func() error{
		"LoadRewritten": func() error {
			_, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
			return err
		},
		"Reload": func() error {
			_, err := loader.Reload("nic0", func(*loader.Record) (loader.Options, error) {
				return loader.Options{Layout: layout(t, "exact")}, nil
			})
			return err
		},
	} {
		if err := try(); !errors.Is(err, loader.ErrOccupied) || !strings.Contains(err.Error(), "for a while in place of id ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := watch.Close(); err != nil {
		t.Error(err)
	}
	if got := lab.status(); len(got) != 1 || differ(got[0], *present) {
		t.Errorf("Status: %+v instead of %+v", got, present)
	}

	if watch, err = lab.watch("stacked"); err != nil {
		t.Fatal(err)
	}
	if err := loader.UnloadProgram(present.ProgramID); err != nil || lab.attached() != 0 {
		t.Errorf("Program %d is attached: %v", lab.attached(), err)
	}
	if err := watch.Close(); err != nil {
		t.Error(err)
	}
}

// If the process was killed that has put another program there, whoever looks first puts back
// the one that was there.
func TestLentByKilled(t *testing.T) {
	for name, look := range map[string]func(*lab, *loader.Attachment){
		"status": func(lab *lab, present *loader.Attachment) {
			if got := lab.status(); len(got) != 1 || differ(got[0], *present) || lab.attached() != int(present.ProgramID) {
				lab.Errorf("Status: %+v instead of %+v, attached is %d", got, present, lab.attached())
			}
		},
		"replace": func(lab *lab, present *loader.Attachment) { lab.replaced(program("fields"), "exact", present) },
		"unload":  func(*lab, *loader.Attachment) {},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			present := lab.load(ownProgram("calls"))
			before := lab.pins()
			pinned, err := link.LoadPinnedLink(present.Pin, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer pinned.Close()
			if err := os.Symlink(fmt.Sprint(present.ProgramID), fmt.Sprintf("%s/lent-%d", pinDir, present.LinkID)); err != nil {
				t.Fatal(err)
			}
			foreign := foreignProgram(t)
			defer foreign.Close()
			if err := pinned.Update(foreign); err != nil {
				t.Fatal(err)
			}
			look(lab, present)
			if after := lab.pins(); name == "status" && !slices.Equal(after, before) {
				t.Errorf("Pinned are %v instead of %v", after, before)
			}
			lab.unload("nic0")
			if pins := lab.pins(); len(pins) > 0 {
				t.Errorf("Pinned: %v", pins)
			}
		})
	}
}

// wantPinsOf wants nothing to be pinned with attachments but what is of this one.
func (l *lab) wantPinsOf(a loader.Attachment) {
	l.Helper()

	files, err := os.ReadDir(pinDir)
	if err != nil {
		l.Fatal(err)
	}
	for _, file := range files {
		if path := pinDir + "/" + file.Name(); path != a.Pin && !strings.HasSuffix(path, fmt.Sprintf("-%d", a.ProgramID)) {
			l.Errorf("%s is left behind", path)
		}
	}
}

// foreignCases are programs that somebody else has attached, in native mode.
var foreignCases = map[string]func(*lab) (vacate func()){
	"link": func(l *lab) func() {
		foreign := foreignLink(l.T, l.nic.Index, link.XDPDriverMode)
		return func() { foreign.Close() }
	},
	"without link":                       func(l *lab) func() { return foreignWithoutLink(l, "xdp") },
	"without link, but linked elsewhere": foreignTwice,
}

// What somebody else has attached is replaced only if that is asked for. It is this
// package's then: it stays when its owner is done with it, can be replaced, and unloaded.
func TestReplaceForeign(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	for name, occupy := range foreignCases {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			vacate := occupy(lab)
			before, err := run("ip link show nic0")
			if err != nil {
				t.Fatal(err)
			}
			opts := loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true}
			_, err = loader.LoadRewritten(ownProgram("counted"), opts)
			if want := `"foreign", not attached by xdp-load: to replace it nevertheless, --force; to take it off, `; !errors.Is(err, loader.ErrOccupied) || !strings.Contains(err.Error(), want) {
				t.Fatalf("%v\nlacks %q", err, want)
			}
			if after, _ := run("ip link show nic0"); after != before {
				t.Fatalf("Interface before: %s, after: %s", before, after)
			}
			if pins := lab.pins(); len(pins) > 0 {
				t.Errorf("Pinned: %v", pins)
			}

			opts.Force = true
			loaded, err := loader.LoadRewritten(ownProgram("counted"), opts)
			if err != nil {
				t.Fatal(err)
			}
			loaded.Close()
			present := loaded.Attachment
			if loaded.Replaced == 0 || (present.LinkID == 0) != (name != "link") {
				t.Errorf("Replaced %d: %+v", loaded.Replaced, present)
			}
			if name != "without link" { // whose owner is gone already
				vacate()
			}
			if got := lab.status(); len(got) != 1 || differ(got[0], *present) {
				t.Errorf("Status: %+v instead of %+v", got, present)
			}
			traffic := startTraffic(lab.nic, cafe())
			for range 3 {
				present = lab.replaced(ownProgram("counted"), "sparse", present)
			}
			wantAllCounted(t, traffic.end(t))
			lab.unload("nic0")
			if after, _ := run("ip link show nic0"); strings.Contains(after, "xdp") {
				t.Errorf("After unload: %s", after)
			}
			remove(t, bpffs+"/counts")
		})
	}
}

// Generic mode is no place for a program that reads what the driver hands over.
func TestReplaceGeneric(t *testing.T) {
	lab := newLab(t)
	vacate := foreignWithoutLink(lab, "xdpgeneric")
	defer vacate()
	_, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
	if want := "not replaced in the mode that it is in, generic: to take it off, ip link set dev nic0 xdpgeneric off"; !errors.Is(err, loader.ErrOccupied) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nlacks %q", err, want)
	}
}

// What can't take the place leaves it to the program that is there, and nothing else behind.
func TestReplaceFails(t *testing.T) {
	netlab.Need(t, netlab.Fragments)
	lab := newLab(t)
	if _, err := run("ip link set nic0-wire mtu 9000"); err != nil {
		t.Fatal(err)
	}
	opts := loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Program: "fragmented"}
	loaded, err := loader.LoadRewritten(program("entries"), opts)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	present, pins := loaded.Attachment, strings.Join(lab.pins(), "\n")
	for name, test := range map[string]struct {
		object, program, layout string
		want                    string
	}{
		"no such field":   {program("unguarded"), "", "sparse", "md->rx_timestamp"},
		"the verifier":    {ownProgram("refused"), "unchecked", "exact", "the verifier refuses"},
		"the driver":      {program("fields"), "", "exact", "which stays: driver veth refuses"},
		"no such program": {ownProgram("spares"), "traces_nothing", "exact", "no program to attach"},
	} {
		opts.Program, opts.Layout = test.program, layout(t, test.layout)
		_, err := loader.LoadRewritten(test.object, opts)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nlacks %q", name, err, test.want)
		}
		if got := lab.status(); len(got) != 1 || differ(got[0], *present) {
			t.Errorf("%s: status %+v instead of %+v", name, got, present)
		}
		if now := strings.Join(lab.pins(), "\n"); now != pins {
			t.Errorf("%s: pinned are %s\ninstead of %s", name, now, pins)
		}
	}
	lab.unload("nic0")
}

// A program array that is pinned by name is new with the program that calls through it,
// and so is what has its name.
func TestReplaceRenewsArray(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	object := ownProgram("calls_pinned")
	present := lab.load(object)
	before := lab.programsIn(bpffs + "/jump")
	present = lab.replaced(object, "sparse", present)
	after := lab.programsIn(bpffs + "/jump")
	for slot, id := range before {
		if after[slot] == 0 || after[slot] == id {
			t.Errorf("Slot %d had program %d, has %d", slot, id, after[slot])
		}
	}
	lab.wantCalled(*present, lab.nic, object, 12)
	lab.unload("nic0")
	remove(t, bpffs+"/jump")
}

// The kernel updates a link with a program that is bound to another device. This package
// does not, if the interface has got the name of another since the program was bound.
func TestReplaceByBoundElsewhere(t *testing.T) {
	netlab.Need(t, netlab.MetadataFunctions)
	lab := newDriverLab(t)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	accessors, err := (&loader.Driver{Name: "toy", Kfuncs: lab.kfuncs()}).Accessors(nil)
	if err != nil {
		t.Fatal(err)
	}
	balance := "../bpf/examples/balance" + endian
	opts := loader.Options{Accessors: accessors, Interface: "nic0", Replace: true}
	present, err := loader.LoadRewritten(balance, opts)
	if err != nil {
		t.Fatal(err)
	}
	present.Close()

	opts.Interface = "nic1"
	finish, err := loader.LoadInSteps(balance, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nic1 name renamed", "nic0 name nic1"} {
		if _, err := run("ip link set dev " + name); err != nil {
			t.Fatal(err)
		}
	}
	refusal := regexp.MustCompile(`^nic1: replace id \d+: bound to another device: program balance is for interface number \d+, and nic1 has number \d+: try again$`)
	if _, err := finish(); !errors.Is(err, loader.ErrBoundElsewhere) || !refusal.MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
	if got := lab.status(); len(got) != 1 || got[0].ProgramID != present.Attachment.ProgramID {
		t.Errorf("Status: %+v instead of %+v", got, present.Attachment)
	}
	again, err := loader.LoadRewritten(balance, opts)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if !again.Bound || again.Replaced != present.Attachment.ProgramID {
		t.Errorf("Replaced %d, bound %t", again.Replaced, again.Bound)
	}
	lab.unload("nic1")
}

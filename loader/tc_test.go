package loader_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
)

// The slots of counts in places.c.
const (
	atXDP = iota
	atIngress
	atEgress
)

// tcModes are how programs of TC are attached.
var tcModes = []loader.Mode{loader.TCX, loader.Clsact}

// onSkb returns the options that read the skb in programs of TC on nic0.
func (l *lab) onSkb(name string, mode loader.Mode) loader.Options {
	l.Helper()

	accessors, err := new(loader.Driver).Accessors(readFile(l.T, program("tc")))
	if err != nil {
		l.Fatal(err)
	}
	return loader.Options{Accessors: accessors, Interface: "nic0", Program: name, Mode: mode}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// loadAs loads a program of places.c.
func (l *lab) loadAs(opts loader.Options) *loader.Loaded {
	l.Helper()

	loaded, err := loader.LoadRewritten(ownProgram("places"), opts)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { loaded.Close() })
	return loaded
}

// sendMarked has an interface send packets with a mark on the skb.
func (l *lab) sendMarked(iface string, packets int) {
	l.Helper()

	found, err := net.InterfaceByName(iface)
	if err != nil {
		l.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		l.Fatal(err)
	}
	defer unix.Close(socket)
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_MARK, 0xcafe); err != nil {
		l.Fatal(err)
	}
	packet := make([]byte, 64)
	binary.BigEndian.PutUint16(packet[12:], 0x88b5) // for experiments
	for range packets {
		if err := unix.Sendto(socket, packet, 0, &unix.SockaddrLinklayer{Ifindex: found.Index}); err != nil {
			l.Fatal(err)
		}
	}
}

// wantCounts wants so many packets to have been counted at a place, all of them right.
func wantCounts(t *testing.T, counted *ebpf.Map, place uint32, packets uint64) {
	t.Helper()

	var got counts
	if err := counted.Lookup(place, &got); err != nil {
		t.Fatal(err)
	}
	if want := (counts{packets, packets, packets}); got != want {
		t.Errorf("At %d: %+v instead of %+v", place, got, want)
	}
}

// A program of TC is attached, seen by the kernel's own tools, told by status, replaced and
// reloaded in its place, and unloaded, and then nothing is left of it.
func TestTC(t *testing.T) {
	netlab.NeedTools(t, "tc", "bpftool")
	for _, mode := range tcModes {
		for _, test := range []struct {
			program string
			hook    loader.Hook
			slot    uint32
			sender  string
		}{
			{"in", loader.Ingress, atIngress, "nic0-wire"},
			{"in_too", loader.Ingress, atIngress, "nic0-wire"},
			{"out", loader.Egress, atEgress, "nic0"},
		} {
			t.Run(fmt.Sprintf("%s %s", mode, test.program), func(t *testing.T) {
				needTCX(t, mode)
				lab := newLab(t)
				opts := lab.onSkb(test.program, mode)
				loaded := lab.loadAs(opts)
				attached := loaded.Attachment
				if attached.Hook != test.hook || attached.Mode != mode || (attached.LinkID != 0) != (mode == loader.TCX) {
					t.Errorf("%+v", attached)
				}
				if got := lab.status(); len(got) != 1 || differ(got[0], *attached) {
					t.Errorf("Status: %+v instead of %+v", got, attached)
				}
				if got := lab.survey(loader.SurveyOptions{}).Programs; len(got) != 1 || got[0].Foreign != "" || differ(got[0].Attachment, *attached) {
					t.Errorf("Survey: %+v", got)
				}
				lab.wantShown(attached)
				lab.sendMarked(test.sender, 3)
				wantCounts(t, loaded.Maps["counts"], test.slot, 3)

				if _, err := loader.LoadRewritten(ownProgram("places"), opts); !errors.Is(err, loader.ErrOccupied) || !strings.Contains(err.Error(), "nic0 already has a program at tc "+string(test.hook)) {
					t.Errorf("Once more: %v", err)
				}
				opts.Replace = true
				replaced := lab.loadAs(opts)
				if replaced.Replaced != attached.ProgramID || replaced.Attachment.LinkID != attached.LinkID {
					t.Errorf("Replaced: %+v", replaced.Attachment)
				}
				lab.wantShown(replaced.Attachment)
				lab.sendMarked(test.sender, 2)
				wantCounts(t, replaced.Maps["counts"], test.slot, 2)

				reloaded, err := loader.Reload("nic0", func(*loader.Record) (loader.Options, error) { return opts, nil })
				if err != nil {
					t.Fatal(err)
				}
				defer reloaded.Close()
				lab.sendMarked(test.sender, 1)
				wantCounts(t, reloaded.Maps["counts"], test.slot, 1)
				wantCounts(t, replaced.Maps["counts"], test.slot, 2)
				if got := lab.status(); len(got) != 1 || differ(got[0], *reloaded.Attachment) || got[0].Mode != mode {
					t.Errorf("Status: %+v instead of %+v", got, reloaded.Attachment)
				}

				lab.unload("nic0")
				lab.sendMarked(test.sender, 1)
				wantCounts(t, reloaded.Maps["counts"], test.slot, 1)
				if output := lab.output("tc", "qdisc", "show", "dev", "nic0"); strings.Contains(output, "clsact") {
					t.Errorf("Left: %s", output)
				}
				if err := loader.Unload("nic0"); !errors.Is(err, loader.ErrNotAttached) {
					t.Errorf("Unloaded twice: %v", err)
				}
			})
		}
	}
}

// needTCX skips a test on a kernel without tcx.
func needTCX(t *testing.T, mode loader.Mode) {
	t.Helper()

	if mode == loader.TCX {
		netlab.Need(t, netlab.TCX)
	}
}

// wantShown wants the tools of the kernel to show the program: bpftool net since version 7.3
// what is in tcx, too.
func (l *lab) wantShown(a *loader.Attachment) {
	l.Helper()

	id := fmt.Sprintf("id %d", a.ProgramID)
	if a.Mode == loader.TCX {
		if output := l.output("bpftool", "link", "show", "id", fmt.Sprint(a.LinkID)); !strings.Contains(output, fmt.Sprintf("prog %d", a.ProgramID)) {
			l.Errorf("bpftool link: %s", output)
		}
		return
	}
	if output := l.output("bpftool", "net", "show", "dev", "nic0"); !strings.Contains(output, "clsact/"+string(a.Hook)+" ") || !strings.Contains(output, id) {
		l.Errorf("bpftool net: %s", output)
	}
	if output := l.output("tc", "filter", "show", "dev", "nic0", string(a.Hook)); strings.Count(output, " id ") != 1 || !strings.Contains(output, id) {
		l.Errorf("tc filter: %s", output)
	}
}

func (l *lab) output(args ...string) string {
	l.Helper()

	output, err := run(strings.Join(args, " "))
	if err != nil {
		l.Fatalf("%v: %v: %s", args, err, output)
	}
	return output
}

// In TC a program is beside those of others, which are told as such, and stay.
func TestTCBesideOthers(t *testing.T) {
	netlab.NeedTools(t, "tc")
	for _, mode := range tcModes {
		t.Run(string(mode), func(t *testing.T) {
			needTCX(t, mode)
			lab := newLab(t)
			theirs := foreignTC(t, lab, mode)
			loaded := lab.loadAs(lab.onSkb("in", mode))
			lab.sendMarked("nic0-wire", 3)
			wantCounts(t, loaded.Maps["counts"], atIngress, 3)
			var foreign []ebpf.ProgramID
			all := lab.survey(loader.SurveyOptions{}).Programs
			if all[0].ProgramID != theirs { // they are in the order in which they run
				t.Errorf("In front of what was there: %+v", all)
			}
			for _, program := range all {
				if program.Hook != loader.Ingress || program.Mode != mode {
					t.Errorf("%+v", program)
				}
				if program.Foreign == "foreign" {
					foreign = append(foreign, program.ProgramID)
				}
			}
			if !slices.Equal(foreign, []ebpf.ProgramID{theirs}) {
				t.Errorf("Foreign are %v instead of %d", foreign, theirs)
			}
			lab.unload("nic0")
			if left := lab.survey(loader.SurveyOptions{}).Programs; len(left) != 1 || left[0].ProgramID != theirs {
				t.Errorf("Left: %+v", left)
			}
			if err := loader.Unload("nic0"); !errors.Is(err, loader.ErrNotAttached) || !strings.Contains(err.Error(), fmt.Sprintf("id %d", theirs)) {
				t.Errorf("Unload: %v", err)
			}
		})
	}
}

// Where nothing can be asked after the filters that are there, nothing is attached.
func TestTCNoPriorityLeft(t *testing.T) {
	netlab.NeedTools(t, "tc")
	lab := newLab(t)
	foreignTC(t, lab, loader.Clsact, "pref", "65535")
	_, err := loader.LoadRewritten(ownProgram("places"), lab.onSkb("in", loader.Clsact))
	if want := "nic0: attach to clsact ingress: no priority is left behind that of the filters that are there"; err == nil || err.Error() != want {
		t.Errorf("%v\ninstead of %s", err, want)
	}
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Left: %v", pins)
	}
}

// Who may not ask for what is in tcx is told so: that nothing is there is not known.
func TestTCXDenied(t *testing.T) {
	needTCX(t, loader.TCX)
	lab := newLab(t)
	lab.loadAs(lab.onSkb("in", loader.TCX))
	want := "nic0: tc ingress: programs in tcx: to ask for them takes CAP_NET_ADMIN"
	for _, args := range [][]string{{"unload", "nic0"}, {"unload-all"}, {"status"}} {
		output, err := command(append([]string{"with", "CAP_BPF CAP_PERFMON"}, args...)...).CombinedOutput()
		if isStatus := args[0] == "status"; (err == nil) != isStatus || !strings.Contains(string(output), want) {
			t.Errorf("%v: %v: %s", args, err, output)
		}
	}
	if got := lab.status(); len(got) != 1 {
		t.Errorf("Status: %+v", got)
	}
	lab.unload("nic0")
}

// A program in tcx that no link attaches is taken off otherwise than a filter.
func TestTCXWithoutLink(t *testing.T) {
	needTCX(t, loader.TCX)
	lab := newLab(t)
	spec := foreignSpec()
	spec.Type, spec.AttachType = ebpf.SchedCLS, ebpf.AttachTCXIngress
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: lab.nic.Index, Program: program, Attach: ebpf.AttachTCXIngress}); err != nil {
		t.Fatal(err)
	}
	err = loader.Unload("nic0")
	_, remedy, _ := strings.Cut(fmt.Sprint(err), `"foreign", which is there, `)
	if want := "bpftool net detach tcx_ingress dev nic0"; remedy != want {
		t.Fatalf("%v\ninstead of %s", err, want)
	}
	if help, _ := exec.Command("bpftool", "net", "help").CombinedOutput(); !strings.Contains(string(help), "tcx_ingress") {
		return // it is too old
	}
	lab.output(strings.Fields(remedy)...)
	if left := lab.survey(loader.SurveyOptions{}).Programs; len(left) > 0 {
		t.Errorf("Left: %+v", left)
	}
}

// foreignTC attaches a program to the way in of nic0 that lets all packets go on.
func foreignTC(t *testing.T, lab *lab, mode loader.Mode, place ...string) ebpf.ProgramID {
	t.Helper()

	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "foreign", Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	info, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	if mode == loader.TCX {
		attached, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: lab.nic.Index, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { attached.Close() })
		return id
	}
	path := bpffs + "/foreign"
	if err := program.Pin(path); err != nil {
		t.Fatal(err)
	}
	defer remove(t, path)
	lab.output("tc", "qdisc", "replace", "dev", "nic0", "clsact")
	lab.output(slices.Concat([]string{"tc", "filter", "add", "dev", "nic0", "ingress"}, place, []string{"bpf", "da", "object-pinned", path})...)
	return id
}

// The qdisc is removed by who has added it, once nothing is left in it.
func TestTCQdisc(t *testing.T) {
	netlab.NeedTools(t, "tc")
	lab := newLab(t)
	hasQdisc := func() bool { return strings.Contains(lab.output("tc", "qdisc", "show", "dev", "nic0"), "clsact") }
	unload := func(a *loader.Attachment) {
		t.Helper()
		if err := loader.UnloadProgram(a.ProgramID); err != nil {
			t.Fatal(err)
		}
	}
	for _, firstIn := range []bool{true, false} {
		in := lab.loadAs(lab.onSkb("in", loader.Clsact)).Attachment
		out := lab.loadAs(lab.onSkb("out", loader.Clsact)).Attachment
		if !firstIn {
			in, out = out, in
		}
		if unload(in); !hasQdisc() {
			t.Error("The qdisc is gone with the first of two")
		}
		if unload(out); hasQdisc() {
			t.Error("The qdisc is left")
		}
	}

	in := lab.loadAs(lab.onSkb("in", loader.Clsact)).Attachment
	foreignTC(t, lab, loader.Clsact)
	if unload(in); !hasQdisc() {
		t.Error("The qdisc is gone with somebody else's filter")
	}
	lab.output("tc", "filter", "del", "dev", "nic0", "ingress")
	in = lab.loadAs(lab.onSkb("in", loader.Clsact)).Attachment
	if unload(in); !hasQdisc() {
		t.Error("The qdisc was there before, and is gone")
	}

	lab.output("tc", "qdisc", "replace", "dev", "nic0", "clsact")
	lab.output("tc", "qdisc", "del", "dev", "nic0", "clsact")
	lab.output("tc", "qdisc", "add", "dev", "nic0", "ingress")
	if _, err := loader.LoadRewritten(ownProgram("places"), lab.onSkb("out", loader.Clsact)); err == nil || !strings.Contains(err.Error(), `qdisc "ingress"`) {
		t.Errorf("On the way out of an ingress qdisc: %v", err)
	}
	in = lab.loadAs(lab.onSkb("in", loader.Clsact)).Attachment
	if got := lab.status(); len(got) != 1 || differ(got[0], *in) {
		t.Errorf("Status: %+v", got)
	}
	unload(in)
}

// With a layout a program of TC reads the metadata area, as far as the driver hands it on. Both
// it and the XDP program in front are loaded, or none, and share their maps, also when they are
// loaded anew.
func TestSeveralPrograms(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	lab.output("ip", "link", "property", "add", "dev", "nic0", "altname", "other")
	var each []loader.Options
	for _, program := range []string{"first", "in", "out"} {
		each = append(each, loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Program: program})
	}
	each[1].Interface = "other" // which is the same one
	plans, err := loader.PreviewOnAll(ownProgram("places"), each)
	if err != nil || len(plans) != 3 || plans[2].Program != "out" {
		t.Errorf("Preview: %+v, %v", plans, err)
	}
	all, err := loader.LoadOnAll(ownProgram("places"), each)
	if err != nil {
		t.Fatal(err)
	}
	var attached []loader.Attachment
	for _, loaded := range all {
		defer loaded.Close()
		attached = append(attached, *loaded.Attachment)
	}
	got := lab.status()
	if !slices.EqualFunc(got, attached, func(a, b loader.Attachment) bool { return !differ(a, b) }) {
		t.Errorf("Status: %+v instead of %+v", got, attached)
	}
	if with := got[0].Record.With; !slices.Equal(with, []string{"in", "out"}) {
		t.Errorf("With %v", with)
	}

	metadata := make([]byte, 40)
	binary.NativeEndian.PutUint32(metadata[28:], 0xcafe)
	frames := slices.Repeat([]netlab.Frame{{Metadata: metadata, Packet: make([]byte, 64)}}, 5)
	wantShared := func(loaded *loader.Loaded, packets uint64) {
		t.Helper()
		if err := lab.nic.Deliver(frames); err != nil {
			t.Fatal(err)
		}
		wantCounts(t, loaded.Maps["counts"], atXDP, packets)
		wantCounts(t, loaded.Maps["counts"], atIngress, packets)
	}
	wantShared(all[0], 5)
	wantShared(all[1], 10)

	reloaded, err := loader.Reload("nic0", func(*loader.Record) (loader.Options, error) {
		return loader.Options{Layout: layout(t, "exact")}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer reloaded.Close()
	if len(reloaded.With) != 2 || reloaded.Replaced != attached[0].ProgramID || reloaded.With[1].Replaced != attached[2].ProgramID {
		t.Errorf("Reloaded: %+v", reloaded)
	}
	wantShared(reloaded, 5)
	wantShared(reloaded.With[1], 10)
	wantCounts(t, all[0].Maps["counts"], atIngress, 10)

	// What the last one lacks keeps all others from the interface.
	lab.unload("nic0")
	in := lab.loadAs(loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Program: "out"})
	if _, err := loader.LoadOnAll(ownProgram("places"), each); !errors.Is(err, loader.ErrOccupied) {
		t.Errorf("Where there is one: %v", err)
	}
	if got := lab.status(); len(got) != 1 || differ(got[0], *in.Attachment) {
		t.Errorf("Status: %+v", got)
	}
	each[2].Program = "in_too"
	if _, err := loader.LoadOnAll(ownProgram("places"), each); err == nil || !strings.Contains(err.Error(), "nic0: programs in and in_too are both for ingress") {
		t.Errorf("Two for one place: %v", err)
	}
	lab.unload("nic0")
}

// FindSource looks for what the program is that is to be attached.
func TestFindSourceTC(t *testing.T) {
	lab := newLab(t)
	target, err := nic.ByName("lo") // whose driver has no accessors
	if err != nil {
		t.Fatal(err)
	}
	object := readFile(t, ownProgram("places"))
	for program, want := range map[string]string{"in": "skb", "out": "skb", "first": ""} {
		opts, err := loader.FindSource(target, nic.Search{}, &loader.Driver{Object: object, Program: program})
		if want == "" {
			if !errors.Is(err, loader.ErrNoSource) {
				t.Errorf("%s: %v", program, err)
			}
			continue
		}
		if err != nil || opts.Accessors[0].Name != want || target.Source.Name != want {
			t.Errorf("%s: %+v, %v", program, opts, err)
			continue
		}
		opts.Interface, opts.Program = "lo", program
		lab.loadAs(opts)
	}
	if err := loader.Unload("lo"); err != nil {
		t.Fatal(err)
	}
}

// While one program after the other takes the place of that before, every packet is seen once.
func TestTCReplaceUnderTraffic(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	for _, mode := range tcModes {
		t.Run(string(mode), func(t *testing.T) {
			needTCX(t, mode)
			lab := newLab(t)
			opts := loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Program: "in", Mode: mode, Replace: true}
			lab.loadAs(loader.Options{Layout: opts.Layout, Interface: "nic0", Program: "first"}) // without one veth takes no frames
			all := []*loader.Loaded{lab.loadAs(opts)}
			traffic := startTraffic(lab.nic, markedFrames(1)[0])
			for range 20 {
				all = append(all, lab.loadAs(opts))
			}
			sent := traffic.end(t)
			var sum counts
			for _, loaded := range all {
				var got counts
				if err := loaded.Maps["counts"].Lookup(uint32(atIngress), &got); err != nil {
					t.Fatal(err)
				}
				sum = counts{sum.Seen + got.Seen, sum.Found + got.Found, sum.Right + got.Right}
			}
			if want := (counts{sent, sent, sent}); sum != want {
				t.Errorf("Of %d packets counted are %+v", sent, sum)
			}
			t.Logf("%d packets", sent)
			lab.unload("nic0")
		})
	}
}

// Killed at any step, a load with a filter has happened or it hasn't, and leaves no qdisc.
func TestTCKilled(t *testing.T) {
	netlab.NeedTools(t, "tc")
	lab := newLab(t)
	start := time.Now()
	if output, err := command("clsact", program("tc"), layoutFile("exact"), "nic0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	took := time.Since(start)
	lab.unload("nic0")
	for i := range 30 {
		cmd := command("clsact", program("tc"), layoutFile("exact"), "nic0")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		delay := took * time.Duration(i) / 25
		time.Sleep(delay)
		cmd.Process.Kill()
		cmd.Wait()

		if attached := lab.status(); len(attached) > 0 { // sweeps away the rest
			lab.unload("nic0")
		}
		if pins := lab.pins(); len(pins) > 0 {
			t.Errorf("After %v pinned is %v", delay, pins)
		}
		if output := lab.output("tc", "qdisc", "show", "dev", "nic0"); strings.Contains(output, "clsact") {
			t.Errorf("After %v there is %s", delay, output)
		}
	}
}

// A load that was killed between the qdisc and the filter leaves the former to the next look.
func TestTCSweepsQdisc(t *testing.T) {
	netlab.NeedTools(t, "tc")
	lab := newLab(t)
	attached := lab.loadAs(lab.onSkb("in", loader.Clsact)).Attachment
	lab.output("tc", "filter", "del", "dev", "nic0", "ingress")
	if got := lab.status(); len(got) > 0 {
		t.Errorf("Status: %+v", got)
	}
	if output := lab.output("tc", "qdisc", "show", "dev", "nic0"); strings.Contains(output, "clsact") {
		t.Errorf("There is %s", output)
	}
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Pinned of %d: %v", attached.ProgramID, pins)
	}
}

// From another network namespace a program is told of, and unloaded by its number.
func TestTCElsewhere(t *testing.T) {
	netlab.NeedTools(t, "tc")
	for _, mode := range tcModes {
		t.Run(string(mode), func(t *testing.T) {
			needTCX(t, mode)
			lab := newLab(t)
			attached := lab.loadAs(lab.onSkb("out", mode)).Attachment
			_, end := startSleeper(t) // which leads to the namespace
			defer end()
			err := lab.ns.Do(func() error {
				if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
					return err
				}
				got := lab.ours(attached.ProgramID)
				if got == nil || got.Hook != loader.Egress || got.Mode != mode || got.Namespace == "" || got.Foreign != "" {
					t.Errorf("From elsewhere: %+v", got)
				}
				if here := lab.status(); len(here) > 0 {
					t.Errorf("Elsewhere: %+v", here)
				}
				return loader.UnloadProgram(attached.ProgramID)
			})
			if err != nil {
				t.Error(err)
			}
			if got := lab.status(); len(got) > 0 {
				t.Errorf("Status: %+v", got)
			}
			if output := lab.output("tc", "qdisc", "show", "dev", "nic0"); strings.Contains(output, "clsact") {
				t.Errorf("There is %s", output)
			}
		})
	}
}

// Programs that were loaded together are kept up to date together, and come back together on
// an interface that comes again.
func TestKeepSeveral(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	lab := newLab(t)
	file := filepath.Join(t.TempDir(), "nic.o")
	writeLayout(t, file, "exact")
	opened, err := nic.OpenLayout(file, "")
	if err != nil {
		t.Fatal(err)
	}
	var each []loader.Options
	for _, program := range []string{"first", "in"} {
		each = append(each, loader.Options{Layout: opened, Interface: "nic0", Program: program, Origin: loader.Origin{Layout: file}})
	}
	all, err := loader.LoadOnAll(ownProgram("places"), each)
	if err != nil {
		t.Fatal(err)
	}
	for _, loaded := range all {
		loaded.Close()
	}
	log, end := lab.keep()
	log.await(t, `"up to date"`, 2)
	writeLayout(t, file, "reordered")
	log.await(t, "msg=replaced interface=nic0 program=first", 1)
	log.await(t, "msg=replaced interface=nic0 hook=ingress program=in", 1)

	if err := lab.nic.Remove(); err != nil {
		t.Fatal(err)
	}
	log.await(t, "the interface is gone", 2)
	writeLayout(t, file, "exact")
	if lab.nic, err = lab.ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	log.await(t, "loaded again on the new interface", 2)
	end()
	if got := strings.Count(log.String(), "msg=replaced"); got != 2 {
		t.Errorf("%d replaced instead of 2:\n%s", got, log)
	}

	if err := lab.nic.Deliver(markedFrames(5)); err != nil {
		t.Fatal(err)
	}
	attached := lab.status()
	if len(attached) != 2 {
		t.Fatalf("Status: %+v", attached)
	}
	for _, a := range attached { // each has the same map pinned
		counted, err := ebpf.LoadPinnedMap(mapPins(a)+"/counts", nil)
		if err != nil {
			t.Fatal(err)
		}
		wantCounts(t, counted, atXDP, 5)
		wantCounts(t, counted, atIngress, 5)
		counted.Close()
	}
	lab.unload("nic0")
}

// What goes with the process takes a link, and is replaced by what is for the same hook.
func TestTCUnpinned(t *testing.T) {
	needTCX(t, loader.TCX)
	lab := newLab(t)
	file, err := os.Open(ownProgram("places"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	load := func(opts loader.Options) *loader.Loaded {
		t.Helper()
		opts.Unpinned = true
		loaded, err := loader.Load(file, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { loaded.Close() })
		return loaded
	}
	in, again, out := load(lab.onSkb("in", "")), load(lab.onSkb("in", "")), load(lab.onSkb("out", ""))
	for _, loaded := range []*loader.Loaded{in, out} {
		if err := loaded.Attach(); err != nil {
			t.Fatal(err)
		}
	}
	lab.sendMarked("nic0-wire", 3)
	wantCounts(t, in.Maps["counts"], atIngress, 3)
	if got := lab.status(); len(got) != 2 || got[0].Hook != loader.Ingress || got[0].Mode != loader.TCX || got[0].Pin != "" || got[1].Hook != loader.Egress {
		t.Errorf("Status: %+v", got)
	}
	if err := again.Replace(out); err == nil || !strings.Contains(err.Error(), "it is for egress, and a program for ingress can't replace it") {
		t.Errorf("In place of one for the other way: %v", err)
	}
	if err := again.Replace(in); err != nil {
		t.Error(err)
	}
	lab.sendMarked("nic0-wire", 2)
	wantCounts(t, again.Maps["counts"], atIngress, 2)
	again.Close()
	out.Close()
	if got := lab.status(); len(got) > 0 {
		t.Errorf("Status: %+v", got)
	}

	filter := load(lab.onSkb("in", loader.Clsact))
	if err := filter.Attach(); err == nil || !strings.Contains(err.Error(), "the kernel has no link to attach it by") {
		t.Errorf("Without a link: %v", err)
	}
}

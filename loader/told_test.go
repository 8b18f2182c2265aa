package loader_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// untilTold has one step of a command fail after the other, until it says something, and fails
// the test if it never does. Whatever a run leaves is taken away in between.
func (l *lab) untilTold(want string, before, after func(), args ...string) {
	l.Helper()

	for n := 1; ; n++ {
		before()
		run := l.runStepped(n, unix.ENOMEM, args...)
		after()
		if strings.Contains(run.output, want) {
			return
		}
		if run.at == "" {
			l.Errorf("Whatever fails of %q, nothing says %q", args, want)
			return
		}
	}
}

// Over netlink, too, the kernel may refuse a program without a reason; and one that was only to
// tell the reason may stay.
func TestStepsWithoutLinksTold(t *testing.T) {
	netlab.Need(t, netlab.KillableNotifications)
	lab := newLab(t)
	takeOff := func() {
		_ = loader.Unload("nic0")
		lab.output("ip", "link", "set", "dev", "nic0", "xdpdrv", "off")
	}
	lab.untilTold("nic0: attach in native mode: driver veth refuses, and does not say why: ", func() {}, takeOff,
		"without-links", "EINVAL", "load", program("fields"), layoutFile("exact"), "nic0")
	lab.untilTold("nic0: attached without a link, and can't be taken off again: ", func() {}, takeOff,
		"without-links", "ENOMEM", "load", program("fields"), layoutFile("exact"), "nic0")
}

// The link of somebody else that can't be pinned stays with whom it belongs to.
func TestStepsOfForeignTold(t *testing.T) {
	netlab.Need(t, netlab.KillableNotifications)
	lab := newLab(t)
	var foreign link.Link
	attach := func() { foreign = foreignLink(t, lab.nic.Index, link.XDPDriverMode) }
	detach := func() {
		_ = loader.Unload("nic0")
		foreign.Close()
	}
	lab.untilTold(", which was another's, can't be pinned", attach, detach, "force", program("fields"), layoutFile("exact"), "nic0")
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Pinned: %v", pins)
	}
}

// A program that was loaded without its attach type keeps the kernel from updating its link.
func TestReplaceOtherAttachType(t *testing.T) {
	lab := newLab(t)
	spec := foreignSpec()
	spec.AttachType = ebpf.AttachNone
	foreign, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	attached, err := link.AttachXDP(link.XDPOptions{Program: foreign, Interface: lab.nic.Index, Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	before := lab.attached()
	_, err = loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
	if want := "which stays: the kernel updates its link only with a program of the same attach type, which BPF_XDP is not: to take it off, "; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nlacks %q", err, want)
	}
	if now := lab.attached(); now != before {
		t.Errorf("Attached is %d instead of %d", now, before)
	}
}

// Over netlink the driver says why it does not take the next program.
func TestReplaceWithoutLinkRefused(t *testing.T) {
	netlab.Need(t, netlab.Fragments)
	lab := newLab(t)
	if _, err := run("ip link set nic0-wire mtu 9000"); err != nil {
		t.Fatal(err)
	}
	if output, err := command("without-links", "EINVAL", "fragmented", program("entries"), layoutFile("exact"), "nic0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	present := lab.attachedWithoutLink(loader.XDP, loader.Native)
	output, err := command("without-links", "EINVAL", "replace", program("fields"), layoutFile("exact"), "nic0").CombinedOutput()
	if want := fmt.Sprintf("error: nic0: replace id %d: veth: Peer MTU is too large to set XDP: lower the MTU", present.ProgramID); err == nil || !strings.HasPrefix(string(output), want) {
		t.Errorf("%v: %s\ndoes not start with %q", err, output, want)
	}
	if now := lab.attachedWithoutLink(loader.XDP, loader.Native); differ(now, present) {
		t.Errorf("%+v instead of %+v", now, present)
	}
	lab.unload("nic0")
}

// Which of two programs is the one that is attached, their pins don't tell.
func TestProgramsInsteadOfOne(t *testing.T) {
	lab := newLab(t)
	present := lab.load(program("fields"))
	foreign := foreignProgram(t)
	defer foreign.Close()
	if err := foreign.Pin(programPins(*present) + "/foreign"); err != nil {
		t.Fatal(err)
	}
	_, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true})
	if want := programPins(*present) + ": 2 programs instead of one: unload it"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nlacks %q", err, want)
	}
	if err := loader.Unload("nic0"); err != nil {
		t.Errorf("Unload: %v", err)
	}
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Pinned: %v", pins)
	}
}

// An entry of a map that others have pinned is replaced only if it could be put back.
func TestRedirectKept(t *testing.T) {
	lab := newLab(t)
	entry := loader.Redirect{Map: "named", Key: 0, Queue: 512, Program: "on_cpu"}
	opts := loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Program: "spread_named", Redirects: []loader.Redirect{entry}}
	loaded, err := loader.LoadRewritten(ownProgram("redirects"), opts)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	output, err := command("with", "CAP_BPF CAP_PERFMON CAP_NET_ADMIN", "redirect", ownProgram("redirects"), layoutFile("exact"), "nic0").CombinedOutput()
	if want := "error: needs root, or CAP_SYS_ADMIN; this process lacks CAP_SYS_ADMIN: map named: key 0: what is there could not be put back if the load failed: "; err == nil || !strings.HasPrefix(string(output), want) {
		t.Errorf("%v: %s\ndoes not start with %q", err, output, want)
	}
	lab.unload("nic0")
	for _, pin := range lab.pins() {
		_ = os.Remove(pin)
	}
}

// redirect OBJECT LAYOUT INTERFACE replaces the program, and an entry of a map that is pinned.
func redirect(args []string) error {
	entry := loader.Redirect{Map: "named", Key: 0, Queue: 512, Program: "on_cpu"}
	return loadWith(args, loader.Options{Program: "spread_named", Redirects: []loader.Redirect{entry}, Replace: true})
}

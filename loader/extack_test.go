package loader

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
)

// loadOf returns a load of one program.
func loadOf(spec *ebpf.ProgramSpec) *load {
	l := &load{spec: &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"prog": spec}}}
	l.Program = "prog"
	return l
}

// What was refused by the link and would be attached now is not attached.
func TestAttachLeavesNothing(t *testing.T) {
	target := newTarget(t)
	program := newProgram(t)

	err := loadOf(&ebpf.ProgramSpec{}).explainAttach(target, program, unix.EINVAL)
	if want := "nic0: what was in the way of the program is gone: try again: "; !strings.HasPrefix(err.Error(), want) || !errors.Is(err, unix.EINVAL) {
		t.Errorf("%q does not start with %q", err, want)
	}
	if attached := programsOn(t, target); len(attached) > 0 {
		t.Errorf("Attached: %v", attached)
	}
}

// A program that came in between stays.
func TestAttachLeavesOthers(t *testing.T) {
	target := newTarget(t)
	program, other := newProgram(t), newProgram(t)
	if err := attachOverNetlink(target.Index, other, Native); err != nil {
		t.Fatal(err)
	}
	before := programsOn(t, target)

	err := loadOf(&ebpf.ProgramSpec{}).explainAttach(target, program, unix.EBUSY)
	if want := "nic0: attach in native mode: XDP program already attached: "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%q does not start with %q", err, want)
	}
	if err := detachOverNetlink(target.Index, program, Native); err != nil {
		t.Error(err)
	}
	if after := programsOn(t, target); len(before) != 1 || !slices.Equal(after, before) {
		t.Errorf("Before: %v, after: %v", before, after)
	}
}

// A program that is in SEC("xdp.frags") already is not told to be.
func TestAdviceForFragments(t *testing.T) {
	target := newTarget(t)
	if err := exec.Command("ip", "link", "set", "nic0-wire", "mtu", "9000").Run(); err != nil {
		t.Fatal(err)
	}
	spec := &ebpf.ProgramSpec{Flags: unix.BPF_F_XDP_HAS_FRAGS}
	err := loadOf(spec).explainAttach(target, newProgram(t), unix.ERANGE)
	if want := "nic0: attach in native mode: veth: Peer MTU is too large to set XDP: lower the MTU: "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%q does not start with %q", err, want)
	}
}

// That there is no link may be what the driver says against the program: many say it with EINVAL.
func TestNoLinkOfDriver(t *testing.T) {
	target := newTarget(t)
	l := loadOf(&ebpf.ProgramSpec{})
	l.at = XDP
	noLink := fmt.Errorf("%w: %w", errNoLink, unix.EINVAL)
	if err := l.explainNoLink(target, newProgram(t), noLink); err != noLink {
		t.Errorf("%v instead of %v", err, noLink)
	}
	if attached := programsOn(t, target); len(attached) > 0 {
		t.Errorf("Attached: %v", attached)
	}
	if err := exec.Command("ip", "link", "set", "nic0-wire", "mtu", "9000").Run(); err != nil {
		t.Fatal(err)
	}
	err := l.explainNoLink(target, newProgram(t), noLink)
	if want := "nic0: attach in native mode: veth: Peer MTU is too large to set XDP: lower the MTU"; !strings.HasPrefix(err.Error(), want) || errors.Is(err, errNoLink) {
		t.Errorf("%q does not start with %q", err, want)
	}
}

// A program that came just before the link is told of.
func TestLinkOccupied(t *testing.T) {
	target := newTarget(t)
	if err := attachOverNetlink(target.Index, newProgram(t), Native); err != nil {
		t.Fatal(err)
	}
	l := &load{at: XDP, spec: &ebpf.CollectionSpec{}}
	if linked, err := l.link(target, newProgram(t)); linked != nil || !errors.Is(err, ErrOccupied) {
		t.Errorf("%v, %v", linked, err)
	}
}

func newTarget(t *testing.T) *nic.Target {
	t.Helper()

	if _, err := netlab.Enter(t).AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	target, err := nic.ByName("nic0")
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func newProgram(t *testing.T) *ebpf.Program {
	t.Helper()

	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.XDP,
		AttachType:   ebpf.AttachXDP,
		License:      "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program
}

func programsOn(t *testing.T, target *nic.Target) []hookedProgram {
	t.Helper()

	present, err := hookByName(target.Interface, XDP)
	if err != nil {
		t.Fatal(err)
	}
	return present.programs
}

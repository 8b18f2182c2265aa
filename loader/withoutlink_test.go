package loader_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// withoutLinks ERRNO COMMAND... has the kernel refuse to make links, as it does before it knows
// them, EINVAL, where a container may not, EPERM, or for a fault, ENOMEM.
func withoutLinks(args []string) error {
	refusal := map[string]unix.Errno{"EINVAL": unix.EINVAL, "EPERM": unix.EPERM, "ENOMEM": unix.ENOMEM}[args[0]]
	if err := refuseLinks(refusal); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return commands[args[1]](args[2:])
}

// refuseLinks has bpf(BPF_LINK_CREATE) fail in all threads.
func refuseLinks(refusal unix.Errno) error {
	const argumentAt = 16 // in struct seccomp_data, the first one, of 8 bytes
	command := uint32(argumentAt)
	if endian == "-eb.o" {
		command += 4
	}
	return filterCalls([]unix.SockFilter{
		loadWord(numberAt), unless(unix.SYS_BPF, 3),
		loadWord(command), unless(unix.BPF_LINK_CREATE, 1),
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | uint32(refusal)},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	})
}

// killedAtMount COMMAND... is killed when it is about to mount something.
func killedAtMount(args []string) error {
	err := filterCalls([]unix.SockFilter{
		loadWord(numberAt), unless(unix.SYS_MOVE_MOUNT, 1),
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return commands[args[0]](args[1:])
}

const numberAt = 0 // in struct seccomp_data

func loadWord(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

// unless skips instructions unless the word that was loaded has a value.
func unless(value uint32, skip uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
}

// filterCalls has a filter decide about the system calls of all threads.
func filterCalls(filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return errno
	}
	return nil
}

// Without links an XDP program is attached all the same, stays when the process is gone, is
// told, and is replaced with no packet unseen.
func TestWithoutLinks(t *testing.T) {
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	for _, refusal := range []string{"EINVAL", "EPERM"} {
		t.Run(refusal, func(t *testing.T) {
			lab := newLab(t)
			inChild := func(args ...string) (string, error) {
				output, err := command(append([]string{"without-links", refusal}, args...)...).CombinedOutput()
				return string(output), err
			}
			if output, err := inChild("load", ownProgram("counted"), layoutFile("exact"), "nic0"); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			attached := lab.attachedWithoutLink(loader.XDP, loader.Native)
			if shown := lab.output("ip", "link", "show", "nic0"); !strings.Contains(shown, fmt.Sprintf("prog/xdp id %d ", attached.ProgramID)) {
				t.Errorf("ip link: %s", shown)
			}
			if output, err := inChild("load", program("fields"), layoutFile("exact"), "nic0"); err == nil || !strings.Contains(output, "nic0 already has an XDP program: id ") {
				t.Errorf("Once more: %v: %s", err, output)
			}

			traffic := startTraffic(lab.nic, cafe())
			for _, command := range []string{"replace", "reload"} {
				before := attached.ProgramID
				args := map[string][]string{
					"replace": {ownProgram("counted"), layoutFile("sparse"), "nic0"},
					"reload":  {"nic0", layoutFile("exact")},
				}[command]
				if output, err := inChild(append([]string{command}, args...)...); err != nil {
					t.Fatalf("%s: %v: %s", command, err, output)
				}
				if attached = lab.attachedWithoutLink(loader.XDP, loader.Native); attached.ProgramID == before {
					t.Errorf("%s has not", command)
				}
			}
			wantAllCounted(t, traffic.end(t))
			if output, err := inChild("unload", "nic0"); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			if err := loader.Unload("nic0"); !errors.Is(err, loader.ErrNotAttached) {
				t.Errorf("Unloaded twice: %v", err)
			}
			remove(t, bpffs+"/counts")
		})
	}
}

// What was attached without a link, or has taken the place of another, is taken back if a next one
// fails.
func TestWithoutLinksAllOrNone(t *testing.T) {
	lab := newLab(t)
	wantRefused := func() {
		t.Helper()
		output, err := command("without-links", "EINVAL", "on-all", program("fields"), layoutFile("exact"), "nic0", "lo").CombinedOutput()
		if err == nil || !strings.Contains(string(output), "lo: no native XDP in its driver") {
			t.Errorf("%v: %s", err, output)
		}
	}
	wantRefused()
	if shown := lab.output("ip", "link", "show", "nic0"); strings.Contains(shown, "xdp") {
		t.Errorf("Left: %s", shown)
	}
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Pinned: %v", pins)
	}

	if output, err := command("without-links", "EINVAL", "load", program("fields"), layoutFile("exact"), "nic0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	present, pins := lab.attachedWithoutLink(loader.XDP, loader.Native), lab.pins()
	wantRefused()
	if got := lab.attachedWithoutLink(loader.XDP, loader.Native); differ(got, present) {
		t.Errorf("%+v instead of %+v", got, present)
	}
	if now := lab.pins(); !slices.Equal(now, pins) {
		t.Errorf("Pinned: %v instead of %v", now, pins)
	}
	lab.unload("nic0")
}

// onAll OBJECT LAYOUT INTERFACE... replaces what is there.
func onAll(args []string) error {
	layout, err := nic.OpenLayout(args[1], "")
	if err != nil {
		return err
	}
	var each []loader.Options
	for _, iface := range args[2:] {
		each = append(each, loader.Options{Layout: layout, Interface: iface, Replace: true})
	}
	_, err = loader.LoadOnAll(args[0], each)
	return err
}

// In TC there is clsact then, and what the driver says against an XDP program is told as it
// is with a link.
func TestWithoutLinksElsewhere(t *testing.T) {
	lab := newLab(t)
	if output, err := command("without-links", "EINVAL", "load", program("tc"), layoutFile("exact"), "nic0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	lab.attachedWithoutLink(loader.Ingress, loader.Clsact)
	lab.unload("nic0")

	if output, err := command("without-links", "EINVAL", "generic", program("fields"), layoutFile("exact"), "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	lab.attachedWithoutLink(loader.XDP, loader.Generic)
	opts := loader.Options{Layout: layout(t, "sparse"), Interface: "lo", Mode: loader.Generic, Replace: true}
	loaded, err := loader.LoadRewritten(program("fields"), opts)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	lab.attachedWithoutLink(loader.XDP, loader.Generic)
	lab.unload("lo")
	if shown := lab.output("ip", "link", "show", "lo"); strings.Contains(shown, "xdp") {
		t.Errorf("Left: %s", shown)
	}

	output, err := command("without-links", "EINVAL", "tcx", program("tc"), layoutFile("exact"), "nic0").CombinedOutput()
	if want := "nic0: attach to tcx ingress: "; err == nil || !strings.Contains(string(output), want) || !strings.HasSuffix(string(output), ": --mode clsact, or none, takes a filter\n") {
		t.Errorf("In tcx: %v: %s", err, output)
	}
	output, err = command("without-links", "EINVAL", "attach-unpinned", ownProgram("constant"), layoutFile("exact"), "nic0").CombinedOutput()
	if want := "the kernel has no link to attach it by"; err == nil || !strings.Contains(string(output), want) {
		t.Errorf("Unpinned: %v: %s", err, output)
	}

	lab.output("ip", "link", "set", "nic0-wire", "mtu", "9000")
	output, err = command("without-links", "EINVAL", "load", program("fields"), layoutFile("exact"), "nic0").CombinedOutput()
	if want := "nic0: attach in native mode: veth: Peer MTU is too large to set XDP: lower the MTU"; err == nil || !strings.Contains(string(output), want) {
		t.Errorf("With a large MTU: %v: %s", err, output)
	}
	output, err = command("without-links", "EINVAL", "load", program("fields"), layoutFile("exact"), "lo").CombinedOutput()
	if want := "lo: no native XDP in its driver"; err == nil || !strings.Contains(string(output), want) {
		t.Errorf("On lo: %v: %s", err, output)
	}
	lab.status()
}

// What can't be looked at for now, here since there is no /proc, keeps its pins.
func TestWithoutLinkNorProc(t *testing.T) {
	lab := newLab(t)
	if output, err := command("without-links", "EINVAL", "load", program("fields"), layoutFile("exact"), "nic0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if err := unix.Mount("tmpfs", "/proc", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if attached, skipped, err := loader.Status(); err == nil {
		t.Errorf("Status: %+v, %v", attached, skipped)
	}
	if err := unix.Unmount("/proc", 0); err != nil {
		t.Fatal(err)
	}
	lab.attachedWithoutLink(loader.XDP, loader.Native)
	lab.unload("nic0")
}

// attachedWithoutLink wants one program, and nothing of a link.
func (l *lab) attachedWithoutLink(at loader.Hook, mode loader.Mode) loader.Attachment {
	l.Helper()

	got := l.status()
	if len(got) != 1 || got[0].LinkID != 0 || got[0].Hook != at || got[0].Mode != mode {
		l.Fatalf("Status: %+v", got)
	}
	if info, err := os.Lstat(got[0].Pin); err != nil || info.Mode()&os.ModeSymlink == 0 || !strings.Contains(got[0].Pin, "/hook-") {
		l.Errorf("%s: %v, %v", got[0].Pin, info, err)
	}
	return got[0]
}

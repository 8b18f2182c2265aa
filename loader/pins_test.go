package loader_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

const pinDir = bpffs + "/xdp-load"

// Where everybody may write to the bpffs, somebody else may have made the directory
// of pins, and could take root's out of it.
func TestPinDirOfOthers(t *testing.T) {
	for name, test := range map[string]struct {
		make func() error
		want string
	}{
		"another user's": {func() error {
			return errors.Join(os.Mkdir(pinDir, 0o700), os.Chown(pinDir, 65534, 65534))
		}, "belongs to user 65534"},
		"for all to write": {func() error {
			return errors.Join(os.Mkdir(pinDir, 0o700), os.Chmod(pinDir, 0o777))
		}, "-rwxrwxrwx lets others"},
		"for a group to write": {func() error {
			return errors.Join(os.Mkdir(pinDir, 0o700), os.Chmod(pinDir, 0o770))
		}, "-rwxrwx--- lets others"},
		"a link": {func() error {
			return errors.Join(os.Mkdir(bpffs+"/elsewhere", 0o700), os.Symlink(bpffs+"/elsewhere", pinDir))
		}, "no directory"},
		"a map": {func() error {
			m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
			if err != nil {
				return err
			}
			defer m.Close()
			return m.Pin(pinDir)
		}, "no directory"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			if err := test.make(); err != nil {
				t.Fatal(err)
			}
			_, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0"})
			if !errors.Is(err, loader.ErrUntrusted) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nlacks %q", err, test.want)
			}
			if links, _ := run("ip link show nic0"); strings.Contains(links, "xdp") {
				t.Errorf("Attached: %s", links)
			}
			if plan, preview := loader.Preview(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0"}); plan != nil || fmt.Sprint(preview) != fmt.Sprint(err) {
				t.Errorf("Preview: %v, %v\ninstead of %v", plan, preview, err)
			}

			// What is wrong there is no reason not to say that there is nothing of ours.
			attachments, skipped, err := loader.Status()
			if err != nil || len(attachments) > 0 || len(skipped) != 1 || !errors.Is(skipped[0], loader.ErrUntrusted) {
				t.Errorf("Status: %v, %v, %v", attachments, skipped, err)
			}
			if err := loader.Unload("nic0"); !errors.Is(err, loader.ErrNotAttached) || !errors.Is(err, loader.ErrUntrusted) {
				t.Errorf("Unload: %v", err)
			}
			for _, path := range lab.pins() {
				os.RemoveAll(path)
			}
		})
	}
}

// Something else in the directory of pins is left alone, and stops nobody, whatever its name.
func TestForeignPins(t *testing.T) {
	netlab.Need(t, netlab.TCX)
	lab := newLab(t)
	attachment := lab.loadByCommand(program("fields"), "exact", "nic0")
	foreign := []string{pinDir + "/foreign", pinDir + "/link-4294967292", pinDir + "/link-4294967293", pinDir + "/link-4294967294", pinDir + "/link-4294967295"}
	reasons := []string{
		"not made by xdp-load: remove it",
		"no link of an XDP program, or one of TC, and not made by xdp-load: remove it",
		"link LINK, and not made by xdp-load: remove it",
		"no link, and not made by xdp-load: remove it",
		"no link, and not made by xdp-load: remove it",
	}
	pinMap(t, foreign[0])
	pinOfNamespace(t, foreign[1])
	id := pinTCX(t, lab.nic.Index, foreign[2])
	reasons[2] = strings.Replace(reasons[2], "LINK", fmt.Sprint(id), 1)
	if err := os.Mkdir(foreign[3], 0o700); err != nil {
		t.Fatal(err)
	}
	pinMap(t, foreign[4])
	wantSkipped := func(what string, skipped []error) {
		t.Helper()
		if len(skipped) != len(foreign) {
			t.Fatalf("%s skipped %v", what, skipped)
		}
		for i, path := range foreign {
			want := path + ": " + reasons[i]
			if text := skipped[i].Error(); text != want {
				t.Errorf("%s skipped %q instead of %q", what, text, want)
			}
		}
	}

	attachments, skipped, err := loader.Status()
	if err != nil || len(attachments) != 1 || differ(attachments[0], attachment) {
		t.Errorf("Status: %v, %v", attachments, err)
	}
	wantSkipped("Status", skipped)
	unloaded, skipped, err := loader.UnloadAll()
	if err != nil || !slices.Equal(unloaded, []string{"nic0"}) {
		t.Errorf("Unloaded %v, %v", unloaded, err)
	}
	wantSkipped("UnloadAll", skipped)
	for _, path := range foreign {
		remove(t, path)
	}
	remove(t, pinDir)
}

// pinTCX pins a link of a program of TC, and returns its number.
func pinTCX(t *testing.T, ifindex int, path string) link.ID {
	t.Helper()

	spec := foreignSpec()
	spec.Type, spec.AttachType = ebpf.SchedCLS, ebpf.AttachTCXIngress
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	attached, err := link.AttachTCX(link.TCXOptions{Program: program, Interface: ifindex, Attach: ebpf.AttachTCXIngress})
	return pinLink(t, attached, err, path)
}

// pinOfNamespace pins the link of a program of the network namespace.
func pinOfNamespace(t *testing.T, path string) {
	t.Helper()

	spec := foreignSpec()
	spec.Type, spec.AttachType = ebpf.FlowDissector, ebpf.AttachFlowDissector
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	netns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer netns.Close()
	attached, err := link.AttachNetNs(int(netns.Fd()), program)
	pinLink(t, attached, err, path)
}

// pinLink pins what was attached, if it was, and returns the number of the link.
func pinLink(t *testing.T, attached link.Link, err error, path string) link.ID {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	info, err := attached.Info()
	if err != nil {
		t.Fatal(err)
	}
	if err := attached.Pin(path); err != nil {
		t.Fatal(err)
	}
	return info.ID
}

func pinMap(t *testing.T, path string) {
	t.Helper()

	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Pin(path); err != nil {
		t.Fatal(err)
	}
}

// A pin that may not be opened may be that of a link: what it attaches stays, and so do the
// pins that may belong to that. Everything else is unloaded, and the failure is told.
func TestUnopenablePin(t *testing.T) {
	lab := newLab(t)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	lab.load(program("fields"))
	attachment := lab.loadByCommand(program("fields"), "exact", "nic1")
	if err := os.Chown(attachment.Pin, 65534, 65534); err != nil {
		t.Fatal(err)
	}

	output, err := command("with", "CAP_BPF CAP_NET_ADMIN CAP_PERFMON", "replace", program("fields"), layoutFile("exact"), "nic1").CombinedOutput()
	if want := "and whether it was attached by xdp-load can't be told: " + attachment.Pin + ": "; err == nil || !strings.Contains(string(output), want) {
		t.Errorf("%v: %s\nlacks %q", err, output, want)
	}
	output, err = command("with", "CAP_BPF CAP_NET_ADMIN CAP_PERFMON", "unload-all").CombinedOutput()
	want := "nic0\nerror: needs root, or CAP_DAC_OVERRIDE; this process lacks CAP_DAC_OVERRIDE: " + attachment.Pin + ": "
	if err == nil || !strings.HasPrefix(string(output), want) {
		t.Errorf("%v: %s\ndoes not start with %q", err, output, want)
	}
	if got := lab.status(); len(got) != 1 || differ(got[0], attachment) {
		t.Errorf("Status: %+v", got)
	}
	lab.wantPinsOf(attachment)
	lab.unload("nic1")
}

// An attachment of which somebody has removed pins is passed over, and can be unloaded.
func TestDamagedAttachment(t *testing.T) {
	lab := newLab(t)
	if _, err := lab.ns.AddNIC("nic1"); err != nil {
		t.Fatal(err)
	}
	damaged := lab.loadByCommand(program("fields"), "exact", "nic0")
	attachment := lab.loadByCommand(program("fields"), "exact", "nic1")
	if err := os.RemoveAll(programPins(damaged)); err != nil {
		t.Fatal(err)
	}

	attachments, skipped, err := loader.Status()
	if err != nil || len(attachments) != 1 || differ(attachments[0], attachment) {
		t.Errorf("Status: %v, %v", attachments, err)
	}
	if text := fmt.Sprint(skipped); len(skipped) != 1 || !strings.Contains(text, "nic0: program ") || !strings.Contains(text, ": unload it") {
		t.Errorf("Skipped: %v", skipped)
	}
	unloaded, skipped, err := loader.UnloadAll()
	if err != nil || len(skipped) > 0 || !slices.Equal(unloaded, []string{"nic0", "nic1"}) || lab.attached() != 0 {
		t.Errorf("Unloaded %v, skipped %v, %v, attached is %d", unloaded, skipped, err, lab.attached())
	}
}

// So is one without a link.
func TestDamagedHook(t *testing.T) {
	lab := newLab(t)
	foreignWithoutLink(lab, "xdp")
	loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0", Replace: true, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Close()
	if err := os.RemoveAll(programPins(*loaded.Attachment)); err != nil {
		t.Fatal(err)
	}
	lab.unload("nic0")
	if pins := lab.pins(); len(pins) > 0 || lab.attached() != 0 {
		t.Errorf("Pinned: %v, attached is %d", pins, lab.attached())
	}
}

// Where the caller pins its own handles is nothing to what keeps the program alive.
func TestPinsOfCaller(t *testing.T) {
	lab := newLab(t)
	loaded, err := loader.LoadRewritten(program("fields"), loader.Options{Layout: layout(t, "exact"), Interface: "nic0"})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	before := lab.pins()
	callers := map[string]interface{ Pin(string) error }{"program": loaded.Programs["fields"]}
	for name, m := range loaded.Maps {
		callers[strings.TrimPrefix(name, ".")] = m
	}
	for name, handle := range callers {
		if err := handle.Pin(bpffs + "/" + name); err != nil {
			t.Fatal(err)
		}
		remove(t, bpffs+"/"+name)
	}

	if after := lab.pins(); !slices.Equal(after, before) {
		t.Errorf("Pinned were %v, are %v", before, after)
	}
	if got := lab.status(); len(got) != 1 || differ(got[0], *loaded.Attachment) {
		t.Errorf("Status: %+v", got)
	}
	lab.unload("nic0")
}

// What a load that was killed has pinned without its link is swept away.
func TestPinsWithoutLink(t *testing.T) {
	lab := newLab(t)
	for _, dir := range []string{"/maps-4294967295", "/programs-4294967295"} {
		if err := os.MkdirAll(pinDir+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	lab.status()
	if pins := lab.pins(); len(pins) > 0 {
		t.Errorf("Left: %v", pins)
	}
}

// On a bpffs that can't be written to, a program is detached all the same.
func TestReadOnlyBPFFS(t *testing.T) {
	lab := newLab(t)
	attachment := lab.loadByCommand(program("fields"), "exact", "nic0")
	if err := unix.Mount("", bpffs, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if got := lab.status(); len(got) != 1 || differ(got[0], attachment) {
		t.Errorf("Status: %+v", got)
	}
	lab.unload("nic0")
	if got := lab.status(); len(got) != 0 {
		t.Errorf("Status after unload: %+v", got)
	}
	if err := unix.Mount("", bpffs, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	lab.status() // sweeps
}

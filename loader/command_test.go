package loader_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// asCommand, as the first argument, makes the test binary the command that the
// arguments after it name, for what can only be tested in another process.
const asCommand = "as-command"

func TestMain(m *testing.M) {
	if len(os.Args) < 3 || os.Args[1] != asCommand {
		flag.Parse()
		os.Exit(runWithExamples(m))
	}
	if err := commands[os.Args[2]](os.Args[3:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

var commands map[string]func(args []string) error

func init() {
	commands = map[string]func([]string) error{
		"load":    load,
		"generic": generic,
		"clsact":  clsact,
		"tcx":     func(args []string) error { return loadWith(args, loader.Options{Mode: loader.TCX}) },
		"replace": replace,
		"reload":  reload,
		"keep":    keep,
		"status":  status,
		"unload":  func(args []string) error { return loader.Unload(args[0]) },
		"with":    withCapabilities,

		"clsact-both":     clsactBoth,
		"forbidden":       forbidden,
		"force":           func(args []string) error { return loadWith(args, loader.Options{Replace: true, Force: true}) },
		"fragmented":      func(args []string) error { return loadWith(args, loader.Options{Program: "fragmented"}) },
		"redirect":        redirect,
		"killed-at-mount": killedAtMount,
		"on-all":          onAll,
		"without-links":   withoutLinks,

		"unload-all":             unloadAll,
		"move":                   moveInterface,
		"hooks":                  printHooks,
		"attach-unpinned":        attachUnpinned,
		"load-limited":           loadLimited,
		"refused-for-privileges": refusedForPrivileges,

		"stepped": runSteppedCommand,

		"init": asInit,
	}
}

// load OBJECT LAYOUT INTERFACE
func load(args []string) error { return loadWith(args, loader.Options{}) }

// generic OBJECT LAYOUT INTERFACE
func generic(args []string) error { return loadWith(args, loader.Options{Mode: loader.Generic}) }

// clsact OBJECT LAYOUT INTERFACE
func clsact(args []string) error { return loadWith(args, loader.Options{Mode: loader.Clsact}) }

// clsactBoth OBJECT LAYOUT INTERFACE attaches the programs in and out.
func clsactBoth(args []string) error {
	layout, err := nic.OpenLayout(args[1], "")
	if err != nil {
		return err
	}
	var each []loader.Options
	for _, program := range []string{"in", "out"} {
		each = append(each, loader.Options{Layout: layout, Interface: args[2], Program: program, Mode: loader.Clsact})
	}
	_, err = loader.LoadOnAll(args[0], each)
	return err
}

// replace OBJECT LAYOUT INTERFACE
func replace(args []string) error { return loadWith(args, loader.Options{Replace: true}) }

// reload INTERFACE LAYOUT
func reload(args []string) error {
	_, err := loader.Reload(args[0], func(record *loader.Record) (opts loader.Options, err error) {
		opts.Origin = record.Origin
		opts.Layout, err = nic.OpenLayout(args[1], "")
		return opts, err
	})
	return err
}

func loadWith(args []string, opts loader.Options) error {
	layout, err := nic.OpenLayout(args[1], "")
	if err != nil {
		return err
	}
	opts.Layout, opts.Interface = layout, args[2]
	_, err = loader.LoadRewritten(args[0], opts)
	return err
}

// loadLimited has the limit on locked memory that Linux 5.10 starts with.
func loadLimited(args []string) error {
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		return err
	}
	return load(args)
}

func status([]string) error {
	attachments, skipped, err := loader.Status()
	for _, reason := range skipped {
		fmt.Println("skipped", reason)
	}
	for _, attachment := range attachments {
		fmt.Println(attachment.Interface, attachment.Program, attachment.Pin, attachment.Record.Object, attachment.MountsOf)
	}
	return err
}

// move INTERFACE NAMESPACE
func moveInterface(args []string) error {
	_, err := run("ip link set " + args[0] + " netns " + args[1])
	return err
}

// hooks prints the interfaces with programs, whosever they are.
func printHooks([]string) error {
	overview, err := loader.Survey(loader.SurveyOptions{})
	if err != nil {
		return err
	}
	for i := range overview.Programs {
		fmt.Println(overview.Programs[i].Interface)
	}
	return nil
}

func unloadAll([]string) error {
	unloaded, _, err := loader.UnloadAll()
	for _, iface := range unloaded {
		fmt.Println(iface)
	}
	return err
}

// command returns the command that runs this test binary as another.
func command(args ...string) *exec.Cmd {
	return exec.Command("/proc/self/exe", append([]string{asCommand}, args...)...)
}

// The link outlives the process that made it.
func TestLinkOutlivesProcess(t *testing.T) {
	lab := newLab(t)

	if output, err := command("load", program("fields"), layoutFile("exact"), lab.nic.Name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}

	attachments := lab.status()
	if len(attachments) != 1 || attachments[0].Interface != lab.nic.Name || attachments[0].Program != "fields" {
		t.Fatalf("After the process: %+v", attachments)
	}
	if err := loader.Unload(lab.nic.Name); err != nil {
		t.Fatal(err)
	}
}

// Of several loads at once, one attaches its program and the others are told.
func TestSimultaneousLoads(t *testing.T) {
	lab := newLab(t)
	var cmds [8]*exec.Cmd
	var outputs [len(cmds)]strings.Builder
	for i := range cmds {
		cmds[i] = command("load", program("fields"), layoutFile("exact"), lab.nic.Name)
		cmds[i].Stdout = &outputs[i]
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
	}

	attached := 0
	for i, cmd := range cmds {
		if err := cmd.Wait(); err == nil {
			attached++
		} else if want := "attached by xdp-load: to take it off, xdp-load unload"; !strings.Contains(outputs[i].String(), want) || strings.Contains(outputs[i].String(), "not "+want) {
			t.Errorf("Load %d: %v: %s", i, err, outputs[i].String())
		}
	}
	if attached != 1 || len(lab.status()) != 1 {
		t.Errorf("%d loads attached a program, status: %+v", attached, lab.status())
	}
	if err := loader.Unload(lab.nic.Name); err != nil {
		t.Fatal(err)
	}
}

// CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are enough.
func TestWithoutSysAdmin(t *testing.T) {
	const enough = "CAP_BPF CAP_NET_ADMIN CAP_PERFMON"
	lab := newLab(t)
	object := ownProgram("calls_pinned")
	for _, line := range [][]string{
		{"load", object, layoutFile("exact"), "nic0"},
		{"status"},
		{"unload", "nic0"},
		{"load", program("fields"), layoutFile("exact"), "nic0"},
		{"status"},
	} {
		output, err := command(append([]string{"with", enough}, line...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", line, err, output)
		}
		if line[0] == "status" && !strings.HasPrefix(string(output), "nic0 ") {
			t.Errorf("Status: %s", output)
		}
	}

	// Whose the program is that is there can be told, too.
	output, err := command("with", enough, "load", program("fields"), layoutFile("exact"), "nic0").CombinedOutput()
	if want := `"fields", attached by xdp-load: to take it off`; err == nil || !strings.Contains(string(output), want) {
		t.Errorf("%s\nlacks %q", output, want)
	}
	lab.unload("nic0")

	// Programs that are replaced in an array could not be put back.
	output, err = command("with", enough, "load", object, layoutFile("exact"), "nic0").CombinedOutput()
	if want := "error: needs root, or CAP_SYS_ADMIN; this process lacks CAP_SYS_ADMIN: map jump: slot 0 has a program, which could not be put back if the load failed"; err == nil || !strings.HasPrefix(string(output), want) {
		t.Errorf("%s\ndoes not start with %q", output, want)
	}
	if len(lab.status()) > 0 {
		t.Error("Something is attached")
	}
	remove(t, bpffs+"/jump")
}

// The limit on locked memory is lifted for a map of 4 MB. Without the capability
// for that, the limit is named, where the kernel heeds it.
func TestMemlock(t *testing.T) {
	heeded := version(t) < 5<<16+11<<8
	for capabilities, refused := range map[string]bool{
		"CAP_BPF CAP_PERFMON CAP_NET_ADMIN CAP_SYS_RESOURCE": false,
		"CAP_BPF CAP_PERFMON CAP_NET_ADMIN":                  heeded,
	} {
		t.Run(capabilities, func(t *testing.T) {
			lab := newLab(t)
			output, err := command("with", capabilities, "load-limited", example("record"), layoutFile("exact"), lab.nic.Name).CombinedOutput()
			if refused {
				want := "error: needs root, or CAP_SYS_RESOURCE, or a higher RLIMIT_MEMLOCK, which programs and maps count against before Linux 5.11: ulimit -l unlimited: map records: "
				if err == nil || !strings.HasPrefix(string(output), want) {
					t.Errorf("%v: %s\ndoes not start with %q", err, output, want)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			lab.unload(lab.nic.Name)
		})
	}
}

// version returns LINUX_VERSION_CODE of the running kernel.
func version(t *testing.T) uint32 {
	t.Helper()

	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// "ip netns exec" hides the bpffs, and what is mounted there dies with the
// command. PID 1 is ours here, so that its mount namespace is, too.
func TestIPNetnsExec(t *testing.T) {
	netlab.NeedRoot(t)

	cmd := command("init")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

// asInit is TestIPNetnsExec as PID 1 of a fresh machine.
func asInit([]string) error {
	if os.Getpid() != 1 {
		return errors.New("not PID 1")
	}
	if err := mountFreshMachine(); err != nil {
		return err
	}
	for _, line := range []string{
		"ip netns add lab",
		"ip -n lab link add nic0 type veth peer name wire0",
		"ip -n lab link set nic0 up",
	} {
		if _, err := run(line); err != nil {
			return err
		}
	}

	// What somebody has mounted there is not hidden.
	if err := unix.Mount("tmpfs", bpffs, "tmpfs", 0, ""); err != nil {
		return err
	}
	if output, err := inLab("load", program("fields"), layoutFile("exact"), "nic0"); err == nil || !strings.Contains(output, "something else is mounted on "+bpffs) {
		return fmt.Errorf("load beside a tmpfs: %v: %s", err, output)
	}
	if err := unix.Unmount(bpffs, 0); err != nil {
		return err
	}

	// A load that fails leaves no bpffs mounted.
	if output, err := inLab("load", program("fields"), layoutFile("exact"), "lo"); err == nil || !strings.Contains(output, "no native XDP") {
		return fmt.Errorf("load on lo: %v: %s", err, output)
	}
	if bpffsMounted() {
		return errors.New("a failed load leaves the bpffs mounted")
	}

	if output, err := inLab("load", program("fields"), layoutFile("exact"), "nic0"); err != nil {
		return fmt.Errorf("load: %w: %s", err, output)
	}
	if !bpffsMounted() {
		return errors.New("no bpffs mounted after a load")
	}
	if links, err := run("ip -n lab link show nic0"); err != nil || !strings.Contains(links, "prog/xdp") {
		return fmt.Errorf("after the process, nic0 has no program: %v: %s", err, links)
	}
	// The record has the path as it is where the load was called, not in the mounts of PID 1.
	path, err := filepath.Abs(program("fields"))
	if err != nil {
		return err
	}
	if output, err := inLab("status"); err != nil || !strings.HasPrefix(output, "nic0 fields /sys/fs/bpf/xdp-load/link-") || !strings.HasSuffix(output, " "+path+" 1\n") {
		return fmt.Errorf("status: %w: %s", err, output)
	}
	if output, err := inLab("load", program("fields"), layoutFile("exact"), "nic0"); err == nil || !strings.Contains(output, "attached by xdp-load") {
		return fmt.Errorf("second load: %v: %s", err, output)
	}

	if output, err := inLab("unload", "nic0"); err != nil {
		return fmt.Errorf("unload: %w: %s", err, output)
	}
	if links, err := run("ip -n lab link show nic0"); err != nil || strings.Contains(links, "prog/xdp") {
		return fmt.Errorf("after unload, nic0: %v: %s", err, links)
	}
	if _, err := os.Stat("/sys/fs/bpf/xdp-load"); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("after unload, the directory of pins: %v", err)
	}
	return withoutLinksOnFreshMachine()
}

// withoutLinksOnFreshMachine is what is different if nothing takes a program off whose process
// is killed.
func withoutLinksOnFreshMachine() error {
	if err := unix.Unmount(bpffs, 0); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"clsact", program("tc"), layoutFile("exact"), "nic0"},
		{"without-links", "EINVAL", "load", program("fields"), layoutFile("exact"), "nic0"},
	} {
		if output, err := inLab(append([]string{"killed-at-mount"}, args...)...); err == nil || output != "" {
			return fmt.Errorf("not killed: %v: %s", err, output)
		}
		if output, err := inLab("hooks"); err != nil || output != "" {
			return fmt.Errorf("killed before anything tells of it, it is attached: %v: %s", err, output)
		}
	}
	if output, err := inLab("without-links", "EINVAL", "load", program("fields"), layoutFile("exact"), "lo"); err == nil || !strings.Contains(output, "no native XDP") {
		return fmt.Errorf("load on lo: %v: %s", err, output)
	}
	if bpffsMounted() {
		return errors.New("a failed load without a link leaves the bpffs mounted")
	}

	if output, err := inLab("clsact-both", ownProgram("places"), layoutFile("exact"), "nic0"); err != nil {
		return fmt.Errorf("load: %w: %s", err, output)
	}
	if output, err := inLab("unload", "nic0"); err != nil {
		return fmt.Errorf("unload: %w: %s", err, output)
	}
	if qdiscs, err := run("tc -n lab qdisc show dev nic0"); err != nil || strings.Contains(qdiscs, "clsact") {
		return fmt.Errorf("after unload of both: %v: %s", err, qdiscs)
	}
	return killedInPlaceOfForeign()
}

// killedInPlaceOfForeign has a program on nic0 that is somebody else's, now that its pins are
// gone, stay.
func killedInPlaceOfForeign() error {
	if output, err := inLab("without-links", "EINVAL", "load", program("fields"), layoutFile("exact"), "nic0"); err != nil {
		return fmt.Errorf("load: %w: %s", err, output)
	}
	if err := unix.Unmount(bpffs, 0); err != nil {
		return err
	}
	before, err := run("ip -n lab link show nic0")
	if err != nil {
		return err
	}
	if output, err := inLab("killed-at-mount", "force", program("fields"), layoutFile("exact"), "nic0"); err == nil || output != "" {
		return fmt.Errorf("not killed: %v: %s", err, output)
	}
	if after, err := run("ip -n lab link show nic0"); err != nil || after != before {
		return fmt.Errorf("killed before anything tells of it, it is attached: %v: %s\nbefore: %s", err, after, before)
	}
	if output, err := inLab("force", program("fields"), layoutFile("exact"), "nic0"); err != nil {
		return fmt.Errorf("load: %w: %s", err, output)
	}
	return nil
}

// mountFreshMachine makes the mounts of the new PID 1 its own: /proc shows it,
// /sys has no bpffs, and "ip netns" keeps its names to itself.
func mountFreshMachine() error {
	for _, mount := range []struct {
		source, target, fstype string
		flags                  uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"sysfs", "/sys", "sysfs", 0},
		{"tmpfs", "/run", "tmpfs", 0},
	} {
		if err := unix.Mount(mount.source, mount.target, mount.fstype, mount.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", mount.target, err)
		}
	}
	return nil
}

func bpffsMounted() bool {
	var stat unix.Statfs_t
	err := unix.Statfs(bpffs, &stat)
	return err == nil && stat.Type == unix.BPF_FS_MAGIC
}

func inLab(args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	output, err := exec.Command("ip", append([]string{"netns", "exec", "lab", self, asCommand}, args...)...).CombinedOutput()
	return string(output), err
}

func run(line string) (string, error) {
	words := strings.Fields(line)
	output, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", line, err, output)
	}
	return string(output), nil
}

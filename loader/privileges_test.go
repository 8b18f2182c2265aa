package loader_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/loader"
)

var capabilityNumbers = map[string]uintptr{
	"CAP_BPF":          unix.CAP_BPF,
	"CAP_PERFMON":      unix.CAP_PERFMON,
	"CAP_NET_ADMIN":    unix.CAP_NET_ADMIN,
	"CAP_SYS_ADMIN":    unix.CAP_SYS_ADMIN,
	"CAP_SYS_RESOURCE": unix.CAP_SYS_RESOURCE,
}

// with CAPABILITIES COMMAND ARGUMENT... runs another command as root with no other
// capabilities.
func withCapabilities(args []string) error {
	runtime.LockOSThread()
	var keep []uintptr
	for _, name := range strings.Fields(args[0]) {
		keep = append(keep, capabilityNumbers[name])
	}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if slices.Contains(keep, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL {
			return err
		}
	}
	return syscall.Exec("/proc/self/exe", append([]string{os.Args[0], asCommand}, args[1:]...), os.Environ())
}

// Of the capabilities that are made of it, CAP_SYS_ADMIN stands for each one.
// Otherwise all that are missing are named, and nothing else is.
func TestCapabilities(t *testing.T) {
	lab := newLab(t)
	wanted := []string{"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"}

	for subset := range 1 << (len(wanted) + 1) {
		var has, missing []string
		for i, name := range append(wanted, "CAP_SYS_ADMIN") {
			if subset&(1<<i) != 0 {
				has = append(has, name)
			} else if i < len(wanted) {
				missing = append(missing, name)
			}
		}
		onlyPerfmon := len(missing) == 1 && missing[0] == "CAP_PERFMON"
		isEnough := len(missing) == 0 || slices.Contains(has, "CAP_SYS_ADMIN")

		want := "error: needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; this process lacks " + enumerated(missing) + ": "
		if isEnough || onlyPerfmon {
			want = ""
		}
		lab.loadWith(has, ownProgram("typed"), want)
		if !isEnough && onlyPerfmon {
			want = "prohibited for !root: this process lacks CAP_PERFMON, without which the verifier allows less"
		}
		lab.loadWith(has, program("fields"), want)
	}
}

// loadWith loads an object with no other capabilities and expects a message, or
// that it is loaded if want is empty.
func (l *lab) loadWith(capabilities []string, object, want string) {
	l.Helper()

	bytes, err := command("with", strings.Join(capabilities, " "), "load", object, layoutFile("exact"), l.nic.Name).CombinedOutput()
	output := string(bytes)
	if err == nil {
		l.unload(l.nic.Name)
	}
	if (err == nil) != (want == "") || !strings.Contains(output, want) {
		l.Errorf("%s with %v: %v: %s\nlacks %q", object, capabilities, err, output, want)
	}
	for _, wrong := range []string{"CAP_SYS_ADMIN", "MEMLOCK", "not supported"} {
		if strings.Contains(output, wrong) {
			l.Errorf("%s with %v: %s\nspeaks of %s", object, capabilities, output, wrong)
		}
	}
}

// Where all of bpf(2) is forbidden, more capabilities would not help.
func TestForbidden(t *testing.T) {
	lab := newLab(t)
	output, err := command("with", "CAP_BPF CAP_PERFMON CAP_NET_ADMIN", "forbidden", "load", program("fields"), layoutFile("exact"), lab.nic.Name).CombinedOutput()
	if want := "operation not permitted: no capability is missing, so it is a seccomp filter, as containers have, or a security module\n"; err == nil || !strings.HasSuffix(string(output), want) {
		t.Errorf("%v: %s\nlacks %q", err, output, want)
	}
}

// forbidden COMMAND... runs where bpf(2) is forbidden, as in containers.
func forbidden(args []string) error {
	err := filterCalls([]unix.SockFilter{
		loadWord(numberAt), unless(unix.SYS_BPF, 1),
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return commands[args[0]](args[1:])
}

// enumerated returns "a, b and c".
func enumerated(names []string) string {
	if len(names) == 0 {
		return ""
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// A refusal for want of a capability is one for want of privileges, too.
func TestRefusedForPrivileges(t *testing.T) {
	lab := newLab(t)
	for _, test := range []struct {
		capabilities, program, layout string
		want                          string
	}{
		{"CAP_BPF CAP_NET_ADMIN", "fields", "exact", "true"},
		{"CAP_BPF CAP_NET_ADMIN CAP_PERFMON", "doubtful", "sparse", "false"},
		{"CAP_SYS_ADMIN", "doubtful", "sparse", "false"},
	} {
		output, err := command("with", test.capabilities, "refused-for-privileges",
			program(test.program), layoutFile(test.layout), lab.nic.Name).CombinedOutput()
		if err != nil || string(output) != test.want+"\n" {
			t.Errorf("%s with %s: %v: %s", test.program, test.capabilities, err, output)
		}
	}
}

// refused-for-privileges OBJECT LAYOUT INTERFACE
func refusedForPrivileges(args []string) error {
	err := load(args)
	var refusal *loader.RefusalError
	if !errors.As(err, &refusal) {
		return fmt.Errorf("not refused: %v", err)
	}
	fmt.Println(errors.Is(err, loader.ErrPrivileges))
	return nil
}

// Where there is no bpffs, it takes more to mount one.
func TestCapabilitiesToMount(t *testing.T) {
	newLab(t)
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount("/sys", 0)

	for capabilities, missing := range map[string]string{
		"CAP_BPF CAP_PERFMON CAP_NET_ADMIN": "CAP_SYS_PTRACE and CAP_SYS_ADMIN",
		"CAP_SYS_ADMIN":                     "CAP_SYS_PTRACE",
	} {
		output, err := command("with", capabilities, "load", program("fields"), layoutFile("exact"), "nic0").CombinedOutput()
		want := "error: needs root, or CAP_SYS_PTRACE and CAP_SYS_ADMIN; this process lacks " + missing + ": no bpffs on /sys/fs/bpf"
		if err == nil || !strings.HasPrefix(string(output), want) {
			t.Errorf("With %s: %v: %s\ndoes not start with %q", capabilities, err, output, want)
		}
	}
}

// In a user namespace of its own a process has all capabilities, for nothing.
func TestUserNamespace(t *testing.T) {
	lab := newLab(t)
	for _, object := range []string{program("fields"), ownProgram("typed")} {
		for name, size := range map[string]int{"rootless": 1, "all users": 1<<32 - 1} {
			cmd := command("load", object, layoutFile("exact"), lab.nic.Name)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  unix.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{Size: size}},
				GidMappings: []syscall.SysProcIDMap{{Size: size}},
			}
			output, err := cmd.CombinedOutput()
			want := "error: needs root in the initial user namespace: this process is in another one"
			if err == nil || !strings.HasPrefix(string(output), want) {
				t.Errorf("%s, %s: %v: %s\ndoes not start with %q", object, name, err, output, want)
			}
			if strings.Contains(string(output), "MEMLOCK") || strings.Contains(string(output), "not supported") {
				t.Errorf("%s, %s: %s", object, name, output)
			}
		}
	}
}

// Who is not let into the bpffs has nothing to do with BPF's capabilities.
func TestStatusOfOthers(t *testing.T) {
	lab := newLab(t)
	lab.load(program("fields"))
	defer lab.unload(lab.nic.Name)

	// Others may not execute the test where it is.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.CreateTemp("/run", "test")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(binary); err != nil {
		t.Fatal(err)
	}
	if err := file.Chmod(0o755); err != nil {
		t.Fatal(err)
	}
	file.Close()

	cmd := exec.Command(file.Name(), asCommand, "status")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	output, err := cmd.CombinedOutput()
	want := "error: needs root, or CAP_DAC_OVERRIDE; this process lacks CAP_DAC_OVERRIDE: open /sys/fs/bpf/xdp-load: permission denied"
	if err == nil || strings.TrimSpace(string(output)) != want {
		t.Errorf("%v: %q instead of %q", err, output, want)
	}
}

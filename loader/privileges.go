//go:build linux

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/rewrite"
)

// ErrPrivileges is wrapped by errors about what this process may not do, and by
// the refusal of a program of which the verifier wants to see more privileges.
var ErrPrivileges = errors.New("needs root")

// explainPermission says what this process lacks if that is why the kernel said
// no.
func explainPermission(err error) error {
	// EACCES is also how the verifier refuses a program.
	var refusal *RefusalError
	if !isPermission(err) || errors.As(err, &refusal) {
		return err
	}
	if !inInitialUserNamespace() {
		return fmt.Errorf("%w in the initial user namespace: this process is in another one, as in a rootless container or after unshare --user, and what it may do there does not count for BPF: %w",
			ErrPrivileges, withoutGuess{err})
	}
	if isMemlock(err) {
		return fmt.Errorf("%w, or CAP_SYS_RESOURCE, or a higher RLIMIT_MEMLOCK, which programs and maps count against before Linux 5.11: ulimit -l unlimited: %w",
			ErrPrivileges, withoutGuess{err})
	}
	needed := neededFor(err)
	if missing := effective().without(needed); len(missing) > 0 {
		return fmt.Errorf("%w, or %s; this process lacks %s: %w", ErrPrivileges, namesOf(needed), namesOf(missing), withoutGuess{err})
	}
	return fmt.Errorf("%w: no capability is missing, so it is a seccomp filter, as containers have, or a security module", withoutGuess{err})
}

// mayRead reports what this process lacks to load what is put in line to read what a
// driver keeps of a packet.
func (l *load) mayRead() error {
	missing := missingForVerifier()
	if !slices.Contains(missing, unix.CAP_PERFMON) || !l.readsDriver() || !inInitialUserNamespace() {
		return nil // of others explainPermission tells
	}
	needed := []capability{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN}
	return fmt.Errorf("%w, or %s; this process lacks %s: the kernel's memory, which has what driver %s keeps of a packet, is read with CAP_PERFMON only",
		ErrPrivileges, namesOf(needed), namesOf(effective().without(needed)), l.report.Driver)
}

// readsDriver reports whether a program reads what a driver keeps of a packet, rather than
// ask kfuncs for all of it.
func (l *load) readsDriver() bool {
	return l.report.Lowering != "" && slices.ContainsFunc(l.report.Edits, func(edit rewrite.Edit) bool { return edit.Driver != "" })
}

// ErrLockdown is wrapped by the error about a kernel that lets no program read its memory.
var ErrLockdown = errors.New("the kernel is locked down for confidentiality")

// checkLockdown reports a kernel that takes away bpf_probe_read_kernel, where nothing else
// reads what a driver keeps (LOCKDOWN_BPF_READ_KERNEL in include/linux/security.h).
func (l *load) checkLockdown(file string) error {
	if l.report.Lowering != string(accessor.Probe) || !l.readsDriver() || !isConfidential(file) {
		return nil
	}
	return fmt.Errorf("%w, so that no program may call bpf_probe_read_kernel, by which it would read what driver %s keeps of a packet: from Linux 6.5 on it is read by bpf_rdonly_cast, which stays; a layout of the metadata area needs neither",
		ErrLockdown, l.report.Driver)
}

// lockdownFile has the levels of lockdown, with the one that holds in brackets.
const lockdownFile = "/sys/kernel/security/lockdown"

func isConfidential(file string) bool {
	levels, err := os.ReadFile(file)
	return err == nil && strings.Contains(string(levels), "[confidentiality]")
}

// isPermission reports whether err may be for want of permission. Where
// cilium/ebpf tries whether the kernel has a feature, it takes EPERM for a no.
func isPermission(err error) bool {
	if errors.Is(err, ebpf.ErrNotSupported) {
		return !inInitialUserNamespace() || !effective()[unix.CAP_BPF]
	}
	return errors.Is(err, os.ErrPermission)
}

// capability is a number of capabilities(7).
type capability uint

var capabilityNames = map[capability]string{
	unix.CAP_BPF:          "CAP_BPF",
	unix.CAP_PERFMON:      "CAP_PERFMON",
	unix.CAP_NET_ADMIN:    "CAP_NET_ADMIN",
	unix.CAP_SYS_ADMIN:    "CAP_SYS_ADMIN",
	unix.CAP_SYS_PTRACE:   "CAP_SYS_PTRACE",
	unix.CAP_DAC_OVERRIDE: "CAP_DAC_OVERRIDE",
}

// neededFor returns what it takes to get further than err.
func neededFor(err error) []capability {
	var file *fs.PathError
	var message *netlink.OpError
	has := effective()
	switch {
	case errors.As(err, &message): // that attaches or detaches a program, which rtnetlink asks it for
		return []capability{unix.CAP_NET_ADMIN}
	case errors.As(err, &file) && strings.HasPrefix(file.Path, "/proc/"): // of another process
		return []capability{unix.CAP_SYS_PTRACE, unix.CAP_SYS_ADMIN}
	case errors.Is(err, unix.EACCES):
		return []capability{unix.CAP_DAC_OVERRIDE}
	case has[unix.CAP_BPF] && has[unix.CAP_NET_ADMIN] && isForbidden():
		return nil
	case has[unix.CAP_BPF] && has[unix.CAP_NET_ADMIN]:
		// Maps and programs ask for nothing else before the verifier sees
		// them (map_create, bpf_prog_load in kernel/bpf/syscall.c). So it is
		// mounting a bpffs, or opening a program by its ID.
		return []capability{unix.CAP_SYS_ADMIN}
	}
	return []capability{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN}
}

// isForbidden reports whether something forbids bpf(2) to who has the capabilities for it, as the
// filters of container runtimes do that know of CAP_SYS_ADMIN only. The kernel itself would call
// the command unknown.
func isForbidden() bool {
	const unknown = math.MaxInt32
	_, _, errno := unix.Syscall(unix.SYS_BPF, unknown, 0, 0)
	return errno == unix.EPERM
}

// missingForVerifier returns the capabilities without which the verifier allows
// less, as far as this process lacks them (bpf_check in kernel/bpf/verifier.c).
func missingForVerifier() []capability {
	return effective().without([]capability{unix.CAP_BPF, unix.CAP_PERFMON})
}

// capabilities is a set of them.
type capabilities map[capability]bool

// effective returns what this thread has. CAP_SYS_ADMIN stands for the
// capabilities that were made of it.
func effective() capabilities {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	has := make(capabilities)
	for c := range capabilityNames {
		has[c] = err != nil || sets[c/32].Effective&(1<<(c%32)) != 0
	}
	for _, part := range []capability{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN} {
		has[part] = has[part] || has[unix.CAP_SYS_ADMIN]
	}
	return has
}

// without returns those that the set lacks.
func (has capabilities) without(wanted []capability) []capability {
	var missing []capability
	for _, c := range wanted {
		if !has[c] {
			missing = append(missing, c)
		}
	}
	return missing
}

// namesOf returns "CAP_A, CAP_B and CAP_C".
func namesOf(capabilities []capability) string {
	var names []string
	for _, c := range capabilities {
		names = append(names, capabilityNames[c])
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// initialUserNamespace is the inode number of the user namespace that the kernel
// asks about what it calls capable(): USER_NS_INIT_INO in
// include/uapi/linux/nsfs.h, and the same before it was named there. Its
// uid_map is no proof, others can have the same.
const initialUserNamespace = 0xeffffffd

func inInitialUserNamespace() bool {
	info, err := os.Stat("/proc/self/ns/user")
	if err != nil {
		return true // no /proc, or a kernel without user namespaces
	}
	return info.Sys().(*syscall.Stat_t).Ino == initialUserNamespace
}

// isMemlock reports whether err is about RLIMIT_MEMLOCK, which a process with
// CAP_SYS_RESOURCE has lifted before. The kernel says no to those who may load
// nothing at all in the same way.
func isMemlock(err error) bool {
	var limit unix.Rlimit
	has := effective()
	return has[unix.CAP_BPF] && has[unix.CAP_NET_ADMIN] && strings.Contains(err.Error(), "MEMLOCK") &&
		unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur != unix.RLIM_INFINITY && countsLockedMemory()
}

// liftMemlock lifts RLIMIT_MEMLOCK where maps and programs count against it. explainPermission
// tells of a limit that could not be lifted. The package rlimit of cilium/ebpf does the same,
// but finds out by a map, at the start of each process, whether it loads anything or not.
func liftMemlock() {
	if countsLockedMemory() {
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	}
}

// countsLockedMemory reports whether the kernel counts the memory of maps and
// programs as locked by their user, as it did before Linux 5.11.
func countsLockedMemory() bool {
	var name unix.Utsname
	var major, minor int
	if err := unix.Uname(&name); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < 5 || major == 5 && minor < 11
}

// withoutGuess is an error of cilium/ebpf without what it takes for the reason: any
// EPERM may be for RLIMIT_MEMLOCK to it, or for a kernel that is too old.
type withoutGuess struct{ error }

var guess = pattern(` \(MEMLOCK may be too low, consider rlimit.RemoveMemlock\)|: [^:]* not supported( \(requires >= [^)]*\))?$`)

func (e withoutGuess) Error() string { return guess().ReplaceAllString(e.error.Error(), "") }
func (e withoutGuess) Unwrap() error { return e.error }

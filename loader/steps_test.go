package loader_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// steps are the system calls by which a command changes something outside of itself, or asks
// the kernel for memory. At each of them it can be stopped.
var steps = map[int]string{
	unix.SYS_BPF:        "bpf",
	unix.SYS_FLOCK:      "flock",
	unix.SYS_FSCONFIG:   "fsconfig",
	unix.SYS_FSMOUNT:    "fsmount",
	unix.SYS_FSOPEN:     "fsopen",
	unix.SYS_MKDIRAT:    "mkdirat",
	unix.SYS_MOVE_MOUNT: "move_mount",
	unix.SYS_RENAMEAT:   "renameat",
	unix.SYS_SENDMSG:    "sendmsg",
	unix.SYS_SYMLINKAT:  "symlinkat",
	unix.SYS_UNLINKAT:   "unlinkat",
}

// steppedRun is a command that was stopped at a step.
type steppedRun struct {
	at     string // the step, empty if there are not so many
	output string
	failed bool
}

// runStepped runs this test binary as a command up to its nth step, counted from 1. There it is
// killed, or, if errno is not 0, the step fails. If it has fewer, it runs as it is.
func (l *lab) runStepped(n int, errno unix.Errno, args ...string) steppedRun {
	l.Helper()

	cmd := command(append([]string{"stepped"}, args...)...)
	number, numberOut, err := os.Pipe()
	if err != nil {
		l.Fatal(err)
	}
	goAheadIn, goAhead, err := os.Pipe()
	if err != nil {
		l.Fatal(err)
	}
	var output bytes.Buffer
	cmd.ExtraFiles = []*os.File{numberOut, goAheadIn}
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	numberOut.Close()
	goAheadIn.Close()
	listener, err := takeListener(cmd.Process.Pid, number)
	number.Close()
	goAhead.Close()
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		l.Fatalf("%v: %s", err, &output)
	}
	at, err := superviseSteps(listener, n, errno, cmd.Process)
	unix.Close(listener)
	if err != nil {
		l.Error(err)
	}
	err = cmd.Wait()
	return steppedRun{at, output.String(), err != nil}
}

// takeListener takes the file descriptor from a process whose number that says.
func takeListener(pid int, number io.Reader) (int, error) {
	text, err := io.ReadAll(number)
	if err != nil {
		return 0, err
	}
	theirs, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(process)
	return unix.PidfdGetfd(process, theirs, 0)
}

// seccompData, seccompNotif and seccompResponse are as in include/uapi/linux/seccomp.h.
type seccompData struct {
	nr   int32
	arch uint32
	ip   uint64
	args [6]uint64
}

type seccompNotif struct {
	id    uint64
	pid   uint32
	flags uint32
	data  seccompData
}

type seccompResponse struct {
	id    uint64
	val   int64
	error int32
	flags uint32
}

// superviseSteps lets a process take its steps until there are no more, but for the nth. It
// returns what that was.
func superviseSteps(listener, n int, errno unix.Errno, process *os.Process) (at string, err error) {
	for count := 0; ; {
		polled := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(polled, -1); err != nil && err != unix.EINTR {
			return at, err
		}
		if polled[0].Revents&unix.POLLIN == 0 {
			if polled[0].Revents&unix.POLLHUP != 0 {
				return at, nil
			}
			continue
		}
		var step seccompNotif
		if err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&step)); err != nil {
			continue // the process has gone on, or is gone
		}
		response := seccompResponse{id: step.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if count++; count == n {
			at = fmt.Sprintf("step %d, %s(%#x)", n, steps[int(step.data.nr)], step.data.args[0])
			if errno == 0 {
				process.Kill()
				continue
			}
			response = seccompResponse{id: step.id, error: -int32(errno)}
		}
		_ = ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&response))
	}
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// stepped COMMAND ARGUMENT... runs another command with somebody asked about each of its
// steps: who reads from the file descriptor 3 which one to listen on, and lets it start by
// closing the other end of 4.
func runSteppedCommand(args []string) error {
	runtime.LockOSThread()
	listener, err := filterSteps()
	if err != nil {
		return err
	}
	number, goAhead := os.NewFile(3, "number"), os.NewFile(4, "go ahead")
	if _, err := number.WriteString(strconv.Itoa(listener)); err != nil {
		return err
	}
	number.Close()
	if _, err := io.ReadAll(goAhead); err != nil {
		return err
	}
	goAhead.Close()
	return syscall.Exec("/proc/self/exe", append([]string{os.Args[0], asCommand}, args...), os.Environ())
}

// filterSteps has somebody asked about the steps of the calling thread, and of what it
// executes.
func filterSteps() (listener int, err error) {
	const number = 0 // offset in struct seccomp_data
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number}}
	for nr := range steps {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// The Go runtime's signals must not have a step begin anew.
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, fmt.Errorf("seccomp: %w", errno)
	}
	return int(fd), nil
}

// operation is something that xdp-load does to an interface.
type operation struct {
	args     []string // of the command
	replaces bool     // needs a program that is there
	attaches bool     // leaves one there
}

func operations(object string) map[string]operation {
	return map[string]operation{
		"load":    {[]string{"load", object, layoutFile("exact"), "nic0"}, false, true},
		"replace": {[]string{"replace", object, layoutFile("sparse"), "nic0"}, true, true},
		"reload":  {[]string{"reload", "nic0", layoutFile("sparse")}, true, true},
		"unload":  {[]string{"unload", "nic0"}, true, false},
	}
}

// steppedErrors are how a step fails: no memory, no room, no permission.
var steppedErrors = []unix.Errno{unix.ENOMEM, unix.ENOSPC, unix.EPERM}

// failedSteps are messages that take a step to fail.
var failedSteps = map[string][]string{
	"load":    {"map jump: put program first_called into slot 0: "},
	"replace": {"nic0: the program to be replaced, id "},
	"reload":  {"nic0: the program to be replaced, id "},
}

// Whatever fails of an operation, it is said in one error, what was attached before stays, and
// nothing is left behind. What does not matter may fail without a word. The next one works.
func TestEveryStepFails(t *testing.T) {
	netlab.Need(t, netlab.KillableNotifications)
	for name, operation := range operations(ownProgram("calls_pinned")) {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			if operation.replaces {
				lab.load(ownProgram("calls_pinned"))
			}
			var said strings.Builder
			for n := 1; ; n++ {
				errno := steppedErrors[n%len(steppedErrors)]
				before, pinned := lab.attached(), slices.DeleteFunc(lab.pins(), isEmptyDirectory)
				run := lab.runStepped(n, errno, operation.args...)
				if run.at == "" {
					break
				}
				t.Logf("%s: %v: %t %s", run.at, errno, run.failed, run.output)
				said.WriteString(run.output)
				if !run.failed {
					lab.wantDone(run, operation)
					lab.restore(operation)
					continue
				}
				if !strings.HasPrefix(run.output, "error: ") || strings.Contains(run.output, "goroutine ") {
					t.Errorf("%s: %v: it says %q", run.at, errno, run.output)
				}
				if now := lab.attached(); now != before {
					t.Errorf("%s: %v: attached was %d, is %d", run.at, errno, before, now)
				}
				// An empty directory is no pin: the next look takes it away.
				if now := slices.DeleteFunc(lab.pins(), isEmptyDirectory); strings.Join(now, "\n") != strings.Join(pinned, "\n") {
					t.Errorf("%s: %v: pinned were\n%s\nare\n%s", run.at, errno, strings.Join(pinned, "\n"), strings.Join(now, "\n"))
				}
			}
			lab.wantDone(steppedRun{at: "after all"}, operation)
			for _, want := range failedSteps[name] {
				if !strings.Contains(said.String(), want) {
					t.Errorf("Nothing that failed says %q", want)
				}
			}
			if operation.attaches {
				lab.unload("nic0")
			}
			remove(t, bpffs+"/jump")
		})
	}
}

// How often each step is killed: five times makes more than a thousand.
var killRounds = flag.Int("steps.rounds", 1, "how often each step of each operation is killed")

// Killed at whatever step, an operation has happened or it hasn't: nothing is left behind once
// somebody looks, nobody else's packet goes unseen, and the next run works, looked at or not.
func TestKilledAtEveryStep(t *testing.T) {
	netlab.Need(t, netlab.KillableNotifications)
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	for name, operation := range operations(ownProgram("counted")) {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			busy := lab.nic
			if !operation.replaces || !operation.attaches {
				busy = lab.addBusy() // without a program there are no packets
			}
			if operation.replaces {
				lab.load(ownProgram("counted"))
			}
			traffic := startTraffic(busy, cafe())
			kills := 0
			for range *killRounds {
				kills += lab.killAtEachStep(operation)
			}
			wantAllCounted(t, traffic.end(t))
			t.Logf("killed %d times", kills)
			if output, err := command(operation.args...).CombinedOutput(); err != nil {
				t.Errorf("After all: %v: %s", err, output)
			}
			if _, _, err := loader.UnloadAll(); err != nil {
				t.Error(err)
			}
			remove(t, bpffs+"/counts")
		})
	}
}

// addBusy adds a NIC with a program of counted.c.
func (l *lab) addBusy() *netlab.NIC {
	l.Helper()

	busy, err := l.ns.AddNIC("busy")
	if err != nil {
		l.Fatal(err)
	}
	l.loadByCommand(ownProgram("counted"), "exact", "busy")
	return busy
}

// killAtEachStep kills an operation at one step after the other, and returns how often.
func (l *lab) killAtEachStep(operation operation) (kills int) {
	l.Helper()

	for n := 1; ; n++ {
		run := l.runStepped(n, 0, operation.args...)
		if run.at == "" {
			if run.failed {
				l.Errorf("Not killed: %s", run.output)
			}
			l.ready(operation)
			return kills
		}
		kills++
		if operation.attaches && operation.replaces && n%2 == 0 {
			continue
		}
		l.wantNothingStray(run.at)
		l.ready(operation)
	}
}

// ready makes nic0 ready for the operation again, whether it was done or not.
func (l *lab) ready(operation operation) {
	l.Helper()

	if isThere := l.attached() != 0; isThere == operation.replaces {
		return
	}
	if operation.replaces {
		l.load(ownProgram("counted"))
	} else {
		l.unload("nic0")
	}
}

// wantNothingStray wants nothing to be pinned but what belongs to what is attached.
func (l *lab) wantNothingStray(after string) {
	l.Helper()

	belongs := []string{bpffs + "/counts"}
	for _, a := range l.status() {
		belongs = append(belongs, a.Pin, programPins(a), mapPins(a), fmt.Sprintf("%s/record-%d", pinDir, a.ProgramID))
	}
	for _, pin := range l.pins() {
		isOf := func(path string) bool { return pin == path || strings.HasPrefix(pin, path+"/") }
		if pin != pinDir && !slices.ContainsFunc(belongs, isOf) {
			l.Errorf("%s: %s is left", after, pin)
		}
	}
}

func isEmptyDirectory(path string) bool {
	files, err := os.ReadDir(path)
	return err == nil && len(files) == 0
}

// wantDone wants an operation to have done what it is for.
func (l *lab) wantDone(run steppedRun, operation operation) {
	l.Helper()

	got := l.status() // sweeps
	if len(got) == 1 != operation.attaches {
		l.Fatalf("%s: status %+v, though it says that it is done: %s", run.at, got, run.output)
	}
	if operation.attaches {
		l.wantPinsOf(got[0])
	} else if pins := l.pins(); strings.Join(pins, "") != bpffs+"/jump" {
		l.Errorf("%s: pinned are %v", run.at, pins)
	}
}

// restore makes nic0 ready for the operation again.
func (l *lab) restore(operation operation) {
	l.Helper()

	switch {
	case !operation.attaches:
		l.load(ownProgram("calls_pinned"))
	case !operation.replaces:
		l.unload("nic0")
		remove(l.T, bpffs+"/jump")
	}
}

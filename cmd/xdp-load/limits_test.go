package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/internal/performance"
)

// buildCommand builds the command as make build does, under a name of eight characters.
func buildCommand(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("x%07d", os.Getpid()%1e7))
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	return path
}

// initialised is how Go tells of a package's initialisation with GODEBUG=inittrace=1.
var initialised = regexp.MustCompile(`(?m)^init \S+ .* (\d+) bytes, (\d+) allocs$`)

// A process that does nothing allocates little: what packages set up at their start, each
// command pays for.
func TestStartLimits(t *testing.T) {
	netlab.NeedTools(t, "go")
	start := exec.Command(buildCommand(t), "--version")
	start.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := start.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	packages := initialised.FindAllSubmatch(out, -1)
	if len(packages) < 10 {
		t.Fatalf("%d packages are initialised: %s", len(packages), out)
	}
	var bytes, allocations float64
	for _, p := range packages {
		of := func(group int) float64 {
			n, err := strconv.ParseFloat(string(p[group]), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		bytes, allocations = bytes+of(1), allocations+of(2)
	}
	performance.Limit(t, "start/allocations", allocations)
	performance.Limit(t, "start/bytes", bytes)
}

// Loading asks the kernel for little more than it takes, and so does unloading.
func TestLoadLimits(t *testing.T) {
	netlab.NeedRoot(t)
	netlab.NeedTools(t, "go")
	command := buildCommand(t)
	ns := netlab.Enter(t)
	if _, err := ns.AddNIC("nic0"); err != nil {
		t.Fatal(err)
	}
	calls := countCalls(t, filepath.Base(command), unix.SYS_BPF)
	run := func(args ...string) float64 {
		t.Helper()
		before := calls()
		cmd := exec.Command(command, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
		return float64(calls() - before)
	}
	loading := run("--iface", "nic0", "--layout", "../../bpf/examples/nic_a-el.o", "../../bpf/examples/balance-el.o")
	unloading := run("unload", "nic0")
	if loading == 0 || unloading == 0 {
		t.Fatalf("%v calls to load, %v to unload: they were not counted", loading, unloading)
	}
	performance.Limit(t, "load/bpf", loading)
	performance.Limit(t, "unload/bpf", unloading)
}

// countCalls counts a system call of the threads with a name of eight characters. It returns
// what says how many there were.
func countCalls(t *testing.T, name string, call int32) func() uint64 {
	t.Helper()
	counter, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { counter.Close() })
	const comm = -16
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.RawTracepoint, License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R6, asm.R1, 8, asm.DWord), // of the arguments of sys_enter, the number
			asm.JNE.Imm(asm.R6, call, "out"),
			asm.Mov.Reg(asm.R1, asm.RFP),
			asm.Add.Imm(asm.R1, comm),
			asm.Mov.Imm(asm.R2, 16),
			asm.FnGetCurrentComm.Call(),
			asm.LoadMem(asm.R1, asm.RFP, comm, asm.DWord),
			asm.LoadImm(asm.R2, int64(binary.NativeEndian.Uint64([]byte(name))), asm.DWord),
			asm.JNE.Reg(asm.R1, asm.R2, "out"),
			asm.StoreImm(asm.RFP, comm, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, counter.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, comm),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { program.Close() })
	attached, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: program})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { attached.Close() })
	return func() (count uint64) {
		t.Helper()
		if err := counter.Lookup(uint32(0), &count); err != nil {
			t.Fatal(err)
		}
		return count
	}
}

package memlab

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// Functions are BPF functions in the kernel, which a test calls with numbers.
type Functions struct {
	tb      testing.TB
	program *ebpf.Program
	frame   *Memory
	number  int
}

// What is where in the frame of functions.
const (
	frameOwn = 8 * iota // the frame's address
	frameArgument1
	frameArgument2
	frameResults // of each function
)

// Load loads functions: instructions that take numbers in r1 and r2, end in exits, and
// leave a number in r0. They may call kfuncs by ID. They are unloaded when the test ends.
func Load(tb testing.TB, functions ...asm.Instructions) *Functions {
	tb.Helper()
	netlab.NeedRoot(tb)
	f, err := load(tb, functions)
	if err != nil {
		tb.Fatalf("load functions: %+v", err)
	}
	return f
}

func load(tb testing.TB, functions []asm.Instructions) (*Functions, error) {
	frame, err := newMemory(tb, frameResults+8*len(functions))
	if err != nil {
		return nil, err
	}
	program, err := newProgram(callEach(frame.values, functions))
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { program.Close() })
	return &Functions{tb, program, frame, len(functions)}, nil
}

// callEach returns a program that calls each function with the arguments of a frame.
func callEach(frame *ebpf.Map, functions []asm.Instructions) asm.Instructions {
	insns := asm.Instructions{asm.LoadMapValue(asm.R6, frame.FD(), 0)}
	for i := range functions {
		insns = append(insns,
			asm.LoadMem(asm.R1, asm.R6, frameArgument1, asm.DWord),
			asm.LoadMem(asm.R2, asm.R6, frameArgument2, asm.DWord),
			asm.Call.Label(fmt.Sprint("function", i)),
			asm.StoreMem(asm.R6, int16(frameResults+8*i), asm.R0, asm.DWord),
		)
	}
	insns = append(insns, asm.Mov.Imm(asm.R0, xdpPass), asm.Return())
	for i, function := range functions {
		insns = append(insns, function[0].WithSymbol(fmt.Sprint("function", i)))
		insns = append(insns, function[1:]...)
	}
	return insns
}

const xdpPass = 2

// Call calls the functions, and returns what each returns.
func (f *Functions) Call(a, b uint64) []uint64 {
	f.tb.Helper()
	f.frame.Store(f.frame.start+frameArgument1, 8, a)
	f.frame.Store(f.frame.start+frameArgument2, 8, b)
	action, err := f.program.Run(&ebpf.RunOptions{Data: packet})
	if err != nil || action != xdpPass {
		f.tb.Fatalf("run functions: action %d, %v", action, err)
	}
	results := make([]uint64, f.number)
	for i := range results {
		results[i] = f.frame.Load(f.frame.start+frameResults+uint64(8*i), 8)
	}
	return results
}

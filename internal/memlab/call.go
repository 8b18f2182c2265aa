package memlab

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// Function is a BPF function in the kernel, which a test calls with numbers.
type Function struct {
	tb      testing.TB
	program *ebpf.Program
	frame   *Memory
}

// What is where in a function's frame.
const (
	frameOwn = 8 * iota // the frame's address
	frameArgument1
	frameArgument2
	frameResult
	frameSize
)

// Load loads a function: instructions that take numbers in r1 and r2, end in exits, and
// leave a number in r0. They may call kfuncs by ID. It is unloaded when the test ends.
func Load(tb testing.TB, insns asm.Instructions) *Function {
	tb.Helper()
	netlab.NeedRoot(tb)
	f, err := load(tb, insns)
	if err != nil {
		tb.Fatalf("load function: %+v", err)
	}
	return f
}

func load(tb testing.TB, insns asm.Instructions) (*Function, error) {
	frame, err := newMemory(tb, frameSize)
	if err != nil {
		return nil, err
	}
	caller := asm.Instructions{
		asm.LoadMapValue(asm.R6, frame.values.FD(), 0),
		asm.LoadMem(asm.R1, asm.R6, frameArgument1, asm.DWord),
		asm.LoadMem(asm.R2, asm.R6, frameArgument2, asm.DWord),
		asm.Call.Label("function"),
		asm.StoreMem(asm.R6, frameResult, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R0, xdpPass),
		asm.Return(),
	}
	insns = append(asm.Instructions{}, insns...)
	insns[0] = insns[0].WithSymbol("function")
	program, err := newProgram(append(caller, insns...))
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { program.Close() })
	return &Function{tb, program, frame}, nil
}

const xdpPass = 2

// Call calls the function and returns what it returns.
func (f *Function) Call(a, b uint64) uint64 {
	f.tb.Helper()
	f.frame.Store(f.frame.start+frameArgument1, 8, a)
	f.frame.Store(f.frame.start+frameArgument2, 8, b)
	action, err := f.program.Run(&ebpf.RunOptions{Data: packet})
	if err != nil || action != xdpPass {
		f.tb.Fatalf("run function: action %d, %v", action, err)
	}
	return f.frame.Load(f.frame.start+frameResult, 8)
}

package netlab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// SmallMetadata is the largest metadata area, in bytes, that kernels without
// LargeMetadata have.
const SmallMetadata = 32

// Outcome is what a program leaves.
type Outcome struct {
	Action   uint32
	Metadata []byte
	Packet   []byte
}

// Run runs an XDP program by bpf_prog_test_run on a packet with a metadata area
// in front of it. A kernel without RunContext leaves the area to another program,
// which calls the one to run.
func Run(program *ebpf.Program, metadata, packet []byte) (*Outcome, error) {
	if Has(RunContext) {
		return runWithContext(program, metadata, packet)
	}
	return runByCaller(program, metadata, packet)
}

func runWithContext(program *ebpf.Program, metadata, packet []byte) (*Outcome, error) {
	var after xdpMD
	run := ebpf.RunOptions{
		Data:       append(bytes.Clone(metadata), packet...),
		DataOut:    make([]byte, MaxMetadata+len(packet)),
		Context:    xdpMD{Data: uint32(len(metadata)), DataEnd: uint32(len(metadata) + len(packet))},
		ContextOut: &after,
	}
	action, err := program.Run(&run)
	if err != nil {
		return nil, err
	}
	length := after.Data - after.DataMeta
	return &Outcome{action, run.DataOut[:length], run.DataOut[length:]}, nil
}

// runByCaller has another program make the metadata area, call the program, and
// keep what it leaves there.
func runByCaller(program *ebpf.Program, metadata, packet []byte) (*Outcome, error) {
	c, err := theCaller()
	if err != nil {
		return nil, fmt.Errorf("make caller: %w", err)
	}
	c.Lock()
	defer c.Unlock()

	if err := c.called.Put(uint32(0), program); err != nil {
		return nil, err
	}
	defer c.called.Delete(uint32(0))
	area := make([]byte, callerArea)
	binary.NativeEndian.PutUint32(area, uint32(len(metadata)))
	copy(area[4:], metadata)
	if err := c.area.Put(uint32(0), area); err != nil {
		return nil, err
	}

	run := ebpf.RunOptions{Data: packet, DataOut: make([]byte, SmallMetadata+len(packet))}
	action, err := c.run(&run)
	if err != nil {
		return nil, err
	}
	if err := c.area.Lookup(uint32(0), &area); err != nil {
		return nil, err
	}
	length := binary.NativeEndian.Uint32(area)
	// Later kernels return the metadata, too.
	return &Outcome{action, area[4:][:length], run.DataOut[len(run.DataOut)-len(packet):]}, nil
}

// callerArea is the size of struct { __u32 length; __u8 metadata[]; }.
const callerArea = 4 + SmallMetadata

// caller is an XDP program that calls another.
type caller struct {
	sync.Mutex
	area   *ebpf.Map // one element, the metadata area before and after
	called *ebpf.Map // one element, the other program
	prog   *ebpf.Program
}

var theCaller = sync.OnceValues(newCaller)

func newCaller() (*caller, error) {
	area, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: callerArea, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	called, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	c := &caller{area: area, called: called}
	c.prog, err = newXDP(0, c.instructions()...)
	return c, err
}

// run runs the caller and returns the action of the program that it calls.
func (c *caller) run(run *ebpf.RunOptions) (action uint32, err error) {
	err = undisturbed(func() error {
		action, err = c.prog.Run(run)
		return err
	})
	if err == nil && action == callerFailed {
		err = errors.New("the program was not called")
	}
	return action, err
}

// callerFailed is the action of a caller that has called nothing.
const callerFailed = 1<<32 - 1

// undisturbed calls fn without the signals by which Go's runtime interrupts
// goroutines. Kernels before 5.12 have bpf_prog_test_run return nothing if one
// comes, and cilium/ebpf takes that for success.
func undisturbed(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var urgent, before unix.Sigset_t
	urgent.Val[0] = 1 << (unix.SIGURG - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &urgent, &before); err != nil {
		return err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	return fn()
}

// instructions returns the caller. A tail call does not return to who makes it,
// but to the caller of the function that it is made in.
func (c *caller) instructions() asm.Instructions {
	insns := asm.Instructions{
		function("caller", asm.Mov.Reg(asm.R6, asm.R1)),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, c.area.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "failed"),
		asm.Mov.Reg(asm.R7, asm.R0),

		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMem(asm.R3, asm.R7, 0, asm.Word),
		asm.Mov.Imm(asm.R2, 0),
		asm.Sub.Reg(asm.R2, asm.R3),
		asm.FnXdpAdjustMeta.Call(),
		asm.JNE.Imm(asm.R0, 0, "failed"),
	}
	insns = append(insns, c.eachWord("filled",
		asm.LoadMem(asm.R5, asm.R7, 4, asm.Word), asm.StoreMem(asm.R2, 0, asm.R5, asm.Word))...)
	insns = append(insns,
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("filled"),
		asm.Call.Label("call"),
		asm.Mov.Reg(asm.R8, asm.R0),
	)
	insns = append(insns, c.eachWord("kept",
		asm.LoadMem(asm.R5, asm.R2, 0, asm.Word), asm.StoreMem(asm.R7, 4, asm.R5, asm.Word))...)
	return append(insns,
		asm.Sub.Reg(asm.R3, asm.R2).WithSymbol("kept"),
		asm.StoreMem(asm.R7, 0, asm.R3, asm.Word),
		asm.Mov.Reg(asm.R0, asm.R8),
		asm.Return(),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("failed"),
		asm.Return(),

		function("call", asm.LoadMapPtr(asm.R2, c.called.FD())),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, -1),
		asm.Return(),
	)
}

// function makes an instruction the first one of a function that takes the
// context. The verifier wants to know of functions that make tail calls.
func function(name string, first asm.Instruction) asm.Instruction {
	return btf.WithFuncMetadata(first.WithSymbol(name), &btf.Func{
		Name: name,
		Type: &btf.FuncProto{
			Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed},
			Params: []btf.FuncParam{{Name: "ctx", Type: &btf.Pointer{Target: &btf.Void{}}}},
		},
	})
}

// eachWord returns code that moves each word of the metadata area by a load and
// a store, given for the first, and then jumps to done. The area is from r2 to r3.
func (c *caller) eachWord(done string, load, store asm.Instruction) asm.Instructions {
	insns := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R6, xdpDataMeta, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, xdpData, asm.Word),
	}
	for offset := int16(0); offset < SmallMetadata; offset += 4 {
		load, store := load, store
		load.Offset += offset
		store.Offset += offset
		insns = append(insns,
			asm.Mov.Reg(asm.R4, asm.R2),
			asm.Add.Imm(asm.R4, int32(offset)+4),
			asm.JGT.Reg(asm.R4, asm.R3, done),
			load,
			store,
		)
	}
	return insns
}

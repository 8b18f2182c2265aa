package netlab_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/netlab"
)

// A program finds the metadata area before the packet, and what it makes of both
// comes back.
func TestRun(t *testing.T) {
	netlab.NeedRoot(t)
	program := appendLength(t)
	for name, run := range map[string]func(*ebpf.Program, []byte, []byte) (*netlab.Outcome, error){
		"with context": netlab.RunWithContext,
		"by caller":    netlab.RunByCaller,
	} {
		t.Run(name, func(t *testing.T) {
			if name == "with context" {
				netlab.Need(t, netlab.RunContext)
			} else {
				netlab.Need(t, netlab.FunctionTailCalls)
			}
			for _, length := range []int{0, 4, 16, netlab.SmallMetadata - 4} {
				metadata := bytes.Repeat([]byte{0xab}, length)
				packet := bytes.Repeat([]byte{0xee}, 61)
				got, err := run(program, metadata, packet)
				if err != nil {
					t.Fatal(err)
				}
				want := &netlab.Outcome{
					Action:   uint32(length),
					Metadata: append(binary.NativeEndian.AppendUint32(nil, uint32(length)), metadata...),
					Packet:   packet,
				}
				if got.Action != want.Action || !bytes.Equal(got.Metadata, want.Metadata) || !bytes.Equal(got.Packet, want.Packet) {
					t.Errorf("%d bytes: %+v instead of %+v", length, got, want)
				}
			}
		})
	}
}

// appendLength loads a program that returns the length of the metadata area, and
// writes it to four more bytes in front of it.
func appendLength(t *testing.T) *ebpf.Program {
	t.Helper()

	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.XDP,
		License: "MIT",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadMem(asm.R7, asm.R6, 0, asm.Word), // data
			asm.LoadMem(asm.R2, asm.R6, 8, asm.Word), // data_meta
			asm.Sub.Reg(asm.R7, asm.R2),
			asm.Mov.Imm(asm.R2, -4),
			asm.FnXdpAdjustMeta.Call(),
			asm.LoadMem(asm.R2, asm.R6, 8, asm.Word),
			asm.LoadMem(asm.R3, asm.R6, 0, asm.Word),
			asm.Mov.Reg(asm.R4, asm.R2),
			asm.Add.Imm(asm.R4, 4),
			asm.JGT.Reg(asm.R4, asm.R3, "end"),
			asm.StoreMem(asm.R2, 0, asm.R7, asm.Word),
			asm.Mov.Reg(asm.R0, asm.R7).WithSymbol("end"),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return program
}

package memlab_test

import (
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/memlab"
)

// read is a function that reads 8 bytes at the sum of its arguments, and adds 1.
var read = asm.Instructions{
	asm.Mov.Reg(asm.R3, asm.R1),
	asm.Add.Reg(asm.R3, asm.R2),
	asm.Mov.Reg(asm.R1, asm.RFP),
	asm.Add.Imm(asm.R1, -8),
	asm.Mov.Imm(asm.R2, 8),
	asm.FnProbeReadKernel.Call(),
	asm.LoadMem(asm.R0, asm.RFP, -8, asm.DWord),
	asm.Add.Imm(asm.R0, 1),
	asm.Return(),
}

// What is written here is what a program reads at that address of the kernel.
func TestMemory(t *testing.T) {
	memory, fn := memlab.New(t, 4096), memlab.Load(t, read)

	memory.Clear(rand.New(rand.NewPCG(1, 2)))
	address := memory.Take(100)
	memory.Store(address+16, 8, 0x1122334455667788)
	if got := fn.Call(address, 16)[0]; got != 0x1122334455667789 {
		t.Errorf("read %#x", got)
	}
	if again := memory.Take(8); again != address+128 {
		t.Errorf("what is taken next is at +%d", again-address)
	}
}

func TestWild(t *testing.T) {
	fn := memlab.Load(t, read)
	for _, address := range memlab.Wild {
		if got := fn.Call(address, 0)[0]; got != 1 {
			t.Errorf("%#x: read %#x", address, got-1)
		}
	}
}

func TestStruct(t *testing.T) {
	u8, u32 := &btf.Int{Name: "u8", Size: 1}, &btf.Int{Name: "u32", Size: 4}
	flags := &btf.Struct{Size: 1, Members: []btf.Member{
		{Name: "low", Type: u8, BitfieldSize: 3},
		{Name: "high", Type: u8, Offset: 3, BitfieldSize: 5},
	}}
	outer := &btf.Struct{Name: "outer", Size: 16, Members: []btf.Member{
		{Name: "first", Type: u32},
		{Type: flags, Offset: 64},
		{Name: "pointer", Type: &btf.Pointer{Target: &btf.Void{}}, Offset: 128},
	}}
	outer.Size = 24
	types := typesOf(t, outer)

	memory := memlab.New(t, 4096)
	s := memory.Place(types, "outer", 8)
	for path, number := range map[string]uint64{"first": 0xfedcba98, "low": 5, "high": 17, "pointer": s.Address} {
		s.Set(path, number)
	}
	for path, number := range map[string]uint64{"first": 0xfedcba98, "low": 5, "high": 17, "pointer": s.Address} {
		if got := s.Get(path); got != number {
			t.Errorf("%s is %#x, not %#x", path, got, number)
		}
	}
	if s.Offset("high") != 8 || s.At("pointer") != s.Address+16 || s.Has("middle") {
		t.Error("members are not where they should be")
	}
	if got := memory.Struct(types, "outer", 0).Get("high"); got != 0 {
		t.Errorf("at NULL there is %#x", got)
	}
}

func typesOf(t *testing.T, types ...btf.Type) *memlab.Types {
	t.Helper()
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := builder.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	read, err := memlab.ReadTypes(raw)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

package accessor_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/accessor"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/rewrite"
)

// In both byte orders, and with what a call is said to clobber clobbered, lowered code
// reads what is in memory.
func TestByteOrders(t *testing.T) {
	for target, order := range map[string]binary.ByteOrder{"bpfel": binary.LittleEndian, "bpfeb": binary.BigEndian} {
		obj, err := elfobj.Parse(compile(t, "19-v3", target, include("offline.c")))
		if err != nil {
			t.Fatal(err)
		}
		kernel := newKernel(t, obj.Section(".BTF").Data)
		for _, variant := range variants {
			file := readFile(t, compile(t, variant, target, include("nic.c")))
			for _, lowering := range lowerings {
				t.Run(target+"/"+variant+"/"+string(lowering), func(t *testing.T) {
					accessors, err := file.Resolve(kernel, accessor.Options{Lowering: lowering})
					if err != nil {
						t.Fatal(err)
					}
					checkInterpreted(t, accessors, order)
				})
			}
		}
	}
}

func checkInterpreted(t *testing.T, accessors *rewrite.Accessors, order binary.ByteOrder) {
	t.Helper()
	memory, want := layOut(order, interpret.AreaStart)
	const xdp, rxq, dev = 60000, 60200, 60400
	order.PutUint64(memory[xdp+40:], interpret.AreaStart+rxq)
	order.PutUint64(memory[rxq+8:], interpret.AreaStart+dev)
	order.PutUint32(memory[dev+16:], 1)
	m := &machine{Machine: interpret.New(order, memory)}
	got := make(map[string]uint64)
	for field, accessor := range accessors.Fields {
		value, err := m.call(t, accessors.Object, accessor.Function, interpret.AreaStart, interpret.AreaStart+xdp)
		if err != nil {
			t.Errorf("%s: %v", field, err)
		}
		got[field] = value
	}
	if truncate(got, accessors); !maps.Equal(got, want) {
		t.Errorf("%v instead of %v", got, want)
	}
	if at, err := m.call(t, accessors.Object, accessors.Descriptor.Function, interpret.AreaStart+xdp, 0); at != 77 || err != nil {
		t.Errorf("the descriptor is %d, %v", at, err)
	}
}

// machine is one that the functions of the kernel that lowered code calls are part of.
type machine struct{ *interpret.Machine }

// garbage is what a call leaves in the registers that it clobbers.
const garbage = 0xbad0bad0bad0bad0

// data is where the data of the object is.
const data = 0x30_0000_0000

func (m *machine) call(tb testing.TB, object []byte, name string, first, second uint64) (uint64, error) {
	tb.Helper()
	obj, err := elfobj.Parse(object)
	if err != nil {
		tb.Fatal(err)
	}
	f, addresses := cut(tb, obj, name)
	m.Memories = m.Memories[:2]
	for i, section := range obj.Sections {
		m.Memories = append(m.Memories, interpret.Memory{Start: data + uint64(i)<<20, Bytes: section.Data})
	}
	m.Regs = [insn.NumRegisters]uint64{0: garbage, 1: first, 2: second, 3: garbage, insn.Frame: interpret.StackTop}
	for slot := 0; slot*insn.SlotSize < len(f); {
		ins, err := insn.Decode(f[slot*insn.SlotSize:], m.Order)
		if err != nil {
			return 0, err
		}
		jumps := false
		switch address, ok := addresses[slot]; {
		case ins.Exits():
			return m.Regs[0], nil
		case ins.IsCall():
			err = m.kernel(&ins)
		case ok:
			m.Regs[ins.Dst] = address
		default:
			jumps, err = m.Step(ins)
		}
		if err != nil {
			return 0, fmt.Errorf("slot %d: %w", slot, err)
		}
		slot += ins.Slots()
		if distance, _, _ := ins.Distance(); jumps {
			slot += distance
		}
	}
	return 0, fmt.Errorf("%s runs off its end", name)
}

// cut returns the code of a function, and the addresses of the data that it refers to.
func cut(tb testing.TB, obj *elfobj.Object, name string) ([]byte, map[int]uint64) {
	tb.Helper()
	cutter, err := code.NewCutter(obj, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for i, symbol := range obj.Symbols {
		if symbol.Name != name {
			continue
		}
		f, err := cutter.Cut(i)
		if err != nil {
			tb.Fatal(err)
		}
		addresses := make(map[int]uint64)
		for _, rel := range f.Relocations {
			symbol := obj.Symbols[rel.Symbol]
			addresses[rel.At] = data + uint64(symbol.Section)<<20 + symbol.Value + uint64(rel.Addend)
		}
		return f.Code, addresses
	}
	tb.Fatalf("no function %s", name)
	return nil, nil
}

// kernel does what a call does.
func (m *machine) kernel(ins *insn.Instruction) error {
	result := m.Regs[asm.R1]
	if ins.IsHelperCall() {
		size := int(m.Regs[asm.R2])
		to, err := m.At(m.Regs[asm.R1], size)
		if err != nil || asm.BuiltinFunc(ins.Imm) != asm.FnProbeReadKernel {
			return fmt.Errorf("call of %d: %v", ins.Imm, err)
		}
		from, err := m.At(m.Regs[asm.R3], size)
		if err != nil {
			return err
		}
		copy(to, from)
		result = 0
	}
	for r := asm.R1; r <= asm.R5; r++ {
		m.Regs[r] = garbage
	}
	m.Regs[asm.R0] = result
	return nil
}

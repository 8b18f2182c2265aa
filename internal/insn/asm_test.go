package insn_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Some instructions read or write registers that they don't name, or name some
// that they don't use.
func TestMentions(t *testing.T) {
	gotox := asm.Instruction{OpCode: asm.Ja.Op(asm.RegSource), Dst: asm.R7}
	callx := asm.Instruction{OpCode: asm.Call.Op(asm.RegSource), Dst: asm.R7}
	exchange := asm.CmpXchg.Mem(asm.R8, asm.R7, asm.DWord, 0)
	for name, test := range map[string]struct {
		ins  asm.Instruction
		want []asm.Register
	}{
		"mov":      {asm.Mov.Reg(asm.R7, asm.R8), []asm.Register{asm.R7, asm.R8}},
		"constant": {asm.Add.Imm(asm.R7, 1), []asm.Register{asm.R7}},
		"LDDW":     {asm.LoadImm(asm.R7, 1, asm.DWord), []asm.Register{asm.R7}},
		"load":     {asm.LoadMem(asm.R7, asm.R8, 0, asm.Word), []asm.Register{asm.R7, asm.R8}},
		"store":    {asm.StoreMem(asm.R7, 0, asm.R8, asm.Word), []asm.Register{asm.R7, asm.R8}},
		"exchange": {exchange, []asm.Register{asm.R0, asm.R7, asm.R8}},
		"LD_ABS":   {asm.LoadAbs(0, asm.Word), []asm.Register{asm.R0, asm.R1, asm.R2, asm.R3, asm.R4, asm.R5, asm.R6}},
		"LD_IND":   {asm.LoadInd(asm.R0, asm.R7, 0, asm.Word), []asm.Register{asm.R0, asm.R1, asm.R2, asm.R3, asm.R4, asm.R5, asm.R6, asm.R7}},
		"call":     {asm.FnMapLookupElem.Call(), []asm.Register{asm.R0, asm.R1, asm.R2, asm.R3, asm.R4, asm.R5}},
		"callx":    {callx, []asm.Register{asm.R0, asm.R1, asm.R2, asm.R3, asm.R4, asm.R5, asm.R7}},
		"branch":   {asm.JEq.Reg(asm.R7, asm.R8, ""), []asm.Register{asm.R7, asm.R8}},
		"goto":     {asm.Ja.Label(""), nil},
		"gotox":    {gotox, []asm.Register{asm.R7}},
		"exit":     {asm.Return(), []asm.Register{asm.R0}},
	} {
		var got []asm.Register
		for reg := asm.R0; reg < asm.RFP; reg++ {
			if insn.Mentions(test.ins, reg) {
				got = append(got, reg)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// What is read is written as it was, and in both forms the same.
func TestAppend(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, ins := range []asm.Instruction{
			asm.LoadImm(asm.R7, 1<<40+1, asm.DWord), asm.LoadMem(asm.R7, asm.R8, -4, asm.Half), asm.StoreImm(asm.R7, 4, -1, asm.Word),
			asm.MovSX8.Reg(asm.R7, asm.R8), asm.SDiv.Imm(asm.R7, 3), asm.HostTo(asm.BE, asm.R7, asm.Half), asm.BSwap(asm.R7, asm.Word),
			asm.FetchAdd.Mem(asm.R7, asm.R8, asm.DWord, 8), asm.CmpXchg.Mem(asm.R7, asm.R8, asm.Word, 8), asm.LoadAcquire(asm.R7, asm.R8, asm.Byte, 8),
			asm.FnTailCall.Call(), insn.Poison(), asm.Return(),
		} {
			code, err := insn.Append(nil, ins, order)
			if err != nil {
				t.Fatalf("%v: %v", ins, err)
			}
			read, err := insn.ToAsm(code, order)
			if err != nil {
				t.Fatalf("%v: %v", ins, err)
			}
			if again, err := insn.Append(nil, read, order); err != nil || !bytes.Equal(again, code) {
				t.Errorf("%v: %x, %v instead of %x", ins, again, err, code)
			}
			decoded, err := insn.Decode(code, order)
			if other, otherErr := insn.FromAsm(read); err != nil || otherErr != nil || other != decoded {
				t.Errorf("%v: %+v, %v and %+v, %v", ins, decoded, err, other, otherErr)
			}
		}
	}
}

// Every opcode is read as the library reads it, and written as it was.
func TestToAsm(t *testing.T) {
	read := 0
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for op := range 256 {
			for _, registers := range []byte{0x00, 0x17, 0xa1, 0x1a, 0xb1, 0xff} {
				for _, rest := range [][]byte{{0, 0, 0, 0, 0, 0}, {1, 0, 1, 2, 3, 4}, {0, 1, 0xff, 0xff, 0xff, 0xff}, {8, 0, 1, 0, 0, 0}, {0, 8, 0, 0, 0, 1}} {
					code := append([]byte{byte(op), registers}, rest...)
					code = append(code, 0, 0, 0, 0, 1, 2, 3, 4)
					got, err := insn.ToAsm(code, order)
					if err != nil {
						continue
					}
					read++
					var want asm.Instruction
					if err := want.Unmarshal(bytes.NewReader(code), order, "linux"); err != nil || got != want {
						t.Errorf("%x is read as %#v rather than %#v, %v", code, got, want, err)
					}
					if again, err := insn.Append([]byte{1}, got, order); err != nil || !bytes.HasPrefix(code, again[1:]) || len(again) < 9 {
						t.Errorf("%x is written as %x, %v", code, again, err)
					}
				}
			}
		}
	}
	if read < 5000 {
		t.Errorf("%d instructions are read", read)
	}
}

// Bits that no instruction set defines are not dropped in silence.
func TestToAsmRefuses(t *testing.T) {
	code, err := insn.Append(nil, asm.FetchAdd.Mem(asm.R7, asm.R8, asm.DWord, 8), binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	code[6] = 1 // a bit of the immediate that no operation has
	if ins, err := insn.ToAsm(code, binary.LittleEndian); err == nil {
		t.Errorf("it is read as %v", ins)
	}
	if _, err := insn.ToAsm(code[:4], binary.LittleEndian); err == nil {
		t.Error("half an instruction is read")
	}
}

func TestNeedsVersion4(t *testing.T) {
	for _, ins := range []asm.Instruction{
		asm.MovSX8.Reg(asm.R1, asm.R2), asm.MovSX32.Reg(asm.R1, asm.R2), asm.SDiv.Imm(asm.R1, 2), asm.SMod.Reg32(asm.R1, asm.R2),
		asm.BSwap(asm.R1, asm.Word), asm.LoadMemSX(asm.R1, asm.R2, 0, asm.Half), asm.LongJump(""),
	} {
		if encoded, err := insn.FromAsm(ins); err != nil || !encoded.NeedsVersion4() {
			t.Errorf("%v needs none, %v", ins, err)
		}
	}
	for _, ins := range []asm.Instruction{
		asm.Mov.Reg(asm.R1, asm.R2), asm.Div.Imm(asm.R1, 2), asm.Mod.Reg32(asm.R1, asm.R2), asm.HostTo(asm.LE, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R2, 1, asm.Half), asm.JEq.Imm(asm.R1, 0, ""), asm.StoreImm(asm.R1, 1, 1, asm.Byte), asm.LoadImm(asm.R1, 1, asm.DWord),
	} {
		if encoded, err := insn.FromAsm(ins); err != nil || encoded.NeedsVersion4() {
			t.Errorf("%v needs it, %v", ins, err)
		}
	}
}

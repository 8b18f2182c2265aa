package rewrite_test

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/rewrite"
)

// Some instructions read or write registers that they don't name, or name some
// that they don't use.
func TestMentions(t *testing.T) {
	gotox := asm.Instruction{OpCode: asm.Ja.Op(asm.RegSource), Dst: asm.R7}
	callx := asm.Instruction{OpCode: asm.Call.Op(asm.RegSource), Dst: asm.R7}
	exchange := asm.Instruction{OpCode: asm.StoreMemOp(asm.DWord).SetMode(asm.AtomicMode), Dst: asm.R8, Src: asm.R7}
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
			if rewrite.Mentions(test.ins, reg) {
				got = append(got, reg)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

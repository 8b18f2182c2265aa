package flow

import (
	"encoding/binary"
	"testing"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// Where paths that brought different offsets have met, they are kept apart by
// what registers and the stack have of these: also by whether an offset is on
// its way to being zero-extended.
func TestPathsKeepApart(t *testing.T) {
	spilled := func(register uint8) func(*generator) {
		return func(g *generator) {
			g.emit(insn.ClassJMP|insn.OpJEQ, 7, 0, 1, 0)
			g.emit(insn.ClassALU64|insn.OpMOV, register, 0, 0, 16) // 3
			g.emit(insn.ClassSTX|insn.ModeMEM|0x18, insn.Frame, 6, -8, 0)
			g.emit(insn.ClassJMP|insn.OpJEQ, 7, 0, 0, 1) // r6 is not read from here on
			g.emit(insn.ClassLDX|insn.ModeMEM|0x18, 6, insn.Frame, -8, 0)
		}
	}
	extended := func(register uint8) func(*generator) {
		return func(g *generator) {
			g.emit(insn.ClassJMP|insn.OpJEQ, 7, 0, 1, 0)
			g.emit(insn.ClassALU64|insn.OpLSH, register, 0, 0, 32)
			g.emit(insn.ClassJMP|insn.OpJEQ, 7, 0, 1, 0) // they meet here
			g.emit(insn.ClassALU64|insn.OpRSH, register, 0, 0, 32)
		}
	}
	for name, test := range map[string]struct {
		recorded []int
		between  func(*generator)
		met      int // the slot where they meet
		want     int // how many nodes that is
	}{
		"spilled":                 {[]int{1, 3}, spilled(6), 6, 2},
		"spilled the same":        {[]int{1, 3}, spilled(9), 6, 1},
		"extended":                {[]int{1}, extended(6), 4, 2},
		"something else extended": {[]int{1}, extended(9), 4, 1},
	} {
		g := &generator{order: binary.LittleEndian}
		g.emit(insn.ClassLDX|insn.ModeMEM, 7, 1, 16, 0)
		g.emit(insn.ClassALU64|insn.OpMOV, 6, 0, 0, 8) // 1
		test.between(g)
		g.emit(insn.ClassALU64|insn.OpADD|8, 6, 8, 0, 0)
		g.emit(insn.ClassLDX|insn.ModeMEM, 0, 6, 0, 0)
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
		f, err := NewFunction(g.code, g.order, 0, g.slot())
		if err != nil {
			t.Fatal(err)
		}
		o := f.Constants(Assumptions{Program: true}).Origins(test.recorded)
		if len(o.Dereferences) != 1 {
			t.Fatalf("%s: %+v", name, o.Dereferences)
		}
		nodes, _ := o.Paths(o.Dereferences, 100)
		got := 0
		for _, node := range nodes {
			if node.Block == f.BlockAt(test.met) {
				got++
			}
		}
		if got != test.want {
			t.Errorf("%s: they meet in %d nodes, want %d", name, got, test.want)
		}
	}
}

package flow

import (
	"encoding/binary"
	"testing"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// A guard counts if nothing on any path to it changes the registers that it
// compares, and only for the code behind it.
func TestGuardsOnPaths(t *testing.T) {
	nothing := func(*generator) {}
	for name, test := range map[string]struct {
		meta    uint8 // the register that keeps data_meta
		between func(*generator)
		want    int // guards
	}{
		"kept":            {7, nothing, 1},
		"load elsewhere":  {7, func(g *generator) { g.emit(insn.ClassLD|insn.ModeABS, 0, 0, 0, 0) }, 1},
		"load over it":    {0, func(g *generator) { g.emit(insn.ClassLD|insn.ModeABS, 0, 0, 0, 0) }, 0},
		"on many ways":    {7, ways(8, func(g *generator) { g.emit(insn.ClassALU64|insn.OpMOV, 9, 0, 0, 0) }), 1},
		"not on all ways": {7, ways(8, func(g *generator) { g.emit(insn.ClassALU64|insn.OpMOV, 7, 0, 0, 0) }), 0},
	} {
		g := &generator{order: binary.LittleEndian}
		g.emit(insn.ClassALU64|insn.OpMOV|8, 6, 1, 0, 0)
		g.emit(insn.ClassLDX|insn.ModeMEM, 9, 6, 16, 0)
		g.emit(insn.ClassLDX|insn.ModeMEM, 8, 6, int16(XDP.Data), 0)
		g.emit(insn.ClassLDX|insn.ModeMEM, test.meta, 6, int16(XDP.DataMeta), 0)
		test.between(g)
		g.emit(insn.ClassALU64|insn.OpADD, test.meta, 0, 0, 16)
		g.emit(insn.ClassJMP|insn.OpJGT|8, test.meta, 8, 2, 0)
		guarded := g.slot()
		g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 0)
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
		g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 1) // if the bytes are not there
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0) // nothing leads here
		f, err := NewFunction(g.code, g.order, 0, g.slot())
		if err != nil {
			t.Fatal(err)
		}
		guards := f.Constants(Assumptions{Program: true}).Guards(XDP)
		if got := guards.Before(guarded); len(got) != test.want {
			t.Errorf("%s: %+v, want %d", name, got, test.want)
		}
		for slot := guarded + 2; slot <= g.slot(); slot++ {
			if got := guards.Before(slot); len(got) != 0 {
				t.Errorf("%s: %+v before slot %d", name, got, slot)
			}
		}
	}
}

// ways makes that many ways to the code that follows, one of which has
// something on it.
func ways(n int, on func(*generator)) func(*generator) {
	return func(g *generator) {
		for way := range n - 1 {
			g.emit(insn.ClassJMP|insn.OpJEQ, 9, 0, int16(n-1-way), int32(way))
		}
		on(g)
	}
}

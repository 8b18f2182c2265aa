package flow

import (
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// What may come from more offsets, or with more distances, than are kept apart
// may come from all, at any distance.
func TestManyOrigins(t *testing.T) {
	many := func(g *generator) (offsets []int) {
		const n = maxOrigins + 10
		for way := range n - 1 {
			offsets = append(offsets, g.slot())
			g.emit(insn.ClassALU64|insn.OpMOV, 6, 0, 0, 8)
			g.emit(insn.ClassJMP|insn.OpJEQ, 7, 0, int16(2*(n-1-way)-1), int32(way))
		}
		offsets = append(offsets, g.slot())
		g.emit(insn.ClassALU64|insn.OpMOV, 6, 0, 0, 8)
		g.emit(insn.ClassALU64|insn.OpADD|8, 6, 8, 0, 0)
		return offsets
	}
	distant := func(g *generator) []int {
		g.emit(insn.ClassALU64|insn.OpMOV, 6, 0, 0, 8)
		g.emit(insn.ClassALU64|insn.OpADD|8, 6, 8, 0, 0)
		for n := range 7 {
			g.emit(insn.ClassJMP|insn.OpJEQ, 7, 0, 1, int32(n))
			g.emit(insn.ClassALU64|insn.OpADD, 6, 0, 0, 1<<n)
		}
		return []int{1}
	}
	for name, code := range map[string]func(*generator) []int{"offsets": many, "distances": distant} {
		g := &generator{order: binary.LittleEndian}
		g.emit(insn.ClassLDX|insn.ModeMEM, 7, 1, 16, 0)
		offsets := code(g)
		g.emit(insn.ClassALU64|insn.OpADD, 6, 0, 0, 4)
		g.emit(insn.ClassLDX|insn.ModeMEM, 0, 6, 0, 0)
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
		f, err := NewFunction(g.code, g.order, 0, g.slot())
		if err != nil {
			t.Fatal(err)
		}
		o := f.Constants(Assumptions{Program: true}).Origins(offsets)
		if len(o.Dereferences) != 1 || !o.Dereferences[0].Indexed {
			t.Fatalf("%s: %+v", name, o.Dereferences)
		}
		for _, slot := range offsets {
			if !slices.ContainsFunc(o.Dereferences[0].Origins, func(o Origin) bool { return o.Slot == slot }) {
				t.Errorf("%s: the offset at %d is none of %+v", name, slot, o.Dereferences[0].Origins)
			}
		}
	}
}

// What has the same offset elsewhere is as far from it as it was.
func TestManyOriginsElsewhere(t *testing.T) {
	g := &generator{order: binary.LittleEndian}
	g.emit(insn.ClassLDX|insn.ModeMEM, 7, 1, 16, 0)
	g.emit(insn.ClassALU64|insn.OpMOV, 6, 0, 0, 8)
	g.emit(insn.ClassALU64|insn.OpMOV|8, 2, 6, 0, 0)
	g.emit(insn.ClassALU64|insn.OpADD|8, 2, 8, 0, 0)
	g.emit(insn.ClassALU64|insn.OpADD, 2, 0, 0, 4)
	g.emit(insn.ClassLDX|insn.ModeMEM, 0, 2, 0, 0) // 5
	g.emit(insn.ClassALU64|insn.OpADD|8, 6, 8, 0, 0)
	for n := range 7 {
		g.emit(insn.ClassJMP|insn.OpJEQ, 7, 0, 1, int32(n))
		g.emit(insn.ClassALU64|insn.OpADD, 6, 0, 0, 1<<n)
	}
	g.emit(insn.ClassLDX|insn.ModeMEM, 0, 6, 0, 0)
	g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
	f, err := NewFunction(g.code, g.order, 0, g.slot())
	if err != nil {
		t.Fatal(err)
	}
	o := f.Constants(Assumptions{Program: true}).Origins([]int{1})
	if len(o.Dereferences) != 2 || o.Dereferences[0].Slot != 5 || o.Dereferences[0].Origins[0] != (Origin{1, 4}) {
		t.Errorf("%+v", o.Dereferences)
	}
}

// Behind more branches that the layout decides than are looked at, what one of
// them decides is still doubtful, and so is what depends on what is written on
// either side of one.
func TestManyBranches(t *testing.T) {
	undecided := func(g *generator) { // r9
		g.assume.Undecided.Add(g.slot())
		g.emit(insn.ClassALU64|insn.OpMOV, 9, 0, 0, 1)
	}
	use := func(g *generator, register uint8) int {
		g.emit(insn.ClassJMP|insn.OpJEQ, register, 0, 1, 0)
		g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 9)
		return g.slot() - 1
	}
	for name, test := range map[string]struct {
		open bool // whether all ways of the many branches can be gone
		code func(*generator) (use int)
	}{
		"decided": {true, func(g *generator) int { undecided(g); return use(g, 9) }},
		"register": {false, func(g *generator) int {
			undecided(g)
			g.emit(insn.ClassALU64|insn.OpMOV, 8, 0, 0, 0)
			g.emit(insn.ClassJMP|insn.OpJEQ, 9, 0, 1, 0)
			g.emit(insn.ClassALU64|insn.OpMOV, 8, 0, 0, 1)
			return use(g, 8)
		}},
		"stack": {false, func(g *generator) int {
			undecided(g)
			g.emit(insn.ClassST|insn.ModeMEM|0x18, insn.Frame, 0, -8, 0)
			g.emit(insn.ClassJMP|insn.OpJEQ, 9, 0, 1, 0)
			g.emit(insn.ClassST|insn.ModeMEM|0x18, insn.Frame, 0, -8, 1)
			g.emit(insn.ClassLDX|insn.ModeMEM|0x18, 8, insn.Frame, -8, 0)
			return use(g, 8)
		}},
	} {
		const many = 1000
		g := &generator{order: binary.LittleEndian}
		g.assume = Assumptions{Program: true, Known: make(map[int]int64)}
		if test.open {
			g.assume.Undecided.Add(0)
		} else {
			g.assume.Known[0] = 1
		}
		g.emit(insn.ClassALU64|insn.OpMOV, 6, 0, 0, 1)
		for n := range many {
			g.emit(insn.ClassJMP|insn.OpJEQ, 6, 0, int16(many-1-n), 0)
		}
		slot := test.code(g)
		g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 0)
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
		f, err := NewFunction(g.code, g.order, 0, g.slot())
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Constants(g.assume).Reachable(slot); got != Doubtful {
			t.Errorf("%s: %s, want %s", name, got, Doubtful)
		}
	}
}

// An offset may still be in the stack after a call that gets the address of something
// else there.
func TestOriginsBehindCall(t *testing.T) {
	f := function(t, binary.LittleEndian,
		asm.LoadMem(asm.R6, asm.R1, 16, asm.Word),    // 0
		asm.Mov.Imm(asm.R2, 8),                       // 1
		asm.StoreMem(asm.RFP, -8, asm.R2, asm.DWord), // 2
		asm.Mov.Reg(asm.R1, asm.RFP),                 // 3
		asm.Add.Imm(asm.R1, -16),                     // 4
		call,                                         // 5
		asm.LoadMem(asm.R2, asm.RFP, -8, asm.DWord),  // 6
		asm.Add.Reg(asm.R6, asm.R2),                  // 7
		asm.LoadMem(asm.R0, asm.R6, 0, asm.Word),     // 8
		asm.Return(),
	)
	o := f.Constants(Assumptions{Program: true}).Origins([]int{1})
	want := Dereference{Slot: 8, Origins: []Origin{{Slot: 1}}, Mixed: true}
	if len(o.Dereferences) != 1 || !reflect.DeepEqual(o.Dereferences[0], want) {
		t.Errorf("%+v instead of %+v", o.Dereferences, want)
	}
	if !slices.ContainsFunc(o.Escapes, func(e Escape) bool { return e.Use == Passed && e.Origin == 1 }) {
		t.Errorf("none is passed: %+v", o.Escapes)
	}
}

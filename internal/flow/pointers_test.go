package flow

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// pointerUnit is a function of an object, by name.
type pointerUnit struct {
	name  string
	entry bool
	alone bool // nobody calls it
	calls map[int]string
	insns []asm.Instruction

	offsets, sizes, otherSizes []int
	addresses                  map[int]Region
}

func (u *pointerUnit) sub(t *testing.T) *Subprogram {
	sub := &Subprogram{Function: function(t, binary.LittleEndian, u.insns...), Calls: make(map[int]*Subprogram)}
	sub.Program, sub.Entry = u.entry || u.alone, u.entry
	sub.Offsets, sub.Sizes, sub.OtherSizes = make(map[int]bool), make(map[int]bool), make(map[int]bool)
	sub.Addresses = u.addresses
	for _, slot := range slices.Concat(u.offsets, u.sizes, u.otherSizes) {
		sub.Undecided.Add(slot)
	}
	for _, slot := range u.offsets {
		sub.Offsets[slot] = true
	}
	for _, slot := range u.sizes {
		sub.Sizes[slot] = true
	}
	for _, slot := range u.otherSizes {
		sub.OtherSizes[slot] = true
	}
	if u.entry {
		sub.Context, sub.Parameters[0] = &XDP, Ctx
	}
	return sub
}

// pointersOf analyzes an object, and returns its functions in the order given.
func pointersOf(t *testing.T, functions []pointerUnit) (*Pointers, []*Subprogram) {
	t.Helper()
	var subs []*Subprogram
	byName := make(map[string]*Subprogram)
	for i := range functions {
		sub := functions[i].sub(t)
		subs = append(subs, sub)
		byName[functions[i].name] = sub
	}
	for i := range functions {
		for slot, name := range functions[i].calls {
			subs[i].Calls[slot] = byName[name]
		}
	}
	return FindPointers(subs, Analyze(subs)), subs
}

// spelled describes pointees in one line.
func spelled(pointees []Pointee) string {
	var all []string
	for _, p := range pointees {
		text := fmt.Sprintf("%s%+d", p.Region, p.Offset)
		if p.Indexed {
			text += "?"
		}
		if p.Part {
			text += " part"
		}
		if p.Field.Subprogram != nil {
			text += fmt.Sprintf(" of field %d", p.Field.Slot)
		}
		if p.Past {
			text += " past"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

var (
	loadMeta = asm.LoadMem(asm.R2, asm.R1, 8, asm.Word) // r2 = ctx->data_meta
	ret      = asm.Return()
)

// A load through a register is looked at in the last function, at the slot that is
// given: what it may point at.
func TestPointers(t *testing.T) {
	spillMeta := []asm.Instruction{loadMeta, asm.StoreMem(asm.RFP, -16, asm.R2, asm.DWord)}
	addressOf := func(reg asm.Register, offset int32) []asm.Instruction {
		return []asm.Instruction{asm.Mov.Reg(reg, asm.RFP), asm.Add.Imm(reg, offset)}
	}
	loadFunction := asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc}
	read := asm.LoadMem(asm.R0, asm.R2, 4, asm.Word)
	deref := []asm.Instruction{read, ret}

	for name, test := range map[string]struct {
		functions []pointerUnit
		slot      int
		want      string
	}{
		"the metadata area": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta}, deref)}}, 1, "metadata area+0",
		},
		"and a constant": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Add.Imm(asm.R2, 8)}, deref)}}, 2, "metadata area+8",
		},
		"and what is not constant": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), asm.Add.Reg(asm.R2, asm.R3)}, deref)}},
			3, "metadata area+0?",
		},
		"and a recorded offset": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Mov.Imm(asm.R3, 8), asm.Add.Reg(asm.R2, asm.R3)}, deref), offsets: []int{1}}},
			3, "metadata area+0 of field 1",
		},
		"and a recorded offset that is extended": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Mov.Imm(asm.R3, 8), asm.LSh.Imm(asm.R3, 32), asm.ArSh.Imm(asm.R3, 32), asm.Add.Reg(asm.R2, asm.R3)}, deref), offsets: []int{1}}},
			5, "metadata area+0 of field 1",
		},
		"and a byte of a recorded offset": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Mov.Imm(asm.R3, 8), asm.MovSX8.Reg(asm.R3, asm.R3), asm.Add.Reg(asm.R2, asm.R3)}, deref), offsets: []int{1}}},
			4, "metadata area+0? part of field 1",
		},
		"and the upper half of a recorded offset": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Mov.Imm(asm.R3, 8), asm.RSh.Imm(asm.R3, 32), asm.Add.Reg(asm.R2, asm.R3)}, deref), offsets: []int{1}}},
			4, "metadata area+0? part of field 1",
		},
		"and a recorded offset times 2 to the power of 32": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Mov.Imm(asm.R3, 8), asm.LSh.Imm(asm.R3, 32), asm.Add.Reg(asm.R2, asm.R3)}, deref), offsets: []int{1}}},
			4, "metadata area+0? part of field 1",
		},
		"and what is added to a recorded offset that is being extended": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Mov.Imm(asm.R3, 8), asm.LSh.Imm(asm.R3, 32), asm.Add.Imm(asm.R3, 4), asm.RSh.Imm(asm.R3, 32), asm.Add.Reg(asm.R2, asm.R3)}, deref), offsets: []int{1}}},
			6, "metadata area+0? part of field 1",
		},
		"and a recorded size": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Mov.Imm(asm.R3, 32), asm.Add.Reg(asm.R3, asm.R2), asm.Mov.Reg(asm.R2, asm.R3)}, deref), sizes: []int{1}}},
			4, "metadata area+0 past",
		},
		"and the size of something else": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{loadMeta, asm.Mov.Imm(asm.R3, 4), asm.Add.Reg(asm.R2, asm.R3)}, deref), otherSizes: []int{1}}},
			3, "metadata area+0?",
		},
		"the packet": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{asm.LoadMem(asm.R2, asm.R1, 0, asm.Word)}, deref)}}, 1, "packet+0",
		},
		"a number of the ctx": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{asm.LoadMem(asm.R2, asm.R1, 12, asm.Word)}, deref)}}, 1, "",
		},
		"what was spilled": {
			[]pointerUnit{{entry: true, insns: slices.Concat(spillMeta, []asm.Instruction{asm.FnKtimeGetNs.Call(), asm.LoadMem(asm.R2, asm.RFP, -16, asm.DWord)}, deref)}},
			4, "metadata area+0",
		},
		"the stack": {
			[]pointerUnit{{entry: true, insns: slices.Concat(addressOf(asm.R2, -32), deref)}}, 2, "stack-32",
		},
		"either": {
			[]pointerUnit{{entry: true, insns: slices.Concat(
				[]asm.Instruction{loadMeta, asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), jump(asm.JEq.Imm(asm.R3, 0, ""), 2)}, addressOf(asm.R2, -32), deref)}},
			5, "metadata area+0, stack-32",
		},
		"nowhere or the metadata area": {
			[]pointerUnit{{entry: true, insns: slices.Concat(
				[]asm.Instruction{loadMeta, asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), jump(asm.JEq.Imm(asm.R3, 0, ""), 1), asm.Mov.Imm(asm.R2, 0)}, deref)}},
			4, "metadata area+0",
		},
		"one step further each time": {
			[]pointerUnit{{entry: true, insns: slices.Concat(
				[]asm.Instruction{loadMeta, asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), asm.Add.Imm(asm.R2, 4), jump(asm.JNE.Imm(asm.R3, 0, ""), -2)}, deref)}},
			4, "metadata area+0?",
		},
		"a map value": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{asm.FnMapLookupElem.Call(), asm.Mov.Reg(asm.R2, asm.R0)}, deref)}}, 2, "map value+0",
		},
		"out of a map": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{asm.FnMapLookupElem.Call(), asm.LoadMem(asm.R2, asm.R0, 0, asm.DWord)}, deref)}}, 2, "unknown+0",
		},
		"data": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{asm.LoadImm(asm.R2, 0, asm.DWord)}, deref), addresses: map[int]Region{0: Data}}}, 2, "data+0",
		},
		"an argument": {
			[]pointerUnit{
				{name: "callee", insns: deref},
				{entry: true, insns: []asm.Instruction{loadMeta, call, ret}, calls: map[int]string{1: "callee"}},
			}, 0, "metadata area+0",
		},
		"an argument of two calls": {
			[]pointerUnit{
				{name: "callee", insns: deref},
				{entry: true, insns: slices.Concat([]asm.Instruction{asm.Mov.Reg(asm.R6, asm.R1), loadMeta, call}, addressOf(asm.R2, -8), []asm.Instruction{call, ret}), calls: map[int]string{2: "callee", 5: "callee"}},
			}, 0, "metadata area+0, stack-8",
		},
		"an argument that nobody passes": {
			[]pointerUnit{{alone: true, insns: deref}}, 0, "unknown+0",
		},
		"what is returned": {
			[]pointerUnit{
				{entry: true, insns: slices.Concat([]asm.Instruction{call, asm.Mov.Reg(asm.R2, asm.R0)}, deref), calls: map[int]string{0: "callee"}},
				{name: "callee", insns: []asm.Instruction{loadMeta, asm.Mov.Reg(asm.R0, asm.R2), ret}},
			}, 2, "metadata area+0",
		},
		"what is returned, as an argument": {
			[]pointerUnit{
				{name: "callee", insns: slices.Concat([]asm.Instruction{asm.Add.Imm(asm.R2, 8)}, deref)},
				{entry: true, insns: []asm.Instruction{call, asm.Mov.Reg(asm.R2, asm.R0), call, ret}, calls: map[int]string{0: "get", 2: "callee"}},
				{name: "get", insns: []asm.Instruction{loadMeta, asm.Mov.Reg(asm.R0, asm.R2), ret}},
			}, 1, "metadata area+8",
		},
		"what is returned, in the stack of the caller": {
			[]pointerUnit{
				{name: "callee", insns: slices.Concat([]asm.Instruction{asm.LoadMem(asm.R2, asm.R1, 0, asm.DWord), asm.Add.Imm(asm.R2, 8)}, deref)},
				{entry: true, insns: slices.Concat([]asm.Instruction{call, asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord)}, addressOf(asm.R1, -8), []asm.Instruction{call, ret}), calls: map[int]string{0: "get", 4: "callee"}},
				{name: "get", insns: []asm.Instruction{loadMeta, asm.Mov.Reg(asm.R0, asm.R2), ret}},
			}, 2, "metadata area+8",
		},
		"and a recorded offset that is returned": {
			[]pointerUnit{
				{entry: true, insns: slices.Concat([]asm.Instruction{asm.Mov.Reg(asm.R6, asm.R1), call, asm.LoadMem(asm.R2, asm.R6, 8, asm.Word), asm.Add.Reg(asm.R2, asm.R0)}, deref), calls: map[int]string{1: "get"}},
				{name: "get", insns: []asm.Instruction{asm.Mov.Imm(asm.R0, 8), ret}, offsets: []int{0}},
			}, 4, "metadata area+0 of field 0",
		},
		"a place in its own stack that a function returns": {
			[]pointerUnit{
				{entry: true, insns: slices.Concat([]asm.Instruction{call, asm.Mov.Reg(asm.R2, asm.R0)}, deref), calls: map[int]string{0: "get"}},
				{name: "get", insns: slices.Concat([]asm.Instruction{loadMeta}, addressOf(asm.R0, -8), []asm.Instruction{
					asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), jump(asm.JEq.Imm(asm.R3, 0, ""), 1), asm.Mov.Reg(asm.R0, asm.R2), ret,
				})},
			}, 2, "metadata area+0",
		},
		"in the stack of the caller": {
			[]pointerUnit{
				{name: "callee", insns: slices.Concat([]asm.Instruction{asm.LoadMem(asm.R2, asm.R1, 8, asm.DWord)}, deref)},
				{entry: true, insns: slices.Concat(spillMeta, addressOf(asm.R1, -24), []asm.Instruction{call, ret}), calls: map[int]string{4: "callee"}},
			}, 1, "metadata area+0",
		},
		"left in the stack of the caller": {
			[]pointerUnit{
				{entry: true, insns: slices.Concat(addressOf(asm.R2, -8), []asm.Instruction{call, asm.LoadMem(asm.R2, asm.RFP, -8, asm.DWord)}, deref), calls: map[int]string{2: "callee"}},
				{name: "callee", insns: []asm.Instruction{asm.LoadMem(asm.R3, asm.R1, 8, asm.Word), asm.StoreMem(asm.R2, 0, asm.R3, asm.DWord), asm.Mov.Imm(asm.R0, 0), ret}},
			}, 4, "metadata area+0",
		},
		"in the stack of the caller, for a callback": {
			[]pointerUnit{
				{name: "callback", insns: []asm.Instruction{asm.LoadMem(asm.R2, asm.R2, 0, asm.DWord), read, ret}},
				{entry: true, insns: slices.Concat(spillMeta, []asm.Instruction{loadFunction}, addressOf(asm.R3, -16), []asm.Instruction{asm.FnLoop.Call(), ret}), calls: map[int]string{2: "callback"}},
			}, 1, "metadata area+0",
		},
		"left in the stack of the caller, nobody knows where": {
			[]pointerUnit{
				{entry: true, insns: slices.Concat(addressOf(asm.R2, -24), []asm.Instruction{asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), asm.Add.Reg(asm.R2, asm.R3), call, asm.LoadMem(asm.R2, asm.RFP, -16, asm.DWord)}, deref), calls: map[int]string{4: "callee"}},
				{name: "callee", insns: []asm.Instruction{asm.LoadMem(asm.R3, asm.R1, 8, asm.Word), asm.StoreMem(asm.R2, 0, asm.R3, asm.DWord), asm.Mov.Imm(asm.R0, 0), ret}},
			}, 6, "metadata area+0",
		},
		"stored in the stack, nobody knows where": {
			[]pointerUnit{{entry: true, insns: slices.Concat(addressOf(asm.R4, -24), []asm.Instruction{
				asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), asm.Add.Reg(asm.R4, asm.R3), loadMeta,
				asm.StoreMem(asm.R4, 0, asm.R2, asm.DWord), asm.LoadMem(asm.R2, asm.RFP, -16, asm.DWord),
			}, deref)}}, 7, "metadata area+0",
		},
		"stored at one of two places, over the halves of a number": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{
				loadMeta, asm.LoadMem(asm.R3, asm.R1, 16, asm.Word),
			}, addressOf(asm.R4, -16), []asm.Instruction{
				jump(asm.JEq.Imm(asm.R3, 0, ""), 1), asm.Add.Imm(asm.R4, -16),
				asm.StoreImm(asm.RFP, -16, 0, asm.Word), asm.StoreImm(asm.RFP, -12, 0, asm.Word),
				asm.StoreMem(asm.R4, 0, asm.R2, asm.DWord), asm.LoadMem(asm.R2, asm.RFP, -16, asm.DWord),
			}, deref)}}, 10, "metadata area+0",
		},
		"filled by a helper at one of two places, across an address": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{
				loadMeta, asm.StoreMem(asm.RFP, -20, asm.R2, asm.DWord), asm.LoadMem(asm.R3, asm.R1, 16, asm.Word),
			}, addressOf(asm.R1, -24), []asm.Instruction{
				jump(asm.JEq.Imm(asm.R3, 0, ""), 1), asm.Add.Imm(asm.R1, -64),
				asm.Mov.Imm(asm.R2, 8), asm.FnProbeRead.Call(), asm.LoadMem(asm.R2, asm.RFP, -20, asm.DWord),
			}, deref)}}, 10, "metadata area+0, unknown+0",
		},
		"what a function returns that never does": {
			[]pointerUnit{
				{entry: true, insns: slices.Concat([]asm.Instruction{call, asm.Mov.Reg(asm.R2, asm.R0)}, deref), calls: map[int]string{0: "callee"}},
				{name: "callee", insns: []asm.Instruction{call, ret}, calls: map[int]string{0: "callee"}},
			}, 2, "unknown+0",
		},
		"left in the stack of the caller's caller": {
			[]pointerUnit{
				{name: "callee", insns: slices.Concat([]asm.Instruction{
					asm.LoadMem(asm.R6, asm.R2, 0, asm.DWord), asm.Mov.Reg(asm.R6, asm.R2), call, asm.LoadMem(asm.R2, asm.R6, 0, asm.DWord),
				}, deref), calls: map[int]string{2: "store"}},
				{entry: true, insns: slices.Concat(addressOf(asm.R2, -8), []asm.Instruction{call, ret}), calls: map[int]string{2: "callee"}},
				{name: "store", insns: []asm.Instruction{asm.LoadMem(asm.R3, asm.R1, 8, asm.Word), asm.StoreMem(asm.R2, 0, asm.R3, asm.DWord), asm.Mov.Imm(asm.R0, 0), ret}},
			}, 4, "metadata area+0",
		},
		"an own copy, and a recorded offset to which a constant was added": {
			[]pointerUnit{{entry: true, insns: slices.Concat([]asm.Instruction{asm.Mov.Imm(asm.R3, 8), asm.Add.Imm(asm.R3, 4)}, addressOf(asm.R2, -32), []asm.Instruction{asm.Add.Reg(asm.R2, asm.R3)}, deref), offsets: []int{0}}},
			5, "stack-20",
		},
		"left in the stacks of many callers": {
			append(manyUnits(func(n int) pointerUnit {
				return pointerUnit{entry: true, insns: slices.Concat(addressOf(asm.R2, -8), []asm.Instruction{call, asm.LoadMem(asm.R2, asm.RFP, -8, asm.DWord)}, deref), calls: map[int]string{2: "callee"}}
			}), pointerUnit{name: "callee", insns: []asm.Instruction{asm.LoadMem(asm.R3, asm.R1, 8, asm.Word), asm.StoreMem(asm.R2, 0, asm.R3, asm.DWord), asm.Mov.Imm(asm.R0, 0), ret}}),
			4, "metadata area+0",
		},
		"from many callers": {
			append([]pointerUnit{{name: "callee", insns: []asm.Instruction{asm.Mov.Reg(asm.R2, asm.R1), read, ret}}}, manyUnits(func(n int) pointerUnit {
				return pointerUnit{entry: true, insns: []asm.Instruction{loadMeta, asm.Mov.Reg(asm.R1, asm.R2), call, ret}, calls: map[int]string{2: "callee"}}
			})...), 1, "metadata area+0",
		},
		"what was in the stack before is not there for the callee": {
			[]pointerUnit{
				{name: "callee", insns: slices.Concat([]asm.Instruction{asm.LoadMem(asm.R2, asm.R1, 8, asm.DWord)}, deref)},
				{entry: true, insns: slices.Concat(spillMeta, addressOf(asm.R3, -8), []asm.Instruction{asm.StoreMem(asm.RFP, -16, asm.R3, asm.DWord)}, addressOf(asm.R1, -24), []asm.Instruction{call, ret}), calls: map[int]string{7: "callee"}},
			}, 1, "stack-8",
		},
	} {
		pointers, subs := pointersOf(t, test.functions)
		pointees, reached := pointers.Address(subs[0], test.slot)
		if got := spelled(pointees); !reached || got != test.want {
			t.Errorf("%s: %q, reached: %t, want %q", name, got, reached, test.want)
		}
	}
}

// manyUnits returns more functions than are told apart.
func manyUnits(sub func(n int) pointerUnit) (subs []pointerUnit) {
	for n := range maxPointees + 1 {
		subs = append(subs, sub(n))
	}
	return subs
}

// A recorded offset that is added to an address is another number on another path, or
// one of more than are told apart.
func TestSums(t *testing.T) {
	path := func(offset int64) []asm.Instruction {
		return []asm.Instruction{asm.Mov.Imm(asm.R2, int32(offset)), asm.Add.Imm(asm.R3, -1), jump(asm.JEq.Imm(asm.R3, 0, ""), 0)}
	}
	sums := func(paths int, recorded ...int) []Sum {
		insns := []asm.Instruction{asm.LoadMem(asm.R3, asm.R1, 16, asm.Word)}
		for n := range paths {
			insns = append(insns, path(int64(4*n))...)
		}
		for n := range paths {
			insns[3*n+3].Offset = int16(3*(paths-n) - 3)
		}
		insns = append(insns, asm.Add.Reg(asm.R2, asm.RFP), asm.LoadMem(asm.R0, asm.R2, -200, asm.Word), ret)
		pointers, subs := pointersOf(t, []pointerUnit{{entry: true, insns: insns, offsets: recorded}})
		for _, slot := range recorded {
			if got := spelled(pointers.AddedTo(subs[0], slot)); got != "stack+0" {
				t.Errorf("%d paths, slot %d: added to %q", paths, slot, got)
			}
		}
		return pointers.Sums(subs[0])
	}
	if got := sums(1, 1); len(got) != 1 || !got[0].Alone {
		t.Errorf("One path: %+v", got)
	}
	var all []int
	for n := range maxPointees + 1 {
		all = append(all, 3*n+1)
	}
	for _, got := range [][]Sum{sums(2, 1), sums(2, 4), sums(len(all), all...)} {
		if len(got) == 0 || slices.ContainsFunc(got, func(sum Sum) bool { return sum.Alone }) {
			t.Errorf("Several paths: %+v", got)
		}
	}
}

// What recorded numbers are added to, or passed as the size of.
func TestRecordedNumbers(t *testing.T) {
	pointers, subs := pointersOf(t, []pointerUnit{{
		entry: true, sizes: []int{1, 4}, offsets: []int{7},
		insns: []asm.Instruction{
			loadMeta,                    // 0
			asm.Mov.Imm(asm.R3, 32),     // 1
			asm.Add.Reg(asm.R2, asm.R3), // 2
			asm.Mov.Imm(asm.R1, 0),      // 3
			asm.Mov.Imm(asm.R2, 32),     // 4
			asm.FnRingbufReserve.Call(), // 5
			asm.Mov.Reg(asm.R6, asm.R0), // 6
			asm.Mov.Imm(asm.R7, 8),      // 7
			asm.Add.Reg(asm.R7, asm.R6), // 8
			asm.LoadMem(asm.R0, asm.R7, 0, asm.Word),
			ret,
		},
	}})
	for slot, want := range map[int][2]string{1: {"metadata area+0", ""}, 4: {"", "ring buffer+0"}, 7: {"ring buffer+0", ""}} {
		added, sized := spelled(pointers.AddedTo(subs[0], slot)), spelled(pointers.SizeOf(subs[0], slot))
		if added != want[0] || sized != want[1] {
			t.Errorf("slot %d: added to %q, size of %q, want %q", slot, added, sized, want)
		}
	}
}

// A recorded offset is added to what is NULL at first and an address in the next round:
// NULL alone, which is not what it comes to, would make the sum a number.
func TestAddedToNullable(t *testing.T) {
	pointers, subs := pointersOf(t, []pointerUnit{
		{entry: true, calls: map[int]string{2: "sum", 4: "callee"}, insns: []asm.Instruction{
			asm.Mov.Reg(asm.R2, asm.RFP), // 0
			asm.Add.Imm(asm.R2, -8),      // 1
			call,                         // 2
			asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord), // 3
			call, // 4
			ret,
		}},
		{name: "sum", offsets: []int{4}, calls: map[int]string{8: "callee"}, insns: []asm.Instruction{
			asm.LoadMem(asm.R7, asm.R1, 8, asm.Word),   // 0
			asm.LoadMem(asm.R8, asm.R1, 16, asm.Word),  // 1
			asm.Mov.Reg(asm.R9, asm.R2),                // 2
			asm.Mov.Imm(asm.R6, 0),                     // 3
			asm.Mov.Imm(asm.R1, 8),                     // 4
			asm.Add.Reg(asm.R1, asm.R6),                // 5
			asm.StoreMem(asm.R9, 0, asm.R1, asm.DWord), // 6
			asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),   // 7
			call,                                       // 8
			asm.Mov.Reg(asm.R6, asm.R7),                // 9
			jump(asm.JNE.Imm(asm.R8, 0, ""), -7),       // 10
			ret,
		}},
		{name: "callee", insns: []asm.Instruction{asm.LoadMem(asm.R0, asm.R1, 4, asm.Word), ret}},
	})
	if got := spelled(pointers.AddedTo(subs[1], 4)); got != "metadata area+0" {
		t.Errorf("added to %q", got)
	}
	if got := spelled(pointers.Arguments(subs[2])[0]); got != "metadata area+0 of field 4" {
		t.Errorf("passed is %q", got)
	}
}

// Of the uses of addresses in the metadata area none is left out.
func TestMemoryUses(t *testing.T) {
	pointers, subs := pointersOf(t, []pointerUnit{{
		entry: true,
		insns: []asm.Instruction{
			loadMeta,                                  // 0
			asm.LoadMem(asm.R0, asm.R2, 0, asm.Word),  // 1
			asm.StoreMem(asm.R2, 4, asm.R0, asm.Word), // 2
			asm.StoreImm(asm.R2, 8, 1, asm.Word),      // 3
			asm.StoreMem(asm.RFP, -8, asm.R2, asm.DWord),
			asm.Mov.Imm(asm.R3, 4),     // 5
			asm.FnRingbufOutput.Call(), // 6
			ret,
		},
	}})
	var got []string
	for _, use := range pointers.Uses(subs[0]) {
		got = append(got, fmt.Sprintf("%d.%d", use.Slot, use.Argument))
	}
	if want := []string{"1.0", "2.0", "3.0", "6.2"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Paths that bring different pointers to a load are kept apart, others are not.
func TestPointerPaths(t *testing.T) {
	pointers, subs := pointersOf(t, []pointerUnit{{
		entry: true,
		insns: []asm.Instruction{
			loadMeta, // 0
			asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), // 1
			jump(asm.JEq.Imm(asm.R3, 0, ""), 2),       // 2
			asm.Mov.Reg(asm.R2, asm.RFP),              // 3
			asm.Add.Imm(asm.R2, -32),                  // 4
			asm.LoadMem(asm.R0, asm.R2, 4, asm.Word),  // 5
			ret,
		},
	}})
	nodes, ok := pointers.Paths(subs[0], []Dereference{{Slot: 5}}, 100)
	count := make(map[int]int)
	for _, node := range nodes {
		count[node.Block]++
	}
	if !ok || count[0] != 1 || count[1] != 1 || count[2] != 2 {
		t.Errorf("%v, nodes by block: %v", ok, count)
	}
	if _, ok := pointers.Paths(subs[0], []Dereference{{Slot: 1}}, 100); ok {
		t.Error("paths are kept apart that bring the same pointer")
	}
}

package flow

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// call is a call of another function of the program.
var call = asm.Instruction{OpCode: asm.Call.Op(asm.ImmSource), Src: asm.PseudoCall, Constant: -1}

// callee returns its second argument's use: what is behind a test of it.
func callee(t *testing.T) *Subprogram {
	return &Subprogram{Function: function(t, binary.LittleEndian,
		asm.Mov.Imm(asm.R0, 0),              // 0
		jump(asm.JEq.Imm(asm.R2, 0, ""), 1), // 1
		asm.Mov.Imm(asm.R0, 1),              // 2
		asm.Return(),                        // 3
	)}
}

// caller calls a function with what the layout answers, behind a question.
func caller(t *testing.T, called *Subprogram, asks, passes int64) *Subprogram {
	return &Subprogram{
		Function: function(t, binary.LittleEndian,
			asm.Mov.Imm(asm.R0, 1),              // 0
			jump(asm.JEq.Imm(asm.R0, 0, ""), 2), // 1
			asm.Mov.Imm(asm.R2, 1),              // 2
			call,                                // 3
			asm.Return(),                        // 4
		),
		Assumptions: Assumptions{Program: true, Known: map[int]int64{0: asks, 2: passes}},
		Calls:       map[int]*Subprogram{3: called},
	}
}

func TestAnalyze(t *testing.T) {
	const notCalled = -1
	for name, test := range map[string]struct {
		callers [][2]int64 // what each asks and passes
		want    int        // what is said of the callee's slot 2
	}{
		"not called":       {[][2]int64{{0, 1}}, notCalled},
		"called with 0":    {[][2]int64{{1, 0}}, int(Unreachable)},
		"called with 1":    {[][2]int64{{1, 1}}, int(Reachable)},
		"and not with 1":   {[][2]int64{{1, 0}, {0, 1}}, int(Unreachable)},
		"with 0 and 1":     {[][2]int64{{1, 0}, {1, 1}}, int(Doubtful)},
		"with 0, twice":    {[][2]int64{{1, 0}, {1, 0}}, int(Unreachable)},
		"with 1, and none": {[][2]int64{{1, 1}, {0, 0}}, int(Reachable)},
	} {
		called := callee(t)
		subs := []*Subprogram{called}
		for _, c := range test.callers {
			subs = append(subs, caller(t, called, c[0], c[1]))
		}
		got := notCalled
		if c := Analyze(subs)[called]; c != nil {
			got = int(c.Reachable(2))
		}
		if got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// A program may call itself only as far as the kernel lets it, but the analysis
// has to come to an end.
func TestAnalyzeRecursion(t *testing.T) {
	u := &Subprogram{Function: function(t, binary.LittleEndian,
		asm.Add.Imm(asm.R1, 1), call, asm.Return(),
	)}
	u.Calls = map[int]*Subprogram{1: u}
	u.Program = true
	if c := Analyze([]*Subprogram{u})[u]; c == nil || c.Reachable(2) != Reachable {
		t.Errorf("got %v", c)
	}
}

// Functions that call each other in a row: as TestLinear.
func TestAnalyzeRow(t *testing.T) {
	row := make([]*Subprogram, 200_000)
	for n := range row {
		row[n] = &Subprogram{Function: function(t, binary.LittleEndian, call, asm.Return())}
	}
	for n, next := range row[1:] {
		row[n].Calls = map[int]*Subprogram{0: next}
	}
	last := row[len(row)-1]
	last.Function = function(t, binary.LittleEndian, asm.Mov.Imm(asm.R0, 0), asm.Return())
	row[0].Program = true
	if c := Analyze(row)[last]; c == nil || c.Reachable(0) != Reachable {
		t.Errorf("got %v", c)
	}
}

// verdict returns what is said of a slot of a program, of which some are known.
func verdict(t *testing.T, known map[int]int64, slot int, insns ...asm.Instruction) Verdict {
	t.Helper()
	f := function(t, binary.LittleEndian, insns...)
	return f.Constants(Assumptions{Program: true, Known: known}).Reachable(slot)
}

func TestReachable(t *testing.T) {
	exists := asm.Mov.Imm(asm.R6, 1)
	runtime := asm.LoadMem(asm.R7, asm.R1, 16, asm.Word) // rx_queue_index
	isZero := func(r asm.Register, offset int16) asm.Instruction { return jump(asm.JEq.Imm(r, 0, ""), offset) }
	is := func(r asm.Register, n int32, offset int16) asm.Instruction {
		return jump(asm.JEq.Imm(r, n, ""), offset)
	}
	set := func(r asm.Register, n int32) asm.Instruction { return asm.Mov.Imm(r, n) }
	spill, fill := asm.StoreMem(asm.RFP, -8, asm.R6, asm.DWord), asm.LoadMem(asm.R6, asm.RFP, -8, asm.DWord)
	address := []asm.Instruction{asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8)}
	use, exit := set(asm.R0, 9), asm.Return()

	for name, test := range map[string]struct {
		insns []asm.Instruction // the first is known to be 0; the one before the last is looked at
		want  Verdict
	}{
		"guarded": {[]asm.Instruction{exists, set(asm.R0, 0), isZero(asm.R6, 1)}, Unreachable},
		"open":    {[]asm.Instruction{exists, set(asm.R0, 0), runtime, isZero(asm.R7, 1)}, Reachable},
		"spilled": {[]asm.Instruction{exists, set(asm.R0, 0), spill, fill, isZero(asm.R6, 1)}, Unreachable},
		"lent":    {append(append([]asm.Instruction{exists, spill}, address...), asm.FnMapLookupElem.Call(), fill, isZero(asm.R6, 1)), Doubtful},
		"half of it changed": {[]asm.Instruction{exists, set(asm.R0, 0), spill, asm.StoreMem(asm.RFP, -8, asm.R1, asm.Half),
			asm.LoadMem(asm.R6, asm.RFP, -8, asm.Word), isZero(asm.R6, 1)}, Doubtful},
		"upper half unchanged": {[]asm.Instruction{exists, set(asm.R0, 0), spill, asm.StoreMem(asm.RFP, -8, asm.R1, asm.Half),
			asm.LoadMem(asm.R6, asm.RFP, -6, asm.Half), isZero(asm.R6, 1)}, Doubtful},
		"combined": {[]asm.Instruction{exists, set(asm.R0, 0), runtime, asm.LSh.Imm(asm.R7, 1), asm.Or.Reg(asm.R7, asm.R6), asm.And.Imm(asm.R7, 1), isZero(asm.R7, 1)}, Unreachable},
		"added up": {[]asm.Instruction{exists, set(asm.R0, 0), asm.LoadMem(asm.R7, asm.R1, 0, asm.Word), asm.LoadMem(asm.R7, asm.R7, 0, asm.Word), asm.Add.Reg(asm.R7, asm.R6), isZero(asm.R7, 1)}, Doubtful},

		// The path to it that has no question in it is taken if r7 is 0, but then
		// the use is not: what comes to the use is what the layout turned away.
		"asked twice": {[]asm.Instruction{runtime, isZero(asm.R7, 3), exists, jump(asm.JNE.Imm(asm.R6, 0, ""), 1), exit,
			set(asm.R0, 0), isZero(asm.R7, 1)}, Doubtful},

		// A kind that is 2 or 5 without the field and never 1, which the bits of
		// both together don't tell.
		"chosen": {[]asm.Instruction{runtime, isZero(asm.R7, 4), exists, set(asm.R8, 2), isZero(asm.R6, 1),
			set(asm.R8, 1), jump(asm.Ja.Label(""), 1), set(asm.R8, 5), set(asm.R0, 0), is(asm.R8, 1, 1), exit}, Doubtful},
	} {
		known := make(map[int]int64)
		for slot, ins := range test.insns {
			if ins == exists {
				known[slot] = 0
			}
		}
		if got := verdict(t, known, len(test.insns), append(test.insns, use, exit)...); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// A store somewhere in the stack may change any of it.
func TestStoreSomewhere(t *testing.T) {
	insns := []asm.Instruction{
		asm.StoreImm(asm.RFP, -8, 7, asm.Word),
		asm.StoreImm(asm.RFP, -16, 8, asm.Word),
		asm.And.Imm(asm.R1, 8),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Sub.Reg(asm.R2, asm.R1),
		asm.StoreMem(asm.R2, -8, asm.R3, asm.DWord),
		asm.LoadMem(asm.R0, asm.RFP, -8, asm.Word),
		asm.Return(),
	}
	f := function(t, binary.LittleEndian, insns...)
	if n, ok := f.Constants(Assumptions{}).Value(7, asm.R0); ok {
		t.Errorf("still %d", n)
	}
	insns[5] = asm.StoreMem(asm.R3, -8, asm.R3, asm.DWord)
	f = function(t, binary.LittleEndian, insns...)
	if n, ok := f.Constants(Assumptions{}).Value(7, asm.R0); !ok || n != 7 {
		t.Errorf("%d, %v after a store elsewhere", n, ok)
	}
}

// Where a function of the program has been given an address in the stack, it
// may have left it where the next one finds it.
func TestEscaped(t *testing.T) {
	f := function(t, binary.LittleEndian,
		asm.Mov.Reg(asm.R1, asm.RFP),
		call,
		asm.StoreImm(asm.RFP, -8, 7, asm.Word),
		call,
		asm.LoadMem(asm.R0, asm.RFP, -8, asm.Word),
		asm.Return(),
	)
	if n, ok := f.Constants(Assumptions{}).Value(5, asm.R0); ok {
		t.Errorf("still %d", n)
	}
}

// An address in the stack that a called function can read has escaped.
func TestExposed(t *testing.T) {
	f := function(t, binary.LittleEndian,
		asm.Mov.Imm(asm.R3, 8), // the offset
		asm.Add.Reg(asm.R3, asm.R6),
		asm.StoreMem(asm.RFP, -8, asm.R3, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(),
		asm.Return(),
	)
	escapes := f.Constants(Assumptions{}).Origins([]int{0}).Escapes
	if len(escapes) != 1 || escapes[0].Slot != 5 || escapes[0].Use != Passed {
		t.Errorf("%+v", escapes)
	}
}

// What an offset was in is something else once it was overwritten by a load from
// the packet, and no address while it is shifted up.
func TestOffsetsGone(t *testing.T) {
	for name, test := range map[string]struct {
		op       uint8
		imm      int32
		accesses int
		escapes  []Escape
	}{
		"kept":        {insn.ClassALU64 | insn.OpADD, 0, 1, nil},
		"overwritten": {insn.ClassLD | insn.ModeABS, 0, 0, nil},
		"shifted":     {insn.ClassALU64 | insn.OpLSH, 32, 1, []Escape{{2, 0, Computed, true}}},
	} {
		g := &generator{order: binary.LittleEndian}
		g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 8)
		g.emit(test.op, 0, 0, 0, test.imm)
		g.emit(insn.ClassLDX|insn.ModeMEM, 2, 0, 0, 0)
		g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 0)
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
		f, err := NewFunction(g.code, g.order, 0, g.slot())
		if err != nil {
			t.Fatal(err)
		}
		o := f.Constants(Assumptions{}).Origins([]int{0})
		if len(o.Dereferences) != test.accesses || !slices.Equal(o.Escapes, test.escapes) {
			t.Errorf("%s: %+v, %+v", name, o.Dereferences, o.Escapes)
		}
	}
}

// The index of a load from the packet is a use of an offset, and what is loaded
// depends on it, and on what the layout left in the packet.
func TestPacketLoad(t *testing.T) {
	for name, test := range map[string]struct {
		mode   uint8
		then   func(*generator) // for the next packet, or the same once more
		escape int              // the slot
	}{
		"index":  {insn.ModeIND, func(g *generator) { g.emit(insn.ClassALU64|insn.OpMOV, 9, 0, 0, 1) }, 3},
		"stored": {insn.ModeABS, func(g *generator) { g.emit(insn.ClassSTX|insn.ModeMEM, 8, 7, 0, 0) }, 5},
		"stored by a helper": {insn.ModeABS, func(g *generator) {
			g.emit(insn.ClassALU64|insn.OpMOV|8, 4, 7, 0, 0)
			g.emit(insn.ClassJMP|insn.OpCALL, 0, 0, 0, 10) // bpf_l3_csum_replace
		}, 6},
	} {
		g := &generator{order: binary.LittleEndian}
		g.emit(insn.ClassALU64|insn.OpMOV|8, 6, 1, 0, 0)
		g.emit(insn.ClassLDX|insn.ModeMEM, 8, 6, int16(TC.Data), 0)
		g.emit(insn.ClassALU64|insn.OpMOV, 7, 0, 0, 8) // 2
		g.emit(insn.ClassLD|test.mode, 0, 7, 0, 0)
		g.emit(insn.ClassJMP|insn.OpJEQ, 0, 0, 1, 0)
		test.then(g)
		g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 0)
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
		f, err := NewFunction(g.code, g.order, 0, g.slot())
		if err != nil {
			t.Fatal(err)
		}
		c := f.Constants(Assumptions{Program: true, Undecided: insn.SlotsOf(2)})
		if got := c.Origins([]int{2}).Escapes; len(got) != 1 || got[0].Slot != test.escape {
			t.Errorf("%s: %+v, want one at %d", name, got, test.escape)
		}
		if got := c.Reachable(5); got != Doubtful {
			t.Errorf("%s: %s, want %s", name, got, Doubtful)
		}
	}
}

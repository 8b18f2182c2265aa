package flow

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"github.com/xdp-load/xdp-load/internal/insn"
)

var orders = []binary.ByteOrder{binary.LittleEndian, binary.BigEndian}

// assemble encodes instructions, whose jumps have literal offsets.
func assemble(t *testing.T, order binary.ByteOrder, insns ...asm.Instruction) []byte {
	t.Helper()
	var code bytes.Buffer
	for _, ins := range insns {
		if _, err := ins.Marshal(&code, order); err != nil {
			t.Fatalf("%v: %v", ins, err)
		}
	}
	return code.Bytes()
}

func function(t *testing.T, order binary.ByteOrder, insns ...asm.Instruction) *Function {
	t.Helper()
	code := assemble(t, order, insns...)
	f, err := NewFunction(code, order, 0, len(code)/insn.SlotSize)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// jump gives a jump its offset.
func jump(ins asm.Instruction, offset int16) asm.Instruction {
	return asm.Instruction{OpCode: ins.OpCode, Dst: ins.Dst, Src: ins.Src, Constant: ins.Constant, Offset: offset}
}

func TestBlocks(t *testing.T) {
	long := asm.Instruction{OpCode: asm.LongJump("").OpCode, Constant: 1}
	mayGoto := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.JCOND), Offset: -4}
	for _, order := range orders {
		f := function(t, order,
			asm.LoadImm(asm.R0, 1<<40, asm.DWord), // 0
			jump(asm.JEq.Imm(asm.R1, 0, ""), 2),   // 2
			asm.Mov.Imm(asm.R0, 1),                // 3
			long,                                  // 4
			jump(asm.Ja.Label(""), 0),             // 5
			mayGoto,                               // 6
			asm.FnKtimeGetNs.Call(),               // 7
			asm.Return(),                          // 8
		)
		want := []Block{
			{0, 3, []int{1, 2}, nil},
			{3, 5, []int{3}, []int{0, 3}},
			{5, 6, []int{3}, []int{0}},
			{6, 7, []int{4, 1}, []int{1, 2}},
			{7, 9, nil, []int{3}},
		}
		if diff := cmp.Diff(want, f.Blocks()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", order, diff)
		}
		for slot, block := range []int{0, 0, 0, 1, 1, 2, 3, 4, 4, -1} {
			if got := f.BlockAt(slot); got != block {
				t.Errorf("slot %d is in block %d, want %d", slot, got, block)
			}
		}
	}
}

// A jump that constants decide leads to both sides, and none to what follows an
// exit.
func TestEntered(t *testing.T) {
	for _, order := range orders {
		f := function(t, order,
			asm.Mov.Imm(asm.R0, 0),              // 0
			jump(asm.JNE.Imm(asm.R0, 0, ""), 1), // 1
			asm.Return(),                        // 2
			asm.Return(),                        // 3
			asm.Mov.Imm(asm.R0, 0),              // 4
			asm.Return(),                        // 5
		)
		c := f.Constants(Assumptions{Program: true})
		for slot, want := range []struct {
			leads bool
			runs  Verdict
		}{{true, Reachable}, {true, Reachable}, {true, Reachable}, {true, Unreachable}, {false, Unreachable}, {false, Unreachable}, {false, Doubtful}} {
			if got := f.Entered(slot); got != want.leads {
				t.Errorf("a path leads to slot %d: %v, want %v", slot, got, want.leads)
			}
			if got := c.Reachable(slot); got != want.runs {
				t.Errorf("slot %d is %s, want %s", slot, got, want.runs)
			}
		}
	}
}

// A slot leads to itself only around a loop, and nothing leads out of the
// function.
func TestLeads(t *testing.T) {
	f := function(t, binary.LittleEndian,
		asm.Mov.Imm(asm.R0, 0),               // 0
		asm.Add.Imm(asm.R0, 1),               // 1
		jump(asm.JNE.Imm(asm.R0, 9, ""), -2), // 2
		asm.Return(),                         // 3
	)
	for _, test := range []struct {
		from, to int
		want     bool
	}{{0, 3, true}, {0, 0, false}, {1, 1, true}, {2, 1, true}, {1, 0, false}, {3, 1, false}, {0, 4, false}, {-1, 3, false}} {
		if got := f.Leads(test.from, test.to); got != test.want {
			t.Errorf("%d leads to %d: %v", test.from, test.to, got)
		}
	}
}

// gotox jumps to the address in a register.
func gotox(r asm.Register) asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja).SetSource(asm.RegSource), Dst: r}
}

// Gotox leads to the slots of the table that are in the function, each once.
func TestGotox(t *testing.T) {
	for _, order := range orders {
		code := assemble(t, order,
			asm.Return(),                // 0, of another function
			asm.Mov.Imm(asm.R0, 1),      // 1
			gotox(asm.R6),               // 2
			asm.Mov.Imm(asm.R0, 2),      // 3
			asm.Return(),                // 4
			asm.Mov.Reg(asm.R0, asm.R7), // 5
			asm.Return(),                // 6
			asm.Mov.Reg(asm.R0, asm.R8), // 7
			asm.Return(),                // 8
			asm.Return(),                // 9
		)
		f, err := NewFunction(code, order, 1, 10, 9, 5, 7, 5, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		want := []Block{
			{1, 3, []int{2, 3, 4}, nil},
			{3, 5, nil, nil},
			{5, 7, nil, []int{0}},
			{7, 9, nil, []int{0}},
			{9, 10, nil, []int{0}},
		}
		if diff := cmp.Diff(want, f.Blocks()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", order, diff)
		}
		c := f.Constants(Assumptions{Program: true})
		for slot, want := range map[int]Verdict{3: Unreachable, 5: Reachable, 7: Reachable, 9: Reachable} {
			if got := c.Reachable(slot); got != want {
				t.Errorf("%s: slot %d is %s, want %s", order, slot, got, want)
			}
		}
	}
}

// Where the layout decides which way gotox goes, nobody can say which one that is.
func TestGotoxThatTheLayoutDecides(t *testing.T) {
	code := assemble(t, binary.LittleEndian,
		asm.Mov.Imm(asm.R1, 8),                    // 0
		asm.LoadImm(asm.R2, 0, asm.DWord),         // 1
		asm.Add.Reg(asm.R2, asm.R1),               // 3
		asm.LoadMem(asm.R1, asm.R2, 0, asm.DWord), // 4
		gotox(asm.R1),                             // 5
		asm.Return(),                              // 6
		asm.Return(),                              // 7
	)
	f, err := NewFunction(code, binary.LittleEndian, 0, 8, 6, 7)
	if err != nil {
		t.Fatal(err)
	}
	c := f.Constants(Assumptions{Program: true, Known: map[int]int64{0: 16}, Linked: insn.SlotsOf(1)})
	for _, slot := range []int{6, 7} {
		if got := c.Reachable(slot); got != Doubtful {
			t.Errorf("slot %d is %s, want %s", slot, got, Doubtful)
		}
	}
}

func TestGotoxTooMany(t *testing.T) {
	g, table := &generator{order: binary.LittleEndian}, []int(nil)
	for range 600 {
		g.emit(insn.ClassJMP|insn.OpJA|8, 2, 0, 0, 0)
		table = append(table, g.slot())
	}
	g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
	_, err := NewFunction(g.code, binary.LittleEndian, 0, g.slot(), table...)
	if err == nil || !strings.Contains(err.Error(), "more than 262144 targets") {
		t.Errorf("got %v", err)
	}
	f, err := NewFunction(g.code, binary.LittleEndian, 0, g.slot(), table[:400]...)
	if err != nil {
		t.Fatal(err)
	}
	f.Constants(Assumptions{Program: true}).Guards(XDP) // ends
}

func TestMalformed(t *testing.T) {
	exit := asm.Return()
	for name, test := range map[string]struct {
		insns []asm.Instruction
		cut   int
		want  string
	}{
		"jumps out":          {[]asm.Instruction{jump(asm.Ja.Label(""), 1), exit}, 0, "jumps to 2"},
		"jumps back out":     {[]asm.Instruction{jump(asm.Ja.Label(""), -2), exit}, 0, "jumps to -1"},
		"into LDDW":          {[]asm.Instruction{jump(asm.Ja.Label(""), 1), asm.LoadImm(asm.R0, 1, asm.DWord), exit}, 0, "jumps to 2"},
		"runs on":            {[]asm.Instruction{exit, asm.Mov.Imm(asm.R0, 0)}, 0, "runs on"},
		"half an LDDW":       {[]asm.Instruction{asm.LoadImm(asm.R0, 1, asm.DWord), exit}, 2, "second half"},
		"writes r10":         {[]asm.Instruction{asm.Mov.Imm(asm.RFP, 0), exit}, 0, "writes to r10"},
		"gotox":              {[]asm.Instruction{gotox(asm.R1), exit}, 0, "instruction 0: a jump to an address in a register leads to nobody knows where"},
		"nothing":            {[]asm.Instruction{exit}, 1, "no function"},
		"no such register":   {[]asm.Instruction{asm.Mov.Reg(asm.R0, 11), exit}, 0, "registers 0 and 11: not defined"},
		"no such LDX":        {[]asm.Instruction{{OpCode: insn.ClassLDX}, exit}, 0, "opcode 0x1: not defined"},
		"no such LD":         {[]asm.Instruction{{OpCode: insn.ClassLD | insn.ModeMEM}, exit}, 0, "opcode 0x60: not defined"},
		"no such ALU":        {[]asm.Instruction{{OpCode: insn.ClassALU64 | 0xe0}, exit}, 0, "opcode 0xe7: not defined"},
		"no such jump":       {[]asm.Instruction{{OpCode: insn.ClassJMP | 0xf0}, exit}, 0, "opcode 0xf5: not defined"},
		"32-bit call":        {[]asm.Instruction{{OpCode: insn.ClassJMP32 | insn.OpCALL}, exit}, 0, "opcode 0x86: not defined"},
		"32-bit gotox":       {[]asm.Instruction{{OpCode: insn.ClassJMP32 | insn.OpJA | 8}, exit}, 0, "opcode 0xe: not defined"},
		"conditional at end": {[]asm.Instruction{exit, jump(asm.JEq.Imm(asm.R0, 0, ""), -2)}, 0, "runs on"},
	} {
		for _, order := range orders {
			code := assemble(t, order, test.insns...)
			_, err := NewFunction(code, order, 0, len(code)/insn.SlotSize-test.cut)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: %v, want %q", name, order, err, test.want)
			}
		}
	}
}

// Any bytes are a function or an error.
func FuzzFunction(f *testing.F) {
	f.Add([]byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0})
	random := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		g := &generator{Rand: random, order: binary.LittleEndian, pointers: true}
		g.program()
		f.Add(g.code)
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		for _, order := range orders {
			function, err := NewFunction(code, order, 0, len(code)/insn.SlotSize)
			if err != nil {
				continue
			}
			function.Liveness(-1)
			c := function.Constants(Assumptions{Program: true})
			var recorded []int
			for slot := range len(code) / insn.SlotSize {
				c.Reachable(slot)
				c.Value(slot, asm.R1)
				recorded = append(recorded, slot)
			}
			o := c.Origins(recorded)
			o.Paths(o.Dereferences, 1000)
			c.Guards(XDP).Before(len(code)/insn.SlotSize - 1)

			u := &Subprogram{Function: function, PointerAssumptions: PointerAssumptions{
				Entry: true, Context: &XDP, Parameters: [5]Region{Ctx}, Offsets: map[int]bool{1: true}, Sizes: map[int]bool{2: true},
			}}
			pointers := FindPointers([]*Subprogram{u}, map[*Subprogram]*Constants{u: c})
			for _, use := range pointers.Uses(u) {
				pointers.Paths(u, []Dereference{{Slot: use.Slot}}, 1000)
			}
		}
	})
}

func TestLiveness(t *testing.T) {
	f := function(t, binary.LittleEndian,
		asm.Mov.Reg(asm.R6, asm.R1),                  // 0
		asm.LoadMem(asm.R2, asm.R6, 8, asm.Word),     // 1
		asm.FnKtimeGetNs.Call(),                      // 2
		jump(asm.JEq.Imm(asm.R0, 0, ""), 2),          // 3
		asm.LoadMem(asm.R0, asm.R6, 0, asm.Word),     // 4
		asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord), // 5
		asm.Mov.Imm(asm.R0, 2),                       // 6
		asm.Return(),                                 // 7
	)
	l := f.Liveness(1)
	r0, r1, r6 := insn.Of(asm.R0), insn.Of(asm.R1), insn.Of(asm.R6)
	for slot, want := range []struct{ in, out, dies insn.Registers }{
		{r1, r6, r1}, {r6, r6, 0}, {r6, r0 | r6, 0}, {r0 | r6, r6, r0},
		{r6, r0, r6}, {r0, 0, r0}, {0, r0, 0}, {r0, 0, r0},
	} {
		if in, out, dies := l.in[slot], l.out[slot], l.Dies(slot); in != want.in || out != want.out || dies != want.dies {
			t.Errorf("slot %d: %v, %v, %v, want %+v", slot, in.List(), out.List(), dies.List(), want)
		}
	}
	if got := l.Free(4); got != insn.Accessible&^(r0|r6) {
		t.Errorf("free at 4: %v", got.List())
	}
	for _, slot := range []int{-1, 8} {
		if got := l.Free(slot) | l.Dies(slot) | l.LiveOut(slot); got != 0 {
			t.Errorf("slot %d, outside: %v", slot, got.List())
		}
	}
}

// What is written, or read, on one path only is not there on all of them.
func TestLivenessOfPaths(t *testing.T) {
	f := function(t, binary.LittleEndian,
		asm.Mov.Imm(asm.R6, 1),              // 0
		jump(asm.JEq.Imm(asm.R1, 0, ""), 1), // 1
		asm.Mov.Imm(asm.R7, 1),              // 2
		asm.Mov.Imm(asm.R8, 1),              // 3
		jump(asm.JEq.Imm(asm.R6, 1, ""), 1), // 4: always
		asm.Mov.Reg(asm.R6, asm.R7),         // 5
		asm.Mov.Reg(asm.R0, asm.R6),         // 6
		asm.Return(),                        // 7
	)
	c := f.Constants(Assumptions{Program: true})
	all, allowed := f.Liveness(1), c.Liveness(1)
	r0, r1, r6, r8 := insn.Of(asm.R0), insn.Of(asm.R1), insn.Of(asm.R6), insn.Of(asm.R8)
	if !all.LiveOut(3).Has(asm.R7) || allowed.LiveOut(3) != r6 {
		t.Errorf("live at 3: %v, and %v where values allow it", all.LiveOut(3).List(), allowed.LiveOut(3).List())
	}
	for slot, want := range map[int]insn.Registers{0: r1, 1: r1 | r6, 2: r1 | r6, 3: r1 | r6, 4: r1 | r6 | r8, 7: r0 | r1 | r6 | r8} {
		if got := all.Always(slot); got != want {
			t.Errorf("always written at %d: %v, want %v", slot, got.List(), want.List())
		}
	}
	if got, want := f.Liveness(-1).Always(3), r1|r6; got != want {
		t.Errorf("always written at 3: %v, want %v", got.List(), want.List())
	}
}

// What a sequence in place of rare instructions may use, and what it may change.
func TestLivenessOfRareInstructions(t *testing.T) {
	for name, test := range map[string]struct {
		op, dst, src uint8
		imm          int32
		free, dies   insn.Registers
	}{
		"LD_ABS":        {insn.ClassLD | insn.ModeABS, 0, 0, 0, insn.Of(7, 8, 9), insn.Of(6)},
		"LD_IND":        {insn.ClassLD | insn.ModeIND, 0, 8, 0, insn.Of(7, 9), insn.Of(6, 8)},
		"load-acquire":  {insn.ClassSTX | insn.ModeATOMIC, 7, 8, insn.AtomicLoadAcquire, insn.Accessible &^ insn.Of(7, 8), insn.Of(8)},
		"store-release": {insn.ClassSTX | insn.ModeATOMIC, 7, 8, insn.AtomicStoreRelease, insn.Accessible &^ insn.Of(7, 8), insn.Of(7, 8)},
		"cmpxchg":       {insn.ClassSTX | insn.ModeATOMIC, 7, 8, insn.AtomicCmpxchg, insn.Accessible &^ insn.Of(0, 7, 8), insn.Of(7, 8)},
		"callx":         {insn.ClassJMP | insn.OpCALL | 8, 7, 0, 0, insn.Of(6, 8, 9), insn.Of(7)},
	} {
		for _, order := range orders {
			g := &generator{order: order}
			g.emit(test.op, test.dst, test.src, 0, test.imm)
			g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 0)
			g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
			f, err := NewFunction(g.code, order, 0, g.slot())
			if err != nil {
				t.Fatal(err)
			}
			l := f.Liveness(5)
			if free, dies := l.Free(0), l.Dies(0); free != test.free || dies != test.dies {
				t.Errorf("%s: %v are free and %v die, want %v and %v", name, free.List(), dies.List(), test.free.List(), test.dies.List())
			}
		}
	}
}

// A call reads as many registers as the function that is called has arguments.
func TestDeclare(t *testing.T) {
	insns := []asm.Instruction{
		asm.Mov.Imm(asm.R3, 1),
		{OpCode: asm.Call.Op(asm.ImmSource), Src: asm.PseudoCall, Constant: -1},
		asm.Return(),
	}
	called := function(t, binary.LittleEndian, asm.Mov.Reg(asm.R0, asm.R2), asm.Mov.Imm(asm.R3, 0), asm.Add.Reg(asm.R0, asm.R3), asm.Return())
	f := function(t, binary.LittleEndian, insns...)
	if !f.Liveness(5).LiveOut(0).Has(asm.R3) {
		t.Error("r3 is not live before a call that may read it")
	}
	if got := called.Arguments(); got != 2 {
		t.Fatalf("reads %d arguments", got)
	}
	f.Declare(1, called.Arguments())
	if f.Liveness(5).LiveOut(0).Has(asm.R3) {
		t.Error("r3 is live before a call of two arguments")
	}
}

func TestStackDepth(t *testing.T) {
	address := []asm.Instruction{asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -24)}
	end := []asm.Instruction{asm.Mov.Imm(asm.R0, 0), asm.Return()}
	for name, test := range map[string]struct {
		insns []asm.Instruction
		depth int
		exact bool
	}{
		"none":      {nil, 0, true},
		"store":     {[]asm.Instruction{asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord)}, 16, true},
		"address":   {address, 24, true},
		"to helper": {append(address, asm.FnMapLookupElem.Call()), 24, true},
		"to program's function": {append(address,
			asm.Instruction{OpCode: asm.Call.Op(asm.ImmSource), Src: asm.PseudoCall, Constant: -1}), 24, false},
		"to kfunc":         {append(address, asm.Instruction{OpCode: asm.Call.Op(asm.ImmSource), Src: asm.PseudoKfuncCall}), 24, true},
		"beyond the stack": {[]asm.Instruction{asm.StoreMem(asm.RFP, -520, asm.R1, asm.DWord)}, 0, false},
		"below it":         {append(address, asm.StoreMem(asm.R2, -8, asm.R1, asm.DWord)), 32, true},
		"indexed":          {append(address, asm.Add.Reg(asm.R2, asm.R1)), 24, false},
	} {
		f := function(t, binary.LittleEndian, append(test.insns[:len(test.insns):len(test.insns)], end...)...)
		depth, exact := f.Constants(Assumptions{}).StackDepth()
		if depth != test.depth || exact != test.exact {
			t.Errorf("%s: %d, %v, want %d, %v", name, depth, exact, test.depth, test.exact)
		}
	}
}

func TestExtension(t *testing.T) {
	for name, test := range map[string]struct {
		insns        []asm.Instruction
		zero, signed int // bytes that r0 fits in; 8: not known
	}{
		"u16 load":  {[]asm.Instruction{asm.LoadMem(asm.R0, asm.R1, 0, asm.Half)}, 2, 4},
		"s16 load":  {[]asm.Instruction{{OpCode: asm.LoadMemOp(asm.Half).SetMode(asm.MemSXMode), Dst: asm.R0, Src: asm.R1}}, 8, 2},
		"u64 load":  {[]asm.Instruction{asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord)}, 8, 8},
		"w move":    {[]asm.Instruction{asm.Mov.Reg32(asm.R0, asm.R1)}, 4, 8},
		"mask":      {[]asm.Instruction{asm.Mov.Reg(asm.R0, asm.R1), asm.And.Imm(asm.R0, 0x7f)}, 1, 1},
		"mask, <0":  {[]asm.Instruction{asm.Mov.Reg(asm.R0, asm.R1), asm.And.Imm(asm.R0, -2)}, 8, 8},
		"shifts":    {[]asm.Instruction{asm.Mov.Reg(asm.R0, asm.R1), asm.LSh.Imm(asm.R0, 48), asm.RSh.Imm(asm.R0, 48)}, 2, 4},
		"s shifts":  {[]asm.Instruction{asm.Mov.Reg(asm.R0, asm.R1), asm.LSh.Imm(asm.R0, 56), asm.ArSh.Imm(asm.R0, 56)}, 8, 1},
		"constant":  {[]asm.Instruction{asm.Mov.Imm(asm.R0, -3)}, 8, 1},
		"lddw":      {[]asm.Instruction{asm.LoadImm(asm.R0, 1<<31, asm.DWord)}, 4, 8},
		"-8 bits":   {[]asm.Instruction{asm.Mov.Imm(asm.R0, 1), {OpCode: asm.OpCode(asm.ALUClass).SetALUOp(asm.Swap), Constant: -8}}, 8, 8},
		"two paths": {[]asm.Instruction{asm.LoadMem(asm.R0, asm.R1, 0, asm.Byte), jump(asm.JEq.Imm(asm.R1, 0, ""), 1), asm.Mov.Imm(asm.R0, 300)}, 2, 2},
	} {
		f := function(t, binary.LittleEndian, append(test.insns, asm.Return())...)
		c := f.Constants(Assumptions{})
		for _, bytes := range []int{1, 2, 4} {
			if got := c.ZeroExtended(f.End()-1, asm.R0, bytes*8); got != (bytes >= test.zero) {
				t.Errorf("%s: zero-extended from %d bytes: %v", name, bytes, got)
			}
			if got := c.SignExtended(f.End()-1, asm.R0, bytes*8); got != (bytes >= test.signed) {
				t.Errorf("%s: sign-extended from %d bytes: %v", name, bytes, got)
			}
		}
	}
}

// large returns a function with that many guarded accesses, every third through
// an offset in a register.
func large(t testing.TB, accesses int) (code []byte, assume Assumptions, offsets []int) {
	g := &generator{order: binary.LittleEndian}
	assume = Assumptions{Known: make(map[int]int64), Program: true}
	g.emit(insn.ClassLDX|insn.ModeMEM, 6, 1, 8, 0)
	for n := range accesses {
		assume.Known[g.slot()] = int64(n % 2)
		g.emit(insn.ClassALU64|insn.OpMOV, 2, 0, 0, 1)
		if n%3 == 0 {
			g.emit(insn.ClassJMP|insn.OpJEQ, 2, 0, 2, 0)
			offsets = append(offsets, g.slot())
			g.emit(insn.ClassALU64|insn.OpMOV, 3, 0, 0, 8)
			g.emit(insn.ClassJMP|insn.OpJA, 0, 0, 1, 0)
			offsets = append(offsets, g.slot())
			g.emit(insn.ClassALU64|insn.OpMOV, 3, 0, 0, 16)
			g.emit(insn.ClassALU64|insn.OpADD|8, 3, 6, 0, 0)
			g.emit(insn.ClassLDX|insn.ModeMEM, 3, 3, 0, 0)
		} else {
			g.emit(insn.ClassJMP|insn.OpJEQ, 2, 0, 1, 0)
			g.emit(insn.ClassLDX|insn.ModeMEM, 3, 6, 4, 0)
		}
		g.emit(insn.ClassSTX|insn.ModeMEM|0x18, insn.Frame, 3, -8, 0)
	}
	g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 0)
	g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
	return g.code, assume, offsets
}

// Work that grows faster than the code would take this, and the tests of code that no
// kernel takes, beyond the time that go test allows.
func TestLinear(t *testing.T) {
	code, assume, offsets := large(t, 50_000)
	f, err := NewFunction(code, binary.LittleEndian, 0, len(code)/insn.SlotSize)
	if err != nil {
		t.Fatal(err)
	}
	live := f.Liveness(1)
	c := f.Constants(assume)
	for slot := range f.End() {
		live.Free(slot)
		c.Reachable(slot)
		c.ZeroExtended(slot, asm.R3, 32)
	}
	c.Guards(XDP)
	if got := len(c.Origins(offsets).Dereferences); got != len(offsets)/2 {
		t.Errorf("%d accesses, want %d", got, len(offsets)/2)
	}
}

func TestLinearInBadCode(t *testing.T) {
	below := &generator{order: binary.LittleEndian} // each block stores further down than the stack reaches
	for n := range 50_000 {
		below.emit(insn.ClassST|insn.ModeMEM, insn.Frame, 0, int16(-4*n-4), 1)
		below.emit(insn.ClassJMP|insn.OpJEQ|8, 2, 1, 0, 0)
	}
	bytewise := &generator{order: binary.LittleEndian}
	for n := range 8_000 {
		bytewise.emit(insn.ClassST|insn.ModeMEM|0x10, insn.Frame, 0, int16(-n%MaxStack-1), 1)
		bytewise.emit(insn.ClassJMP|insn.OpJEQ|8, 2, 1, 1, 0)
	}
	for name, g := range map[string]*generator{"below": below, "bytewise": bytewise} {
		offset := g.slot()
		g.emit(insn.ClassALU64|insn.OpMOV, 0, 0, 0, 8)
		g.emit(insn.ClassJMP|insn.OpEXIT, 0, 0, 0, 0)
		f, err := NewFunction(g.code, binary.LittleEndian, 0, g.slot())
		if err != nil {
			t.Fatal(err)
		}
		c := f.Constants(Assumptions{Program: true})
		c.Guards(XDP)
		if got := c.Origins([]int{offset}); len(got.Dereferences) > 0 {
			t.Errorf("%s: the offset reaches %v", name, got.Dereferences)
		}
	}
}

func BenchmarkConstants(b *testing.B) {
	code, assume, _ := large(b, 8000)
	f, err := NewFunction(code, binary.LittleEndian, 0, len(code)/insn.SlotSize)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.Constants(assume)
	}
}

func BenchmarkOrigins(b *testing.B) {
	code, assume, offsets := large(b, 8000)
	f, err := NewFunction(code, binary.LittleEndian, 0, len(code)/insn.SlotSize)
	if err != nil {
		b.Fatal(err)
	}
	c := f.Constants(assume)
	b.ReportAllocs()
	for b.Loop() {
		c.Origins(offsets)
	}
}

func BenchmarkFunction(b *testing.B) {
	code, _, _ := large(b, 8000)
	b.ReportAllocs()
	for b.Loop() {
		f, err := NewFunction(code, binary.LittleEndian, 0, len(code)/insn.SlotSize)
		if err != nil {
			b.Fatal(err)
		}
		f.Liveness(1)
	}
}

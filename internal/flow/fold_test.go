package flow

import (
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/insn"
)

func TestFold(t *testing.T) {
	question := asm.Mov.Imm(asm.R2, 1) // at slot 0
	for name, test := range map[string]struct {
		insns  []asm.Instruction
		answer map[int64]*Fold
	}{
		"a side each": {
			insns: []asm.Instruction{
				question,
				jump(asm.JNE.Imm(asm.R2, 0, ""), 2), // 1
				asm.Mov.Imm(asm.R0, 3),              // 2
				jump(asm.Ja.Label(""), 1),           // 3
				asm.Mov.Imm(asm.R0, 4),              // 4
				asm.Return(),                        // 5
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{0, 1, 3, 4}, Jumps: map[int]int{}},
				1: {Removed: []int{0, 1, 2, 3}, Jumps: map[int]int{}},
			},
		},
		"one that is behind the rest": {
			insns: []asm.Instruction{
				question,
				jump(asm.JNE.Imm(asm.R2, 0, ""), 2), // 1
				asm.Mov.Imm(asm.R0, 3),              // 2
				asm.Return(),                        // 3
				asm.Mov.Imm(asm.R0, 4),              // 4
				jump(asm.Ja.Label(""), -3),          // 5
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{0, 1, 4, 5}, Jumps: map[int]int{}},
				1: {Removed: []int{0, 2}, Jumps: map[int]int{1: 4}},
			},
		},
		"what is computed for one side": {
			insns: []asm.Instruction{
				question,
				asm.Mov.Reg(asm.R3, asm.R1),              // 1
				asm.Add.Imm(asm.R3, 8),                   // 2
				asm.LoadMem(asm.R4, asm.R3, 0, asm.Word), // 3
				asm.Mov.Imm(asm.R5, 7),                   // 4: for nothing
				asm.Mov.Imm(asm.R0, 0),                   // 5
				jump(asm.JEq.Imm(asm.R2, 0, ""), 1),      // 6
				asm.Mov.Reg(asm.R0, asm.R4),              // 7
				asm.Return(),                             // 8
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{0, 1, 2, 3, 6, 7}, Jumps: map[int]int{}},
				1: {Removed: []int{0, 5, 6}, Jumps: map[int]int{}},
			},
		},
		"an answer that is used": {
			insns: []asm.Instruction{
				question,
				asm.Mov.Imm(asm.R0, 0),              // 1
				jump(asm.JEq.Imm(asm.R2, 0, ""), 1), // 2
				asm.Mov.Imm(asm.R0, 4),              // 3
				asm.Add.Reg(asm.R0, asm.R2),         // 4
				asm.Return(),                        // 5
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{2, 3}, Jumps: map[int]int{}},
				1: {Removed: []int{1, 2}, Jumps: map[int]int{}},
			},
		},
		"a constant that is there already": {
			insns: []asm.Instruction{
				question,
				asm.LoadImm(asm.R0, 1<<40, asm.DWord), // 1
				jump(asm.JEq.Imm(asm.R2, 0, ""), 1),   // 3
				asm.Mov.Imm(asm.R0, 4),                // 4
				asm.LoadImm(asm.R0, 1<<40, asm.DWord), // 5
				asm.Return(),                          // 7
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{0, 3, 4, 5}, Jumps: map[int]int{}},
			},
		},
		"nothing to decide": {
			insns: []asm.Instruction{
				question,
				jump(asm.JEq.Reg(asm.R2, asm.R1, ""), 0), // 1
				asm.Mov.Imm(asm.R0, 0),                   // 2
				asm.Return(),                             // 3
			},
			answer: map[int64]*Fold{0: nil, 1: nil},
		},
		"what was decided before": {
			insns: []asm.Instruction{
				question,
				asm.Mov.Imm(asm.R0, 0),              // 1
				jump(asm.JEq.Imm(asm.R0, 0, ""), 1), // 2
				asm.Mov.Imm(asm.R0, 4),              // 3
				asm.Return(),                        // 4
			},
			answer: map[int64]*Fold{0: nil, 1: nil},
		},
		"a bound that is cut by a move": {
			insns: []asm.Instruction{
				question,
				asm.LoadMem(asm.R3, asm.R1, int16(XDP.Data), asm.Word), // 1
				jump(asm.JEq.Imm(asm.R2, 0, ""), 1),                    // 2
				asm.LoadMem(asm.R3, asm.R1, int16(XDP.DataEnd), asm.Word),
				asm.Mov.Reg32(asm.R4, asm.R3), // 4
				asm.Mov.Reg(asm.R0, asm.R4),
				asm.Return(),
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{0, 2, 3}, Jumps: map[int]int{}, Widened: []int{4}},
				1: {Removed: []int{0, 1, 2}, Jumps: map[int]int{}, Widened: []int{4}},
			},
		},
		"a bound that is cut by two shifts, in another register": {
			insns: []asm.Instruction{
				question,
				asm.LoadMem(asm.R3, asm.R1, int16(XDP.DataMeta), asm.Word), // 1
				asm.Mov.Imm(asm.R0, 0),              // 2
				jump(asm.JEq.Imm(asm.R2, 0, ""), 1), // 3
				asm.Mov.Imm(asm.R0, 1),              // 4
				asm.Mov.Reg(asm.R5, asm.R3),         // 5
				asm.LSh.Imm(asm.R5, 32),             // 6
				asm.RSh.Imm(asm.R5, 32),             // 7
				asm.Add.Reg(asm.R0, asm.R5),
				asm.Return(),
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{0, 3, 4, 6, 7}, Jumps: map[int]int{}},
			},
		},
		"a bound on one of two ways": {
			insns: []asm.Instruction{
				question,
				jump(asm.JEq.Imm(asm.R2, 0, ""), 1), // 1
				asm.Mov.Imm(asm.R0, 1),              // 2
				asm.LoadMem(asm.R3, asm.R1, int16(XDP.Data), asm.Word), // 3
				asm.LoadMem(asm.R4, asm.R1, 12, asm.Word),              // 4
				jump(asm.JEq.Imm(asm.R4, 0, ""), 1),                    // 5
				asm.Mov.Reg(asm.R3, asm.R4),                            // 6
				asm.Mov.Reg32(asm.R0, asm.R3),                          // 7
				asm.Return(),
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{0, 1, 2}, Jumps: map[int]int{}},
			},
		},
		"a bound that is computed with": {
			insns: []asm.Instruction{
				question,
				asm.LoadMem(asm.R3, asm.R1, int16(XDP.Data), asm.Word), // 1
				asm.Mov.Imm(asm.R0, 0),                                 // 2
				jump(asm.JEq.Imm(asm.R2, 0, ""), 1),                    // 3
				asm.Mov.Imm(asm.R0, 1),                                 // 4
				asm.And.Imm(asm.R3, 255),                               // 5
				asm.Mov.Reg32(asm.R4, asm.R3),                          // 6
				asm.Add.Reg(asm.R0, asm.R4),
				asm.Return(),
			},
			answer: map[int64]*Fold{
				0: {Removed: []int{0, 3, 4}, Jumps: map[int]int{}},
			},
		},
	} {
		for _, order := range orders {
			f := function(t, order, test.insns...)
			open := f.Constants(Assumptions{Undecided: insn.SlotsOf(0), Program: true})
			for answer, want := range test.answer {
				known := f.Constants(Assumptions{Undecided: insn.SlotsOf(0), Known: map[int]int64{0: answer}, Program: true})
				if diff := cmp.Diff(want, f.Fold(open, known, 1, &XDP)); diff != "" {
					t.Errorf("%s, answer %d (-want +got):\n%s", name, answer, diff)
				}
			}
		}
	}
}

// Package flow finds out what is known of a BPF function's instructions without
// running it: where jumps lead, which registers are free, which values are
// constant, what can be reached, and where the address of a load comes from.
//
// Everything here is a pure function of instruction bytes, and takes time near
// linear in their number. What is called proved holds for every run of the
// function; where the code is not understood the answer is the careful one.
//
// Slots are positions in an ELF section in units of 8 bytes, as CO-RE records
// and branch targets are counted. LDDW takes two of them.
package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/xdp-load/xdp-load/internal/insn"
)

// instruction is what is computed with.
type instruction struct{ insn.Instruction }

// Function is the control flow of a function.
type Function struct {
	start, end int
	order      binary.ByteOrder
	table      []int // where gotox may lead, indices in insns, ascending

	// insns has an element per slot; the second slot of LDDW is zero.
	insns   []instruction
	blocks  []Block
	blockOf []int32 // by slot

	// sequence lists the blocks that can be come to, in reverse postorder: but
	// for loops, a block comes after its predecessors.
	sequence []int
	entered  []bool // by block: whether it is one of these
}

// Block is a stretch of instructions that is only entered at its start and only
// left at its end.
type Block struct {
	Start, End int // slots, the end exclusive

	// Succs are the indices of the blocks that can come next. If the block ends
	// in a conditional jump the first is where it falls through, the second is
	// the jump's target, even if they are the same. If it ends in gotox they are
	// all different.
	Succs []int

	// Preds are the indices of the blocks that have this one among their Succs,
	// each once.
	Preds []int
}

// NewFunction decodes the instructions in the slots [start, end) of a section
// and finds basic blocks.
//
// Gotox, a jump to an address in a register, takes it from a table. It may lead
// to any slot in the table that is in the function, and the table has to have
// such a slot. The kernel takes all tables of a program together, too
// (visit_gotox_insn).
//
// Code whose jumps leave these slots, that falls off their end, or that no
// instruction set defines is an error.
func NewFunction(code []byte, order binary.ByteOrder, start, end int, table ...int) (*Function, error) {
	if start < 0 || end <= start || end > len(code)/insn.SlotSize {
		return nil, fmt.Errorf("slots %d to %d are no function in a section of %d bytes", start, end, len(code))
	}
	f := &Function{start: start, end: end, order: order}
	if err := f.decode(code[start*insn.SlotSize : end*insn.SlotSize]); err != nil {
		return nil, err
	}
	for _, slot := range table {
		if slot >= start && slot < end {
			f.table = append(f.table, slot-start)
		}
	}
	slices.Sort(f.table)
	f.table = slices.Compact(f.table)
	if err := f.findBlocks(); err != nil {
		return nil, err
	}
	f.connect()
	f.sequence = postorder(len(f.blocks), 0, func(b int) []int { return f.blocks[b].Succs })
	slices.Reverse(f.sequence)
	f.entered = make([]bool, len(f.blocks))
	for _, b := range f.sequence {
		f.entered[b] = true
	}
	return f, nil
}

// Start and End return the slots that the function lies in, the end exclusive.
func (f *Function) Start() int { return f.start }
func (f *Function) End() int   { return f.end }

// Blocks returns the basic blocks in the order of their slots. The first is
// where the function is entered.
func (f *Function) Blocks() []Block { return f.blocks }

// HasLoop reports whether some path comes to an instruction again.
func (f *Function) HasLoop() bool {
	order := make([]int, len(f.blocks))
	for n, b := range f.sequence {
		order[b] = n
	}
	return slices.ContainsFunc(f.sequence, func(b int) bool {
		return slices.ContainsFunc(f.blocks[b].Succs, func(succ int) bool { return order[succ] <= order[b] })
	})
}

// LastOf returns the slot of a block's last instruction, given the block's index.
func (f *Function) LastOf(b int) int { return f.start + f.lastIndex(b) }

// Leads reports whether some path leads from one slot to another, which may be
// the same.
func (f *Function) Leads(from, to int) bool {
	start, end := f.BlockAt(from), f.BlockAt(to)
	if start < 0 || end < 0 {
		return false
	}
	if start == end && from < to {
		return true
	}
	seen := make([]bool, len(f.blocks))
	for work := slices.Clone(f.blocks[start].Succs); len(work) > 0; {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		if b == end {
			return true
		}
		if !seen[b] {
			seen[b] = true
			work = append(work, f.blocks[b].Succs...)
		}
	}
	return false
}

// Entered reports whether some path leads from the function's start to a slot,
// whatever decides the jumps on it.
func (f *Function) Entered(slot int) bool {
	b := f.BlockAt(slot)
	return b >= 0 && f.entered[b]
}

// BlockAt returns the index of the block that a slot lies in, or -1 if the slot
// is not in the function.
func (f *Function) BlockAt(slot int) int {
	if slot < f.start || slot >= f.end {
		return -1
	}
	return int(f.blockOf[slot-f.start])
}

// Arguments returns how many arguments the function reads, for all that its code
// says: the number of the last register of r1 to r5 that it reads before it
// writes it.
func (f *Function) Arguments() int {
	atStart := f.Liveness(5).in[0] & insn.Arguments
	return bits.Len16(uint16(atStart >> 1))
}

// Declare says how many arguments the function takes that is called at a slot.
// Without it a kfunc or a function of the program is taken to read r1 to r5, as
// far as they hold a value.
func (f *Function) Declare(slot, count int) {
	if i := f.index(slot); i >= 0 && f.insns[i].IsCall() {
		f.insns[i].Uses &^= insn.Arguments &^ (1<<(count+1) - 1)
	}
}

// DeclareVoid says that nobody reads what the function leaves in r0.
func (f *Function) DeclareVoid() {
	for i := range f.insns {
		if f.insns[i].Exits() {
			f.insns[i].Uses = 0
		}
	}
}

func (f *Function) decode(code []byte) error {
	f.insns = make([]instruction, len(code)/insn.SlotSize)
	for i := 0; i < len(f.insns); {
		ins, err := insn.Decode(code[i*insn.SlotSize:], f.order)
		if err != nil {
			return fmt.Errorf("instruction %d: %w", f.start+i, err)
		}
		f.insns[i] = instruction{ins}
		i += ins.Slots()
	}
	return nil
}

// maxTargets bounds how many targets all gotox of a function have: each has all
// slots in the tables.
const maxTargets = 1 << 18

// leaders marks the slots where a block starts.
func (f *Function) leaders() ([]bool, error) {
	leader := make([]bool, len(f.insns)+1)
	leader[0] = true
	count := 0
	for i := 0; i < len(f.insns); i += f.insns[i].Slots() {
		ins := &f.insns[i]
		if !ins.Jumps() && !ins.Exits() {
			continue
		}
		leader[i+1] = true
		if !ins.Jumps() {
			continue
		}
		targets := f.targets(i)
		if len(targets) == 0 {
			return nil, fmt.Errorf("instruction %d: a jump to an address in a register leads to nobody knows where", f.start+i)
		}
		if ins.IsGotox() {
			count += len(targets)
		}
		if count > maxTargets {
			return nil, fmt.Errorf("instruction %d: the jumps to addresses in registers have more than %d targets, counted for each", f.start+i, maxTargets)
		}
		for _, target := range targets {
			if target < 0 || target >= len(f.insns) || f.insns[target].IsSecondHalf() {
				return nil, fmt.Errorf("instruction %d jumps to %d, where the function has no instruction", f.start+i, f.start+target)
			}
			leader[target] = true
		}
	}
	return leader, nil
}

// targets returns where the jump at index i may lead, other than to the next
// instruction.
func (f *Function) targets(i int) []int {
	ins := &f.insns[i]
	if ins.IsGotox() {
		return f.table
	}
	distance, _, _ := ins.Distance() // Decode refuses what it does not know
	return []int{i + 1 + distance}
}

func (f *Function) findBlocks() error {
	leader, err := f.leaders()
	if err != nil {
		return err
	}
	f.blockOf = make([]int32, len(f.insns))
	for i := range f.insns {
		if leader[i] {
			f.blocks = append(f.blocks, Block{Start: f.start + i})
		}
		f.blockOf[i] = int32(len(f.blocks) - 1)
	}
	for b := range f.blocks {
		f.blocks[b].End = f.end
		if b+1 < len(f.blocks) {
			f.blocks[b].End = f.blocks[b+1].Start
		}
	}
	if f.last(len(f.blocks) - 1).FallsThrough() {
		return errors.New("the function's last instruction runs on into what follows")
	}
	return nil
}

func (f *Function) connect() {
	for b := range f.blocks {
		block, last := &f.blocks[b], f.last(b)
		if last.FallsThrough() {
			block.Succs = append(block.Succs, b+1)
		}
		if last.Jumps() {
			for _, target := range f.targets(f.lastIndex(b)) {
				block.Succs = append(block.Succs, int(f.blockOf[target]))
			}
		}
		for n, succ := range block.Succs {
			if n == 0 || succ != block.Succs[0] {
				f.blocks[succ].Preds = append(f.blocks[succ].Preds, b)
			}
		}
	}
}

// lastIndex returns where a block's last instruction is.
func (f *Function) lastIndex(b int) int {
	i := f.blocks[b].End - f.start - 1
	if f.insns[i].IsSecondHalf() {
		i--
	}
	return i
}

func (f *Function) last(b int) *instruction { return &f.insns[f.lastIndex(b)] }

// span returns the indices of a block's instructions.
func (f *Function) span(b int) (from, to int) {
	return f.blocks[b].Start - f.start, f.blocks[b].End - f.start
}

// index returns a slot's place in insns, or -1 if no instruction starts there.
func (f *Function) index(slot int) int {
	if slot < f.start || slot >= f.end || f.insns[slot-f.start].IsSecondHalf() {
		return -1
	}
	return slot - f.start
}

// postorder lists the nodes that can be reached from root, each after those
// that were first reached through it.
func postorder(nodes, root int, next func(int) []int) []int {
	type visit struct{ node, child int }
	order := make([]int, 0, nodes)
	seen := make([]bool, nodes)
	seen[root] = true
	for stack := []visit{{root, 0}}; len(stack) > 0; {
		top := &stack[len(stack)-1]
		children := next(top.node)
		if top.child == len(children) {
			order = append(order, top.node)
			stack = stack[:len(stack)-1]
			continue
		}
		child := children[top.child]
		top.child++
		if !seen[child] {
			seen[child] = true
			stack = append(stack, visit{child, 0})
		}
	}
	return order
}

// ranks inverts a list of nodes; those that are not in it get -1.
func ranks(sequence []int, nodes int) []int {
	rank := make([]int, nodes)
	for node := range rank {
		rank[node] = -1
	}
	for at, node := range sequence {
		rank[node] = at
	}
	return rank
}

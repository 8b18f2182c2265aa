package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// sideBySide follows two programs side by side along all their paths: what we
// make of an object, and what libbpf does.
type sideBySide struct {
	ours, theirs []uint64
	edits        map[int][]slotEdit // by slot of theirs
	recorded     map[int]bool       // slots of theirs with a record of ours
	seen         map[position]bool
	work         []position
}

// position is a slot in each of the two.
type position struct{ ours, theirs int }

// slotEdit is one of our edits, in slots.
type slotEdit struct {
	before int
	after  []uint64
}

func newSideBySide(t *testing.T, ours, theirs []uint64, starts map[string]int, edits []rewrite.Edit) *sideBySide {
	t.Helper()
	c := &sideBySide{
		ours: ours, theirs: theirs,
		edits: make(map[int][]slotEdit), recorded: make(map[int]bool), seen: make(map[position]bool),
	}
	for _, e := range edits {
		start, linked := starts[e.Access.Program]
		if !linked {
			continue
		}
		own := rewrite.Patch{Insn: e.Access.Insn, Before: e.Before, After: e.After}
		c.recorded[start+own.Insn-e.Access.FunctionStart] = true
		for _, patch := range append(e.Others, own) {
			at := start + patch.Insn - e.Access.FunctionStart
			c.edits[at] = append(c.edits[at], slotEdit{patch.Before.Slots(), encodeWords(t, patch.After)})
		}
	}
	return c
}

func (c *sideBySide) run() error {
	c.push(position{0, 0})
	for len(c.work) > 0 {
		at := c.work[len(c.work)-1]
		c.work = c.work[:len(c.work)-1]
		if err := c.step(at); err != nil {
			return fmt.Errorf("instruction %d, libbpf's %d: %w", at.ours, at.theirs, err)
		}
	}
	return nil
}

func (c *sideBySide) push(at position) {
	if !c.seen[at] {
		c.seen[at] = true
		c.work = append(c.work, at)
	}
}

// step compares an instruction of each, or our edit of it, and goes on with what
// can come next.
func (c *sideBySide) step(at position) error {
	at = position{afterGoto(c.ours, at.ours), afterGoto(c.theirs, at.theirs)}
	if at.ours < 0 || at.theirs < 0 {
		return errors.New("runs out of the program")
	}
	edits := c.edits[at.theirs]
	for _, e := range edits {
		end := at.ours + len(e.after)
		if end <= len(c.ours) && slices.Equal(c.ours[at.ours:end], e.after) {
			c.push(position{end, at.theirs + e.before})
			return nil
		}
	}
	if c.recorded[at.theirs] {
		return fmt.Errorf("is none of the edits %x", edits)
	}
	same, next := leads(c.theirs, at.theirs)
	oursSame, oursNext := leads(c.ours, at.ours)
	if !slices.Equal(oursSame, same) {
		return fmt.Errorf("%x instead of %x", oursSame, same)
	}
	for i := range next {
		c.push(position{oursNext[i], next[i]})
	}
	return nil
}

// afterGoto returns where gotos lead from a slot, or -1 if not into the program.
func afterGoto(words []uint64, at int) int {
	const short, long = 0x05, 0x06
	for range words {
		switch {
		case at < 0 || at >= len(words):
			return -1
		case byte(words[at]) == short:
			at += 1 + int(int16(words[at]>>16))
		case byte(words[at]) == long:
			at += 1 + immediate(words[at])
		default:
			return at
		}
	}
	return -1
}

// leads returns what there is of an instruction apart from distances, and which
// slots can come next, those of a function that it names included.
func leads(words []uint64, at int) (same []uint64, next []int) {
	const lddw, call, exit, pseudoCall, pseudoFunc = 0x18, 0x85, 0x95, 0x10, 0x40
	word := words[at]
	opcode, source := byte(word), byte(word>>8)&0xf0
	switch {
	case opcode == exit:
		return []uint64{word}, nil
	case opcode == lddw && source == pseudoFunc:
		return []uint64{word & 0xffffffff, words[at+1]}, []int{at + 2, at + 1 + immediate(word)}
	case opcode == lddw:
		return []uint64{word, words[at+1]}, []int{at + 2}
	case opcode == call && source == pseudoCall:
		return []uint64{word & 0xffffffff}, []int{at + 1, at + 1 + immediate(word)}
	case opcode != call && (opcode&7 == 5 || opcode&7 == 6):
		return []uint64{word &^ 0xffff0000}, []int{at + 1, at + 1 + int(int16(word>>16))}
	}
	return []uint64{word}, []int{at + 1}
}

func encodeWords(t *testing.T, insns rewrite.Instructions) []uint64 {
	t.Helper()
	var code bytes.Buffer
	for _, ins := range insns {
		if _, err := ins.Marshal(&code, binary.LittleEndian); err != nil {
			t.Fatal(err)
		}
	}
	words := make([]uint64, code.Len()/reloc.InstructionSize)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(code.Bytes()[i*reloc.InstructionSize:])
	}
	return words
}

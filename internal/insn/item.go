package insn

import "github.com/cilium/ebpf/asm"

// Item is an instruction of a sequence that takes the place of one of the program's, and
// what it is there for.
type Item struct {
	asm.Instruction
	Kind Kind

	// Origin is, of an instruction from code that is put in line, its slot there plus 1.
	Origin int32
}

// Kind says what an instruction of a sequence is there for.
type Kind uint8

// The kinds of instruction in a sequence.
const (
	Compute Kind = iota // works on registers, or on memory that is not the field's
	Field               // loads or stores what the sequence is for, through the program's pointer
	Spill               // keeps a register on the stack that the program still needs
	Restore             // and gives it its value back
	Jump                // leads to another one of the sequence, or to its end
	Stack               // makes an address on the stack that the sequence has for itself
)

package code

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// slotSize is the size of struct bpf_insn: opcode, registers, offset (16 bits),
// immediate (32 bits). LDDW is two of them.
const slotSize = 8

// Positions in struct bpf_insn.
const (
	insnRegisters = 1
	insnOffset    = 2
	insnImmediate = 4
)

// Opcodes, from include/uapi/linux/bpf.h.
const (
	opLDDW     = 0x18 // BPF_LD | BPF_IMM | BPF_DW
	opGoto     = 0x05 // BPF_JMP | BPF_JA
	opGotox    = 0x0d // BPF_JMP | BPF_JA | BPF_X: to an address in a register
	opGotol    = 0x06 // BPF_JMP32 | BPF_JA
	opCall     = 0x85 // BPF_JMP | BPF_CALL
	opCallx    = 0x8d // BPF_JMP | BPF_CALL | BPF_X
	opExit     = 0x95 // BPF_JMP | BPF_EXIT
	opMayGoto  = 0xe5 // BPF_JMP | BPF_JCOND
	classMask  = 0x07
	classJMP   = 0x05
	classJMP32 = 0x06
	sourceMask = 0x08

	pseudoCall = 1 // BPF_PSEUDO_CALL, a source register
	pseudoFunc = 4 // BPF_PSEUDO_FUNC
)

// conditional has the operations, without class and source, of conditional
// jumps: BPF_JEQ to BPF_JSGE, BPF_JLT to BPF_JSLE.
var conditional = map[byte]bool{
	0x10: true, 0x20: true, 0x30: true, 0x40: true, 0x50: true, 0x60: true, 0x70: true,
	0xa0: true, 0xb0: true, 0xc0: true, 0xd0: true,
}

var (
	errHalfLDDW = errors.New("half an LDDW")
	errNotKnown = errors.New("unknown kind of jump: made by a newer compiler than this program knows")
)

// distanceKind is where an instruction keeps the distance to another, by its
// number of bits: in the offset or in the immediate.
type distanceKind int

const (
	noDistance  distanceKind = 0
	inOffset    distanceKind = 16
	inImmediate distanceKind = 32
)

// distanceField returns where an instruction keeps a distance. If a relocation
// patches it, the immediate is something else.
func distanceField(raw []byte, order binary.ByteOrder) (distanceKind, error) {
	opcode := raw[0]
	switch class := opcode & classMask; {
	case opcode == opLDDW && source(raw, order) == pseudoFunc,
		opcode == opCall && source(raw, order) == pseudoCall,
		opcode == opGotol:
		return inImmediate, nil
	case opcode == opGoto, opcode == opMayGoto:
		return inOffset, nil
	case opcode == opCall, opcode == opCallx, opcode == opExit, opcode == opGotox:
		return noDistance, nil
	case class != classJMP && class != classJMP32:
		return noDistance, nil
	case conditional[opcode&^(classMask|sourceMask)]:
		return inOffset, nil
	}
	return noDistance, fmt.Errorf("opcode %#02x: %w", opcode, errNotKnown)
}

func (k distanceKind) get(raw []byte, order binary.ByteOrder) int {
	if k == inOffset {
		return int(int16(order.Uint16(raw[insnOffset:])))
	}
	return int(immediate(raw, order))
}

// put returns whether the distance fits.
func (k distanceKind) put(raw []byte, order binary.ByteOrder, distance int) bool {
	switch {
	case k == inOffset && distance == int(int16(distance)):
		order.PutUint16(raw[insnOffset:], uint16(distance))
	case k == inImmediate && distance >= math.MinInt32 && distance <= math.MaxInt32:
		order.PutUint32(raw[insnImmediate:], uint32(distance))
	default:
		return false
	}
	return true
}

func immediate(raw []byte, order binary.ByteOrder) int32 {
	return int32(order.Uint32(raw[insnImmediate:]))
}

// source returns the source register. The two halves of the byte change places
// with the byte order, being bit-fields.
func source(raw []byte, order binary.ByteOrder) byte {
	if order == binary.BigEndian {
		return raw[insnRegisters] & 0xf
	}
	return raw[insnRegisters] >> 4
}

// findLDDW returns which slots are the second half of an LDDW, and -1 or the
// first slot that is half of one only.
func findLDDW(code []byte) (second []bool, bad int) {
	second = make([]bool, len(code)/slotSize)
	for slot := 0; slot < len(second); slot++ {
		switch code[slot*slotSize] {
		case 0: // what the second half's opcode is
			return nil, slot
		case opLDDW:
			if slot+1 == len(second) || code[(slot+1)*slotSize] != 0 {
				return nil, slot
			}
			slot++
			second[slot] = true
		}
	}
	return second, -1
}

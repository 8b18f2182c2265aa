package insn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// DistanceField is where a slot keeps a distance, by its number of bits.
type DistanceField int

// The fields that have distances.
const (
	NoDistance  DistanceField = 0
	InOffset    DistanceField = 16
	InImmediate DistanceField = 32
)

var errUnknownJump = errors.New("unknown kind of jump: made by a newer compiler than this program knows")

// Distance returns how far it is to the instruction that this one jumps to, calls, or
// takes the address of, in slots from the next slot, and the field that says so. If a
// relocation patches the instruction, the number is another one.
//
// NoDistance is that of an instruction that leads nowhere, or to what a register has. It
// refuses jumps that are not known.
func (ins *Instruction) Distance() (slots int, in DistanceField, err error) {
	switch {
	case ins.Op == LDDW && ins.Src == PseudoFunc, ins.IsLocalCall():
		return int(int32(ins.Imm)), InImmediate, nil
	case !ins.IsJump():
		return 0, NoDistance, nil
	case !ins.isKnownJump():
		return 0, NoDistance, fmt.Errorf("opcode %#02x: %w", ins.Op, errUnknownJump)
	case ins.IsLongJump():
		return int(ins.Imm), InImmediate, nil
	case ins.Jumps() && !ins.IsGotox():
		return int(ins.Off), InOffset, nil
	}
	return 0, NoDistance, nil
}

// isKnownJump reports whether an instruction set defines a jump, call or exit.
func (ins *Instruction) isKnownJump() bool {
	switch code, is32 := ins.Code(), ins.Class() == ClassJMP32; {
	case code > OpJCOND:
		return false
	case code == OpJA:
		return !is32 || !ins.FromReg()
	case code == OpCALL:
		return !is32
	case code == OpEXIT, code == OpJCOND:
		return !is32 && !ins.FromReg()
	}
	return true
}

// Put writes a distance to the field of the slot at the start of code, and returns
// whether it fits.
func (f DistanceField) Put(code []byte, order binary.ByteOrder, distance int) bool {
	switch {
	case f == InOffset && distance == int(int16(distance)):
		order.PutUint16(code[offsetAt:], uint16(distance))
	case f == InImmediate && distance >= math.MinInt32 && distance <= math.MaxInt32:
		order.PutUint32(code[ImmediateAt:], uint32(distance))
	default:
		return false
	}
	return true
}

// SecondHalves returns which slots of code are the second half of an LDDW, and -1, or
// the first slot that is half of one only.
func SecondHalves(code []byte) (second []bool, bad int) {
	second = make([]bool, len(code)/SlotSize)
	for slot := 0; slot < len(second); slot++ {
		switch code[slot*SlotSize] {
		case 0: // what the second half's opcode is
			return nil, slot
		case LDDW:
			if slot+1 == len(second) || code[(slot+1)*SlotSize] != 0 {
				return nil, slot
			}
			slot++
			second[slot] = true
		}
	}
	return second, -1
}

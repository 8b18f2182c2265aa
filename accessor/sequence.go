package accessor

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// sequence is what takes the place of an instruction.
type sequence struct {
	order    binary.ByteOrder
	code     []byte
	jumps    []code.Jump
	kept     int // the slot that the instruction's records are for
	attached code.Attached
	err      error
}

func (q *sequence) slots() int { return len(q.code) / insn.SlotSize }

func (q *sequence) put(list ...asm.Instruction) {
	for _, ins := range list {
		if q.err == nil {
			q.code, q.err = insn.Append(q.code, ins, q.order)
		}
	}
}

// move puts a register's value into another one.
func (q *sequence) move(to, from asm.Register) {
	if to != from {
		q.put(asm.Mov.Reg(to, from))
	}
}

// load puts the load of an instruction from another address, into another register.
func (q *sequence) load(ins *insn.Instruction, to, from asm.Register, offset int16) {
	q.put(asm.Instruction{OpCode: asm.OpCode(ins.Op), Dst: to, Src: from, Offset: offset})
}

// call puts a call of bpf_rdonly_cast, and its second argument in front of what saves
// registers. What is saved lies at the lowest places of the stack, in the order that the
// verifier knows (mark_fastcall_pattern_for_call of kernel/bpf/verifier.c): where it
// makes a single instruction of the call it takes out what saves, too.
func (q *sequence) call(c *cast, saved []asm.Register, lowest int16) {
	carrier := int32(c.carrier)
	if c.record != nil {
		record := *c.record
		carrier = int32(record.TypeID) // as long as no loader has put in the kernel's
		record.InsnOffset = uint32(len(q.code))
		q.attached.CORERelos = append(q.attached.CORERelos, record)
	}
	q.put(asm.Mov.Imm(asm.R2, carrier))
	for i := len(saved) - 1; i >= 0; i-- {
		q.put(asm.StoreMem(asm.RFP, lowest+int16(8*i), saved[i], asm.DWord))
	}
	call := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: int64(c.id)}
	if c.id == 0 { // as compilers write a call that a relocation is for
		call.Src = asm.PseudoCall
		q.attached.Relocations = append(q.attached.Relocations, code.Relocation{At: q.slots(), Symbol: c.symbol})
		call.Constant = -1
	}
	q.put(call)
	for i, register := range saved {
		q.put(asm.LoadMem(register, asm.RFP, lowest+int16(8*i), asm.DWord))
	}
}

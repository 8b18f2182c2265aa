package rewrite

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/convert"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// body is code that is put in line in place of a load: it finds the load's address in
// r1, and leaves a number in r0. It only jumps within itself, or to its end.
type body struct {
	code     []insn.Item
	attached code.Attached // what the code refers to, by slot
	frame    int           // bytes of the stack that it uses below r10, which are its own
	context  bool          // it finds ctx in r2
	packet   bool          // it reads bytes beside the packet
	isBound  bool          // the program is bound to the device, so that none comes before it
	atStart  bool          // it is run when the program starts, and its number kept
	loads    uint32        // how many bytes the last instruction loads into r0, if that is all that leads to the end; or 0
	calls    string        // the function that it is nothing but a call of; empty otherwise
}

// callOf returns a body that calls a function of the object, given by its symbol.
func callOf(object *elfobj.Object, function int, name string) *body {
	call := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: -1}
	return &body{
		code:     []insn.Item{{Instruction: call, Origin: 1}},
		attached: code.Attached{Relocations: []code.Relocation{referenceTo(object, function)}},
		calls:    name,
	}
}

// referenceTo returns how the first instruction refers to a function, given by its symbol.
// Static ones are at an offset from their section's symbol, which is all that loaders take
// (sym_is_subprog of libbpf).
func referenceTo(object *elfobj.Object, function int) code.Relocation {
	symbol := object.Symbols[function]
	if elf.ST_BIND(symbol.Info) != elf.STB_LOCAL {
		return code.Relocation{Symbol: function}
	}
	section := slices.IndexFunc(object.Symbols, func(other elf.Symbol) bool {
		return elf.ST_TYPE(other.Info) == elf.STT_SECTION && other.Section == symbol.Section
	})
	return code.Relocation{Symbol: section, Addend: int64(symbol.Value)}
}

// note adds what is to be said of the code to a note about an edit.
func (b *body) note(note string) string {
	var notes []string
	if note != "" {
		notes = append(notes, note)
	}
	if b.calls != "" {
		notes = append(notes, "calls "+b.calls)
	}
	if b.packet && !b.isBound {
		notes = append(notes, "as long as nobody has moved the packet, or written in front of it, before this program")
	}
	return strings.Join(notes, ", ")
}

// newBody returns the body of a function, whose exits are jumps to the end then. An exit
// that is the last instruction goes.
func newBody(function *code.Function, order binary.ByteOrder) (*body, error) {
	b := &body{attached: function.Attached}
	end := len(function.Code) / insn.SlotSize
	if last := insn.Read(function.Code[(end-1)*insn.SlotSize:], order); last.Exits() {
		end--
	}
	for slot := 0; slot < end; {
		ins, err := insn.ToAsm(function.Code[slot*insn.SlotSize:], order)
		if err != nil {
			return nil, fmt.Errorf("instruction %d: %w", slot, err)
		}
		width := int(ins.Width())
		item := insn.Item{Instruction: ins, Origin: int32(slot + 1)}
		if ins.OpCode.Class().IsJump() && ins.OpCode.JumpOp() == asm.Exit {
			item = insn.Item{Instruction: asm.Ja.Label(""), Kind: insn.Jump, Origin: int32(slot + 1)}
			item.Constant, item.Offset = 0, int16(end-slot-width)
		}
		b.code = append(b.code, item)
		if err := b.noteFrame(); err != nil {
			return nil, fmt.Errorf("instruction %d: %w", slot, err)
		}
		slot += width
	}
	b.loads = b.loaded()
	return b, nil
}

// loaded returns how many bytes the code ends with a load of, if nothing else leads to its
// end.
func (b *body) loaded() uint32 {
	if len(b.code) == 0 {
		return 0
	}
	slots := Instructions(b.code).Slots()
	for _, item := range b.code {
		encoded, err := insn.FromAsm(item.Instruction)
		if err != nil {
			return 0
		}
		if distance, field, err := encoded.Distance(); err != nil || field != insn.NoDistance && encoded.Jumps() && int(item.Origin)+distance >= slots {
			return 0
		}
	}
	last := b.code[len(b.code)-1].Instruction
	if last.OpCode.Class() != asm.LdXClass || last.OpCode.Mode() != asm.MemMode || last.Dst != asm.R0 {
		return 0
	}
	return insn.Bytes(last)
}

// noteFrame notes how much of the stack the last instruction uses. An address there is made
// of r10 and a constant, which comes next.
func (b *body) noteFrame() error {
	item := &b.code[len(b.code)-1]
	depth := -int(item.Offset)
	switch ins := item.Instruction; {
	case insn.IsMemory(ins) && ins.OpCode.Class() == asm.LdXClass && ins.Src == asm.RFP:
		item.Kind = insn.Restore
	case insn.IsMemory(ins) && ins.OpCode.Class() != asm.LdXClass && ins.Dst == asm.RFP:
		item.Kind = insn.Spill
	case len(b.code) > 1 && isFrame(b.code[len(b.code)-2].Instruction):
		if frame := b.code[len(b.code)-2]; ins.OpCode != asm.Add.Op(asm.ImmSource) || ins.Dst != frame.Dst || ins.Constant >= 0 {
			return fmt.Errorf("%s: nothing tells which byte of the stack is meant", insn.Spell(frame.Instruction))
		}
		item.Kind, depth = insn.Stack, -int(ins.Constant)
	case isFrame(ins) || !insn.Mentions(ins, asm.RFP):
		return nil
	default:
		return fmt.Errorf("%s: the stack is used in a way that is not understood", insn.Spell(ins))
	}
	b.frame = max(b.frame, (depth+7)/8*8)
	return nil
}

// isFrame reports whether an instruction copies r10.
func isFrame(ins asm.Instruction) bool {
	return ins.OpCode == asm.Mov.Op(asm.RegSource) && ins.Src == asm.RFP && ins.Offset == 0
}

// clobbers returns the registers that the code does not leave as they are.
func (b *body) clobbers() (insn.Registers, error) {
	clobbered := insn.Of(asm.R0, asm.R1)
	if b.context {
		clobbered |= insn.Of(asm.R2)
	}
	for _, item := range b.code {
		encoded, err := insn.FromAsm(item.Instruction)
		if err != nil {
			return 0, err
		}
		clobbered |= encoded.Defs
	}
	return clobbered, nil
}

// inLine returns the code in place of a load, behind what keeps the registers that the
// program still needs, and in front of what makes the program's number of the result.
func (b *body) inLine(p *planner, access *reloc.Access, load loadAt, convert func(*convert.Sequence)) (Instructions, error) {
	if b.atStart {
		return b.fromStart(p, access, load, convert)
	}
	clobbered, err := b.clobbers()
	if err != nil {
		return nil, err
	}
	var context carriedPlace
	arguments := insn.Of(load.Src)
	if b.context {
		context, err = p.carriedAt(p.function(access), needContext, load.slot)
		if access.IsMarker() && errors.Is(err, errNoContext) { // md_desc() has it at hand
			context, err = carriedPlace{register: load.Src}, nil
		}
		if err != nil {
			return nil, err
		}
		if context.depth == 0 {
			arguments |= insn.Of(context.register)
		}
	}
	s := newSequence(p, len(b.code)+8)
	registers := p.registersAt(access, load.slot)
	restore, err := registers.save(s, clobbered, arguments, load.Instruction)
	if err != nil {
		return nil, err
	}
	b.passArguments(s, context, load)
	if err := b.putCode(s, registers); err != nil {
		return nil, err
	}
	if b.loads > 0 {
		s.Items[len(s.Items)-1].Dst = load.Dst
	} else {
		s.Move(load.Dst, asm.R0)
	}
	convert(s)
	restore()
	return s.Items, nil
}

// fromStart returns what takes the number from where it was put when the program started.
func (b *body) fromStart(p *planner, access *reloc.Access, load loadAt, convert func(*convert.Sequence)) (Instructions, error) {
	from, err := p.carriedAt(p.function(access), needStart, load.slot)
	if err != nil {
		return nil, err
	}
	s := newSequence(p, 4)
	s.EmitAs(insn.Restore, asm.LoadMem(load.Dst, asm.RFP, int16(-from.depth), asm.DWord))
	convert(s)
	return s.Items, nil
}

// need returns what the code needs besides the descriptor, if anything.
func (b *body) need() (what need, needed bool) {
	if b.atStart {
		return needStart, true
	}
	return needContext, b.context
}

func newSequence(p *planner, length int) *convert.Sequence {
	return &convert.Sequence{Items: make(Instructions, 0, length), Order: p.order, InstructionSet: p.object.InstructionSet()}
}

// passArguments emits what puts the load's address, and ctx, where the code finds them.
func (b *body) passArguments(s *convert.Sequence, context carriedPlace, load loadAt) {
	switch {
	case !b.context:
		s.Move(asm.R1, load.Src)
	case context.depth > 0:
		s.Move(asm.R1, load.Src)
		s.EmitAs(insn.Restore, asm.LoadMem(asm.R2, asm.RFP, int16(-context.depth), asm.DWord))
	case context.register != asm.R1:
		s.Move(asm.R1, load.Src)
		s.Move(asm.R2, context.register)
	case load.Src != asm.R2:
		s.Move(asm.R2, asm.R1)
		s.Move(asm.R1, load.Src)
	default:
		s.Move(asm.R0, asm.R1)
		s.Move(asm.R1, asm.R2)
		s.Move(asm.R2, asm.R0)
	}
	if load.past != 0 {
		s.Emit(asm.Add.Imm(asm.R1, int32(-load.past)))
	}
}

// putCode emits the code, with its part of the stack below what the function uses.
func (b *body) putCode(s *convert.Sequence, registers *slotRegisters) error {
	floor := 0
	if b.frame > 0 {
		var err error
		if floor, err = registers.floor(b.frame); err != nil {
			return err
		}
	}
	for _, item := range b.code {
		switch item.Kind {
		case insn.Spill, insn.Restore:
			item.Offset -= int16(floor)
		case insn.Stack:
			item.Constant -= int64(floor)
		}
		s.Items = append(s.Items, item)
	}
	return nil
}

// attachedTo returns what instructions refer to that a body is part of, and the source
// lines that they are from.
func (b *body) attachedTo(insns Instructions) *code.Attached {
	slots := make(map[int]int, len(insns)) // by slot of the body
	slot := 0
	for _, item := range insns {
		if item.Origin > 0 {
			slots[int(item.Origin)-1] = slot
		}
		slot += int(item.Width())
	}
	attached := new(code.Attached)
	for _, relocation := range b.attached.Relocations {
		if at, ok := slots[relocation.At]; ok {
			relocation.At = at
			attached.Relocations = append(attached.Relocations, relocation)
		}
	}
	for _, relo := range b.attached.CORERelos {
		if at, ok := slots[int(relo.InsnOffset)/insn.SlotSize]; ok {
			relo.InsnOffset = uint32(at) * insn.SlotSize
			attached.CORERelos = append(attached.CORERelos, relo)
		}
	}
	for _, line := range b.attached.Lines {
		if at, ok := slots[int(line.InsnOffset)/insn.SlotSize]; ok {
			line.InsnOffset = uint32(at) * insn.SlotSize
			attached.Lines = append(attached.Lines, line)
		}
	}
	return attached
}

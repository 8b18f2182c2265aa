package rewrite_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// movement says where the instructions of an object have gone, by section. It
// is worked out from the report alone.
type movement map[string]*sectionMovement

type sectionMovement struct {
	patches map[int]rewrite.Patch // by slot
	slots   []int                 // of the patches, sorted
}

// patchesOf returns the changes to the access's own instruction and to others.
func patchesOf(edit *rewrite.Edit) []rewrite.Patch {
	own := rewrite.Patch{Insn: edit.Access.Insn, Before: edit.Before, After: edit.After}
	return append([]rewrite.Patch{own}, edit.Others...)
}

func movementOf(t *testing.T, r rewritten) movement {
	t.Helper()
	moved := make(movement)
	for i := range r.report.Edits {
		section := r.report.Edits[i].Access.Section
		if moved[section] == nil {
			moved[section] = &sectionMovement{patches: make(map[int]rewrite.Patch)}
		}
		m := moved[section]
		for _, patch := range patchesOf(&r.report.Edits[i]) {
			if other, ok := m.patches[patch.Insn]; ok {
				if !slices.Equal(other.Before, patch.Before) || !slices.Equal(other.After, patch.After) {
					t.Errorf("section %s, slot %d: both %q and %q", section, patch.Insn, other.After, patch.After)
				}
				continue
			}
			m.patches[patch.Insn] = patch
			m.slots = append(m.slots, patch.Insn)
		}
	}
	for _, m := range moved {
		slices.Sort(m.slots)
	}
	return moved
}

// any reports whether anything has moved.
func (m movement) any() bool {
	for _, section := range m {
		for _, patch := range section.patches {
			if patch.Before.Slots() != patch.After.Slots() {
				return true
			}
		}
	}
	return false
}

// to returns where a slot has gone.
func (m *sectionMovement) to(slot int) int {
	if m == nil {
		return slot
	}
	moved := slot
	for _, at := range m.slots {
		if at >= slot {
			break
		}
		moved += m.patches[at].After.Slots() - m.patches[at].Before.Slots()
	}
	return moved
}

func (m *sectionMovement) patch(slot int) (rewrite.Patch, bool) {
	if m == nil {
		return rewrite.Patch{}, false
	}
	patch, ok := m.patches[slot]
	return patch, ok
}

// encoded returns the bytes of instructions.
func encoded(t *testing.T, order binary.ByteOrder, insns rewrite.Instructions) string {
	t.Helper()
	var code bytes.Buffer
	for _, ins := range insns {
		if _, err := ins.Marshal(&code, order); err != nil {
			t.Fatal(err)
		}
	}
	return code.String()
}

// codeWalk is the code of an object, with jumps and calls by their target.
type codeWalk struct {
	order    binary.ByteOrder
	data     map[string][]byte
	sections map[string][]walked // by slot
}

// insnPlace is an instruction of an object.
type insnPlace struct {
	section string
	slot    int
}

// walked is an instruction without the distance that it may hold, and the
// instruction that this leads to.
type walked struct {
	raw    string
	target insnPlace
}

func (w walked) slots() int {
	if asm.OpCode(w.raw[0]).IsDWordLoad() {
		return 2
	}
	return 1
}

func newCodeWalk(t *testing.T, object []byte) *codeWalk {
	t.Helper()
	file := parseELF(t, object)
	walk := &codeWalk{order: file.ByteOrder, data: make(map[string][]byte), sections: make(map[string][]walked)}
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range file.Sections {
		if section.Flags&elf.SHF_EXECINSTR == 0 || section.Size == 0 {
			continue
		}
		linked := make(map[int]elf.Symbol)
		if table := file.Section(".rel" + section.Name); table != nil {
			for data := elfData(t, table); len(data) > 0; data = data[16:] {
				symbol := symbols[elf.R_SYM64(file.ByteOrder.Uint64(data[8:]))-1]
				linked[int(file.ByteOrder.Uint64(data)/reloc.InstructionSize)] = symbol
			}
		}
		code := elfData(t, section)
		walk.data[section.Name] = code
		for slot := range len(code) / reloc.InstructionSize {
			raw := bytes.Clone(code[slot*reloc.InstructionSize:][:reloc.InstructionSize])
			symbol, isLinked := linked[slot]
			target := insnPlace{section.Name, slot + 1}
			if isLinked && int(symbol.Section) < len(file.Sections) {
				target = insnPlace{file.Sections[symbol.Section].Name, int(symbol.Value / reloc.InstructionSize)}
			}
			walk.sections[section.Name] = append(walk.sections[section.Name], walk.instruction(raw, target, isLinked, elf.ST_TYPE(symbol.Info)))
		}
	}
	return walk
}

// instruction takes the distance out of an instruction. target is where it is
// counted from: what comes next, or the start of the symbol that the
// instruction is linked to.
func (w *codeWalk) instruction(raw []byte, target insnPlace, linked bool, symbol elf.SymType) walked {
	op := asm.OpCode(raw[0])
	offset, immediate := int(int16(w.order.Uint16(raw[2:]))), int(int32(w.order.Uint32(raw[4:])))
	source := raw[1] >> 4
	if w.order == binary.BigEndian {
		source = raw[1] & 0xf
	}
	const pseudoCall, longJump = 1, 0x06
	switch {
	case op == asm.Exit.Op(asm.ImmSource), !op.Class().IsJump(), op.JumpOp() == asm.Call && source != pseudoCall:
		return walked{raw: string(raw)}
	case op.JumpOp() == asm.Call && linked && symbol == elf.STT_SECTION:
		// The distance is from the section's start, as from a next slot at -1.
		target.slot = immediate + 1
		clear(raw[4:])
	case op.JumpOp() == asm.Call && linked:
		return walked{raw: string(raw)} // the symbol tells, see relocationsOf
	case op.JumpOp() == asm.Call, op == longJump:
		target.slot += immediate
		clear(raw[4:])
	default:
		target.slot += offset
		clear(raw[2:4])
	}
	return walked{string(raw), target}
}

func (w *codeWalk) at(section string, slot int) walked { return w.sections[section][slot] }

// raw returns the bytes of some slots.
func (w *codeWalk) raw(section string, slot, count int) string {
	return string(w.data[section][slot*reloc.InstructionSize:][:count*reloc.InstructionSize])
}

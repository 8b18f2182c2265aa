package rewrite

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/reloc"
)

// span is the bytes that a load or store touches, from the start of the root
// type.
type span struct {
	offset int64
	width  uint32
}

// patchMemory edits a load or store of a field: its offset, its width, and for
// a constant that is stored, its value.
func (p *planner) patchMemory(edit *Edit, ins asm.Instruction) (asm.Instruction, string, error) {
	local, target := edit.Access.Local.Field, edit.Resolution.Field
	if local.IsBitField() && target.IsBitField() {
		return p.moveBitField(ins, local, target)
	}
	if width(ins) > local.Size {
		return ins, "", refuse(remedyReport, "the instruction %q accesses %d bytes, the field %s has %d", spell(ins), width(ins), local, local.Size)
	}
	if reloc.SameRepresentation(local, target, p.order) {
		ins, err := setSpan(ins, span{int64(target.Offset), width(ins)})
		return ins, "", err
	}
	reads := ins.OpCode.Class() == asm.LdXClass
	if err := p.checkConvertible(local, target, reads); err != nil {
		return ins, "", err
	}

	access := fieldAccess{local, target, p.order}
	switch mode := ins.OpCode.Mode(); {
	case reads && (mode == asm.MemMode || mode == asm.MemSXMode):
		return access.load(ins)
	case ins.OpCode.Class() == asm.StXClass && mode == asm.MemMode:
		return access.store(ins)
	case ins.OpCode.Class() == asm.StClass && mode == asm.MemMode:
		return access.storeConstant(ins)
	}
	return ins, "", refuse(remedySameType, "the instruction %q needs a field of the same type, and the layout has %s", spell(ins), target)
}

// checkConvertible refuses what differs in more than width.
func (p *planner) checkConvertible(local, target *reloc.Field, reads bool) error {
	const differs = "%s: %s in the program, %s in the layout"
	readsBool := reads && target.Class == reloc.Bool // 0 or 1 in an integer
	switch {
	case local.IsBitField() || target.IsBitField():
		return refuse(remedySameType, differs, "only one of the two is a bit-field", local, target)
	case local.Class != reloc.Integer || (target.Class != reloc.Integer && !readsBool):
		return refuse(remedySameType, differs, "the types differ", local, target)
	case !loadable(local.Size) || !loadable(target.Size):
		return refuse(remedySameType, differs, "the representations differ", local, target)
	case local.Swapped(p.order) != target.Swapped(p.order):
		return refuse(remedySameType, differs, "the byte order differs", local, target)
	case local.Signed != target.Signed:
		return refuse(remedySameType, differs, "the sign differs", local, target)
	case local.Swapped(p.order) && local.Size != target.Size:
		return refuse(remedySameType, differs, "the width of a field in foreign byte order differs", local, target)
	}
	return nil
}

func loadable(size uint32) bool { return size == 1 || size == 2 || size == 4 || size == 8 }

// fieldAccess is a load or store of one integer in place of another that
// differs from it in width only.
type fieldAccess struct {
	local, target *reloc.Field
	order         binary.ByteOrder
}

// lowOrder returns where the low-order bytes of the target's field are.
func (a *fieldAccess) lowOrder(width uint32) span {
	if a.order == binary.BigEndian {
		return span{int64(a.target.Offset + a.target.Size - width), width}
	}
	return span{int64(a.target.Offset), width}
}

// checkPart refuses an instruction that clang narrowed to a part of the field,
// unless that is the low-order part. It starts at the field's first byte.
func (a *fieldAccess) checkPart(ins asm.Instruction) error {
	if width(ins) < a.local.Size && a.order == binary.BigEndian {
		return refuse(remedySameType, "the instruction %q accesses the high-order part of %s, and the layout has %s", spell(ins), a.local, a.target)
	}
	return nil
}

// load reads the target's field whole where it is narrower than what the
// instruction reads, and its low-order part where it is wider.
func (a *fieldAccess) load(ins asm.Instruction) (asm.Instruction, string, error) {
	if err := a.checkPart(ins); err != nil {
		return ins, "", err
	}
	extends := ins.OpCode.Mode() == asm.MemSXMode
	if a.target.Size >= width(ins) {
		note := ""
		if a.target.Size > a.local.Size {
			note = fmt.Sprintf("reads the low-order %d of %d bytes", width(ins), a.target.Size)
		}
		ins, err := setSpan(ins, a.lowOrder(width(ins)))
		return ins, note, err
	}
	if a.local.Signed && !extends {
		return ins, "", refuse(remedySameType, "the width of a signed field differs: %s in the program, %s in the layout", a.local, a.target)
	}
	if extends && !a.local.Signed {
		// What is zero-extended from the field's width has no sign left.
		ins.OpCode = asm.LoadMemOp(ins.OpCode.Size())
	}
	ins, err := setSpan(ins, a.lowOrder(a.target.Size))
	return ins, "", err
}

// store writes the low-order part of a register to a narrower field, as C does
// when it converts. The upper bytes of a wider field can't be written.
func (a *fieldAccess) store(ins asm.Instruction) (asm.Instruction, string, error) {
	if err := a.checkPart(ins); err != nil {
		return ins, "", err
	}
	if a.target.Size > a.local.Size {
		return ins, "", refuse(remedySameType, "the store %q would leave the upper bytes of the layout's wider field unwritten: %s in the program, %s in the layout",
			spell(ins), a.local, a.target)
	}
	if width(ins) <= a.target.Size {
		ins, err := setSpan(ins, a.lowOrder(width(ins)))
		return ins, "", err
	}
	note := fmt.Sprintf("stores the low-order %d of %d bytes: larger values are truncated", a.target.Size, a.local.Size)
	ins, err := setSpan(ins, a.lowOrder(a.target.Size))
	return ins, note, err
}

// storeConstant writes a constant to a field of another width if it is the same
// number there.
func (a *fieldAccess) storeConstant(ins asm.Instruction) (asm.Instruction, string, error) {
	if width(ins) != a.local.Size {
		return ins, "", refuse(remedySameType, "the store %q writes a part of %s only, and the layout has %s", spell(ins), a.local, a.target)
	}
	value := truncated(ins.Constant, a.local.Size, a.local.Signed)
	immediate := truncated(value, min(a.target.Size, 4), true)
	if truncated(value, a.target.Size, a.local.Signed) != value || (a.target.Size == 8 && immediate != value) {
		return ins, "", refuse(remedySameType, "the constant %d does not fit into the layout's field: %s in the program, %s in the layout",
			value, a.local, a.target)
	}
	ins.Constant = immediate
	ins, err := setSpan(ins, a.lowOrder(a.target.Size))
	return ins, "", err
}

// truncated returns the number that the low-order bytes of value are.
func truncated(value int64, bytes uint32, signed bool) int64 {
	unused := 64 - bytes*8
	if signed {
		return value << unused >> unused
	}
	return int64(uint64(value) << unused >> unused)
}

// moveBitField moves an access that picks a bit-field out of the bytes around
// it. The instructions that shift and mask are not recorded and stay, so that
// the bits have to lie in the target's bytes as they do in the local ones.
func (p *planner) moveBitField(ins asm.Instruction, local, target *reloc.Field) (asm.Instruction, string, error) {
	by, err := p.bitFieldDistance(local, target)
	if err != nil {
		return ins, "", err
	}
	ins, err = setSpan(ins, span{int64(ins.Offset) + by, width(ins)})
	return ins, "", err
}

// bitFieldDistance returns by how many bytes the bits of the target are further
// than the local ones.
func (p *planner) bitFieldDistance(local, target *reloc.Field) (int64, error) {
	const differs = "the bit-field differs in %s: %s in the program, %s in the layout"
	const remedy = "read it with BPF_CORE_READ_BITFIELD"
	distance := int64(target.BitOffset) - int64(local.BitOffset)
	switch {
	case local.BitSize != target.BitSize:
		return 0, refuse(remedy, differs, "size", local, target)
	case local.Signed != target.Signed:
		return 0, refuse(remedySameType, differs, "sign", local, target)
	case local.Swapped(p.order) != target.Swapped(p.order):
		return 0, refuse(remedySameType, differs, "byte order", local, target)
	case distance%8 != 0:
		return 0, refuse(remedy, differs, "its place within the byte", local, target)
	}
	return distance / 8, nil
}

// setSpan gives a load or store its offset and width.
func setSpan(ins asm.Instruction, s span) (asm.Instruction, error) {
	if s.offset < math.MinInt16 || s.offset > math.MaxInt16 {
		return ins, refuse(remedyReport, "the offset %d does not fit into the instruction %q", s.offset, spell(ins))
	}
	ins.Offset = int16(s.offset)
	ins.OpCode = ins.OpCode.SetSize(sizes[s.width])
	return ins, nil
}

var sizes = map[uint32]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}

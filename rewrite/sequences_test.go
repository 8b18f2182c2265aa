package rewrite_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// A sequence means the field whatever the widths, places, signs and byte orders
// of the two, whatever is known of a register that is stored, and in either
// byte order of the machine: also where no compiler has been seen to ask for it.
func TestSequencesMeanTheField(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(9, 10))
	shapes := make(map[string]int)
	for range 100_000 {
		g := &sequenceCase{Rand: random}
		g.generate()
		before, after, err := g.converted()
		if err != nil {
			t.Fatalf("%+v -> %+v: %v: %v", g.local, g.target, g.ins, err)
		}
		use := &memoryUse{
			order: g.around.order, local: g.local, target: g.target, size: int(g.around.targetSize),
			before: before, after: after, needed: g.needed(), source: g.source,
		}
		for _, shape := range use.shapes() {
			shapes[shape]++
		}
		for range 4 {
			if err := use.check(random); err != nil {
				t.Fatalf("%v, %+v -> %+v: %q -> %q: %v", g.around.order, g.local, g.target, use.before, use.after, err)
			}
		}
	}
	for _, shape := range sequenceShapes {
		if shapes[shape] < 100 {
			t.Errorf("%d times %s", shapes[shape], shape)
		}
	}
}

// sequenceCase is a load or store of a field, and what the layout has for it.
type sequenceCase struct {
	*rand.Rand
	around        surroundings
	local, target *reloc.Field
	ins           asm.Instruction
	source        func(uint64) uint64
}

func (g *sequenceCase) generate() {
	g.around = surroundings{
		order:          []binary.ByteOrder{binary.LittleEndian, binary.BigEndian}[g.IntN(2)],
		instructionSet: 3 + g.IntN(2),
		free:           []asm.Register{asm.R0, asm.R3, asm.R5, asm.R6}[:g.IntN(5)],
		dies:           asm.RFP,
		constant:       func(asm.Register) (int64, bool) { return 0, false },
		extended:       func(asm.Register, int, bool) bool { return false },
	}
	g.local, g.target = g.field(), g.field()
	g.around.targetSize = max(fieldEnd(g.target), 8) + uint32(g.IntN(3)) // beyond which nothing may be read
	g.source = func(random uint64) uint64 { return random }
	offset, width := g.bytes()
	size := map[uint32]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}[width]
	isPart := !g.local.IsBitField() && width < g.local.Size
	switch {
	case g.IntN(2) == 0 || isPart && g.target.Class == reloc.Bool: // of which no part is stored
		g.load(offset, size)
	case g.IntN(4) == 0:
		g.ins = asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: asm.R1, Offset: offset, Constant: int64(int32(g.Uint32()) >> g.IntN(32))}
		if g.local.Class == reloc.Bool {
			g.ins.Constant &= 1
		}
	default:
		g.ins = asm.StoreMem(asm.R1, offset, asm.R2, size)
		g.value()
	}
}

func (g *sequenceCase) load(offset int16, size asm.Size) {
	g.ins = asm.LoadMem(asm.Register(1+g.IntN(2)), asm.R1, offset, size)
	extends := g.local.Class == reloc.Integer && !g.local.IsBitField() && size != asm.DWord
	if extends && g.around.instructionSet == 4 && g.IntN(2) == 0 {
		g.ins.OpCode = asm.LoadMemSXOp(size)
	}
}

// value chooses what is known of the register that is stored.
func (g *sequenceCase) value() {
	if g.IntN(2) == 0 {
		g.around.dies = g.ins.Src
	}
	switch bits := 1 + g.IntN(64); g.IntN(4) {
	case 0:
		value := g.Uint64() >> g.IntN(64)
		if g.IntN(2) == 0 {
			value = ^value
		}
		if g.local.Class == reloc.Bool {
			value &= 1
		}
		g.around.constant = func(reg asm.Register) (int64, bool) { return int64(value), reg == g.ins.Src }
		g.around.extended = func(reg asm.Register, bits int, signed bool) bool {
			return reg == g.ins.Src && interpret.Extended(value, bits, signed) == value
		}
		g.source = func(uint64) uint64 { return value }
	case 1:
		g.know(bits, false)
	case 2:
		g.know(bits, true)
	}
}

// know makes the register a number that is extended from so many bits.
func (g *sequenceCase) know(bits int, signed bool) {
	g.source = func(random uint64) uint64 { return interpret.Extended(random, bits, signed) }
	g.around.extended = func(reg asm.Register, from int, asSigned bool) bool {
		enough := bits <= from && signed == asSigned || bits < from && !signed
		return reg == g.ins.Src && enough
	}
}

// field returns a random field: a plain number, a bool, or a bit-field.
func (g *sequenceCase) field() *reloc.Field {
	size := uint32(1) << g.IntN(4)
	f := &reloc.Field{Type: "field", Offset: uint32(g.IntN(24)), Size: size, Signed: g.IntN(2) == 0}
	switch g.IntN(8) {
	case 0:
		f.Size, f.Class, f.Signed = 1, reloc.Bool, false
	case 1:
		f.Size, f.Class, f.Signed, f.BitSize = 1, reloc.Bool, false, 1
		f.BitOffset = f.Offset*8 + uint32(g.IntN(8))
	case 2, 3, 4:
		f.BitSize = 1 + uint32(g.IntN(int(size)*8))
		f.BitOffset = f.Offset*8 + uint32(g.IntN(int(size*8-f.BitSize)+1))
	default:
		if size > 1 {
			f.Order = []reloc.Order{reloc.Native, reloc.BigEndian, reloc.LittleEndian}[g.IntN(3)]
		}
	}
	return f
}

// fieldEnd returns where a field ends, or the bytes that hold a bit-field.
func fieldEnd(f *reloc.Field) uint32 {
	if f.IsBitField() {
		return (f.BitOffset + f.BitSize + 7) / 8
	}
	return f.Offset + f.Size
}

// bytes returns the bytes that the program moves: those of the field or a part of
// them, or some that a bit-field is among.
func (g *sequenceCase) bytes() (offset int16, width uint32) {
	if !g.local.IsBitField() {
		width = g.local.Size >> g.IntN(2)
		width = max(width, 1)
		return int16(g.local.Offset + width*uint32(g.IntN(int(g.local.Size/width)))), width
	}
	first, last := g.local.BitOffset/8, (g.local.BitOffset+g.local.BitSize-1)/8
	for width = 1; width < 8 && (width <= last-first || g.IntN(2) == 0); width *= 2 {
	}
	before := min(first, uint32(g.IntN(int(width-(last-first)))))
	return int16(first - before), width
}

// converted returns the load or store and what it becomes, of a load perhaps
// together with what picks the number out of the bytes.
func (g *sequenceCase) converted() (before, after rewrite.Instructions, err error) {
	before = instructions(g.ins)
	picks := g.ins.OpCode == asm.LoadMemOp(g.ins.OpCode.Size()) && g.local.Class == reloc.Integer && !isSwapped(g.local, g.around.order)
	moved, shift := g.ins.OpCode.Size().Sizeof()*8, int(g.local.BitOffset)-int(g.ins.Offset)*8
	number := fieldBits(g.local)
	if !g.local.IsBitField() {
		picks, shift = picks && number == moved, 0
	}
	if !picks || g.IntN(2) == 0 {
		after, err = g.around.converted(g.ins, g.local, g.target)
		return before, after, err
	}
	if g.around.order == binary.BigEndian {
		shift = moved - shift - number
	}
	size, down := 4, asm.RSh
	if g.local.Signed {
		down = asm.ArSh
	}
	if moved == 64 || g.IntN(2) == 0 {
		size = 8
		before = append(before, instructions(asm.LSh.Imm(g.ins.Dst, int32(64-shift-number)), down.Imm(g.ins.Dst, int32(64-number)))...)
	} else {
		before = append(before, instructions(asm.LSh.Imm32(g.ins.Dst, int32(32-shift-number)), down.Imm32(g.ins.Dst, int32(32-number)))...)
	}
	after, err = g.around.pickedOut(g.ins, g.local, g.target, uint32(size))
	return before, after, err
}

// needed are the registers that a sequence must not change.
func (g *sequenceCase) needed() map[asm.Register]bool {
	needed := make(map[asm.Register]bool)
	for reg := range asm.RFP {
		needed[reg] = reg != g.around.dies
	}
	for _, free := range g.around.free {
		needed[free] = false
	}
	return needed
}

package code_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"github.com/xdp-load/xdp-load/internal/elfobj"
)

var orders = map[string]binary.ByteOrder{"little endian": binary.LittleEndian, "big endian": binary.BigEndian}

// ins is an instruction slot.
type ins struct {
	opcode   byte
	dst, src byte
	offset   int16
	imm      int32
}

// Opcodes, from include/uapi/linux/bpf.h.
const (
	jeq     = 0x15
	jne32   = 0x56
	jltReg  = 0xad
	mov     = 0xb7
	lddw    = 0x18
	opGoto  = 0x05
	opGotol = 0x06
	opCall  = 0x85
	opExit  = 0x95
	opMay   = 0xe5
	opGotox = 0x0d
	mulImm  = 0x27

	pseudoCall = 1
	pseudoFunc = 4
)

func set(to int32) ins       { return ins{opcode: mov, imm: to} }
func jump(offset int16) ins  { return ins{opcode: opGoto, offset: offset} }
func gotol(distance int) ins { return ins{opcode: opGotol, imm: int32(distance)} }
func call(distance int) ins  { return ins{opcode: opCall, src: pseudoCall, imm: int32(distance)} }
func helper(id int32) ins    { return ins{opcode: opCall, imm: id} }

var (
	exit = ins{opcode: opExit}
	nop  = jump(0)
)

// load is both halves of an LDDW.
func load(imm int32) []ins { return []ins{{opcode: lddw, dst: 1, imm: imm}, {}} }

func function(imm int32) []ins {
	return []ins{{opcode: lddw, dst: 1, src: pseudoFunc, imm: imm}, {}}
}

// assemble joins instructions and slices of what it joins.
func assemble(parts ...any) []ins {
	var all []ins
	for _, part := range parts {
		switch part := part.(type) {
		case ins:
			all = append(all, part)
		case []ins:
			all = append(all, part...)
		case []any:
			all = append(all, assemble(part...)...)
		}
	}
	return all
}

func encode(order binary.ByteOrder, parts ...any) []byte {
	var out []byte
	for _, i := range assemble(parts...) {
		registers := i.src<<4 | i.dst
		if order == binary.BigEndian {
			registers = i.dst<<4 | i.src
		}
		raw := []byte{i.opcode, registers, 0, 0, 0, 0, 0, 0}
		order.PutUint16(raw[2:], uint16(i.offset))
		order.PutUint32(raw[4:], uint32(i.imm))
		out = append(out, raw...)
	}
	return out
}

func decode(order binary.ByteOrder, raw []byte) []ins {
	var all []ins
	for ; len(raw) >= 8; raw = raw[8:] {
		i := ins{
			opcode: raw[0], dst: raw[1] & 0xf, src: raw[1] >> 4,
			offset: int16(order.Uint16(raw[2:])), imm: int32(order.Uint32(raw[4:])),
		}
		if order == binary.BigEndian {
			i.dst, i.src = i.src, i.dst
		}
		all = append(all, i)
	}
	return all
}

// Relocation types, from Documentation/bpf/llvm_reloc.rst of the kernel.
const (
	rel64, relAbs64, relAbs32, rel32 = 1, 2, 3, 10
)

// program describes an object. Symbols and relocations name sections and
// symbols; the symbol of a section has its name.
type program struct {
	sections    []contents
	symbols     []symbol
	relocations []relocation
}

type contents struct {
	name string
	code []any  // for sections of code
	data []byte // for others
}

type symbol struct {
	name, section string
	kind          elf.SymType
	value, size   uint64
}

type relocation struct {
	section string
	offset  uint64
	kind    uint32
	symbol  string
}

// absolute stands for the section of symbols that are in none.
const absolute = "*ABS*"

// object assembles a program: its sections from number 1 on, tables of
// relocations, .symtab, .strtab.
func (p *program) object(tb testing.TB, order binary.ByteOrder) *elfobj.Object {
	tb.Helper()
	b := &builder{order: order, strings: []byte{0}, numbers: map[string]int{absolute: int(elf.SHN_ABS)}, symbols: map[string]int{}}
	b.add(elf.Section64{}, "", nil)
	symbols := make([]byte, elfobj.SymbolSize)
	b.symbols[""] = 0
	for _, c := range p.sections {
		if c.code != nil {
			flags := uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR)
			b.add(elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: flags, Addralign: 8}, c.name, encode(order, c.code...))
		} else {
			b.add(elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC), Addralign: 8}, c.name, c.data)
		}
		symbols = b.symbol(symbols, symbol{c.name, c.name, elf.STT_SECTION, 0, 0})
	}
	locals := len(symbols) / elfobj.SymbolSize
	for _, s := range p.symbols {
		symbols = b.symbol(symbols, s)
	}

	tables := make(map[string][]byte)
	for _, r := range p.relocations {
		var entry bytes.Buffer
		binary.Write(&entry, order, elf.Rel64{Off: r.offset, Info: uint64(b.symbols[r.symbol])<<32 | uint64(r.kind)})
		tables[r.section] = append(tables[r.section], entry.Bytes()...)
	}
	symtab := len(p.sections) + 1 + len(tables)
	for _, c := range p.sections {
		if table := tables[c.name]; table != nil {
			header := elf.Section64{Type: uint32(elf.SHT_REL), Link: uint32(symtab), Info: uint32(b.numbers[c.name]), Entsize: elfobj.RelSize, Addralign: 8}
			b.add(header, ".rel"+c.name, table)
		}
	}
	b.add(elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: uint32(symtab) + 1, Info: uint32(locals), Entsize: elfobj.SymbolSize, Addralign: 8}, ".symtab", symbols)
	b.add(elf.Section64{Type: uint32(elf.SHT_STRTAB)}, ".strtab", nil)

	obj, err := elfobj.Parse(b.file())
	if err != nil {
		tb.Fatal(err)
	}
	return obj
}

type builder struct {
	order    binary.ByteOrder
	strings  []byte
	headers  []elf.Section64
	contents [][]byte
	numbers  map[string]int // of sections
	symbols  map[string]int
}

func (b *builder) name(name string) uint32 {
	at := len(b.strings)
	b.strings = append(append(b.strings, name...), 0)
	return uint32(at)
}

func (b *builder) add(header elf.Section64, name string, data []byte) {
	header.Name = b.name(name)
	b.numbers[name] = len(b.headers)
	b.headers, b.contents = append(b.headers, header), append(b.contents, data)
}

func (b *builder) symbol(table []byte, s symbol) []byte {
	b.symbols[s.name] = len(table) / elfobj.SymbolSize
	bind := elf.STB_GLOBAL
	if s.kind == elf.STT_SECTION {
		bind = elf.STB_LOCAL
	}
	var entry bytes.Buffer
	binary.Write(&entry, b.order, elf.Sym64{
		Name: b.name(s.name), Info: elf.ST_INFO(bind, s.kind), Shndx: uint16(b.numbers[s.section]), Value: s.value, Size: s.size,
	})
	return append(table, entry.Bytes()...)
}

func (b *builder) file() []byte {
	b.contents[len(b.contents)-1] = b.strings
	var body bytes.Buffer
	at := uint64(64)
	for i, data := range b.contents {
		padding := -len(data) & 7
		b.headers[i].Off, b.headers[i].Size = at, uint64(len(data))
		body.Write(data)
		body.Write(make([]byte, padding))
		at += uint64(len(data) + padding)
	}
	header := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_BPF), Version: 1, Shoff: at,
		Ehsize: 64, Shentsize: 64, Shnum: uint16(len(b.headers)), Shstrndx: uint16(len(b.headers) - 1),
	}
	data := elf.ELFDATA2LSB
	if b.order == binary.BigEndian {
		data = elf.ELFDATA2MSB
	}
	copy(header.Ident[:], append([]byte(elf.ELFMAG), byte(elf.ELFCLASS64), byte(data), 1))

	var out bytes.Buffer
	binary.Write(&out, b.order, header)
	out.Write(body.Bytes())
	binary.Write(&out, b.order, b.headers)
	return out.Bytes()
}

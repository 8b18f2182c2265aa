package reloc_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/reloc"
)

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func readAccesses(tb testing.TB, path string) []reloc.Access {
	tb.Helper()
	accesses, err := reloc.Read(readFile(tb, path))
	if err != nil {
		tb.Fatal(err)
	}
	return accesses
}

// readLayout returns a layout of testdata, such as "narrow-el".
func readLayout(tb testing.TB, name string) *reloc.Layout {
	tb.Helper()
	file, err := elf.NewFile(bytes.NewReader(readFile(tb, "../testdata/layouts/"+name+".o")))
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := file.Section(".BTF").Data()
	if err != nil {
		tb.Fatal(err)
	}
	return newLayout(tb, name, raw)
}

func newLayout(tb testing.TB, name string, raw []byte) *reloc.Layout {
	tb.Helper()
	layout, err := reloc.NewLayout(name, raw, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return layout
}

// layoutOf returns a layout named "test" that consists of types.
func layoutOf(tb testing.TB, order binary.ByteOrder, types ...btf.Type) *reloc.Layout {
	tb.Helper()
	return newLayout(tb, "test", marshal(tb, order, types...))
}

func marshal(tb testing.TB, order binary.ByteOrder, types ...btf.Type) []byte {
	tb.Helper()
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: order})
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// record is what a compiler writes for one access. The root type has ID 1.
type record struct {
	order   binary.ByteOrder
	root    btf.Type
	access  string
	kind    reloc.Kind
	section string
	offset  uint32 // of the instruction; the section has one
	typeID  uint32
}

// access returns what an object with one record holds.
func access(tb testing.TB, order binary.ByteOrder, root btf.Type, accessString string, kind reloc.Kind) reloc.Access {
	tb.Helper()
	accesses, err := reloc.Read(record{order, root, accessString, kind, "xdp", 0, 1}.object(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return accesses[0]
}

// object makes an object with a section "xdp" of one instruction, and a record.
func (r record) object(tb testing.TB) []byte {
	tb.Helper()
	types, strings := appendStrings(r.order, marshal(tb, r.order, r.root), r.section, r.access)

	var ext bytes.Buffer
	write := func(values ...any) {
		for _, value := range values {
			if err := binary.Write(&ext, r.order, value); err != nil {
				tb.Fatal(err)
			}
		}
	}
	const functions, relocations = 4 + 8 + 8, 4 + 8 + 16
	write(uint16(0xeb9f), uint8(1), uint8(0), uint32(32))               // magic, version, flags, header length
	write([]uint32{0, functions, functions, 0, functions, relocations}) // func_info, line_info, core_relo: offset and length
	write([]uint32{8, strings[0], 1})                                   // record size, section, number of records
	write([]uint32{0, 0})
	write([]uint32{16, strings[0], 1})
	write([]uint32{r.offset, r.typeID, strings[1], uint32(r.kind)})

	return writeELF(tb, r.order, map[string][]byte{"xdp": make([]byte, reloc.InstructionSize), ".BTF": types, ".BTF.ext": ext.Bytes()})
}

// appendStrings adds strings to the end of raw BTF, which is its string table.
func appendStrings(order binary.ByteOrder, raw []byte, strings ...string) ([]byte, []uint32) {
	const lengthField = 20 // btf_header.str_len
	var offsets []uint32
	length := order.Uint32(raw[lengthField:])
	for _, s := range strings {
		offsets = append(offsets, length)
		raw = append(raw, s+"\x00"...)
		length += uint32(len(s) + 1)
	}
	order.PutUint32(raw[lengthField:], length)
	return raw, offsets
}

// writeELF makes a BPF object of sections of code and of BTF.
func writeELF(tb testing.TB, order binary.ByteOrder, sections map[string][]byte) []byte {
	tb.Helper()
	names := "\x00.shstrtab\x00"
	contents := make([]byte, binary.Size(elf.Header64{}))
	headers := []elf.Section64{{}}
	for name, data := range sections {
		header := elf.Section64{Name: uint32(len(names)), Type: uint32(elf.SHT_PROGBITS), Off: uint64(len(contents)), Size: uint64(len(data))}
		if name[0] != '.' {
			header.Flags = uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR)
		}
		headers = append(headers, header)
		names += name + "\x00"
		contents = append(contents, data...)
	}
	headers = append(headers, elf.Section64{Name: 1, Type: uint32(elf.SHT_STRTAB), Off: uint64(len(contents)), Size: uint64(len(names))})
	contents = append(contents, names...)

	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_BPF), Version: uint32(elf.EV_CURRENT),
		Shoff: uint64(len(contents)), Ehsize: uint16(binary.Size(elf.Header64{})),
		Shentsize: uint16(binary.Size(elf.Section64{})), Shnum: uint16(len(headers)), Shstrndx: uint16(len(headers) - 1),
	}
	if order == binary.BigEndian {
		header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	var head, table bytes.Buffer
	if binary.Write(&head, order, header) != nil || binary.Write(&table, order, headers) != nil {
		tb.Fatal("can't happen: the structures have fixed sizes")
	}
	return append(append(head.Bytes(), contents[head.Len():]...), table.Bytes()...)
}

// The types that tests build others from.
var (
	u8     = &btf.Int{Name: "unsigned char", Size: 1}
	u16    = &btf.Int{Name: "unsigned short", Size: 2}
	u32    = &btf.Int{Name: "unsigned int", Size: 4}
	u64    = &btf.Int{Name: "unsigned long long", Size: 8}
	s32    = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	s8     = &btf.Int{Name: "signed char", Size: 1, Encoding: btf.Signed}
	s64    = &btf.Int{Name: "long long", Size: 8, Encoding: btf.Signed}
	float  = &btf.Float{Name: "float", Size: 4}
	be32   = &btf.Typedef{Name: "__be32", Type: &btf.Typedef{Name: "__u32", Type: u32}}
	orders = []binary.ByteOrder{binary.LittleEndian, binary.BigEndian}
)

func array(typ btf.Type, length uint32) *btf.Array {
	return &btf.Array{Index: u32, Type: typ, Nelems: length}
}

func pointer(to btf.Type) *btf.Pointer { return &btf.Pointer{Target: to} }

func field(name string, typ btf.Type) btf.Member { return btf.Member{Name: name, Type: typ} }

func bits(name string, typ btf.Type, offset, size uint32) btf.Member {
	return btf.Member{Name: name, Type: typ, Offset: btf.Bits(offset), BitfieldSize: btf.Bits(size)}
}

// packed returns a struct whose members follow each other. Bit-fields keep
// the offset that they have.
func packed(tb testing.TB, name string, fields ...btf.Member) *btf.Struct {
	tb.Helper()
	s := &btf.Struct{Name: name}
	for _, field := range fields {
		size, err := btf.Sizeof(field.Type)
		if err != nil {
			tb.Fatal(err)
		}
		if field.BitfieldSize == 0 {
			field.Offset = btf.Bits(s.Size * 8)
			s.Size += uint32(size)
		} else {
			s.Size = max(s.Size, uint32(field.Offset+field.BitfieldSize+7)/8)
		}
		s.Members = append(s.Members, field)
	}
	return s
}

func union(tb testing.TB, name string, fields ...btf.Member) *btf.Union {
	tb.Helper()
	u := &btf.Union{Name: name, Members: fields}
	for _, field := range fields {
		size, err := btf.Sizeof(field.Type)
		if err != nil {
			tb.Fatal(err)
		}
		u.Size = max(u.Size, uint32(size))
	}
	return u
}

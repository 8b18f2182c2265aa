// Package elfobj holds a BPF object, an ELF64 relocatable file, so that the
// contents of its sections can be changed, more be added, and the object written
// back.
package elfobj

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

// ErrNotBPF is wrapped by Parse's errors about input that is not an ELF
// object for BPF at all, as against one that is damaged.
var ErrNotBPF = errors.New("not a BPF object")

// Sizes and field positions of the ELF64 structures, from elf(5).
const (
	headerSize        = 64
	sectionHeaderSize = 64

	headerShoff     = 0x28 // e_shoff, u64
	headerShentsize = 0x3a // e_shentsize, u16

	shdrOffset = 0x18 // sh_offset, u64
	shdrSize   = 0x20 // sh_size, u64

	tableAlign = 8 // of the section header table
)

// Object is an ELF file whose section contents can be replaced, sections removed
// and symbols, relocations and sections added. Everything else, the header and the
// section headers, is kept as it was read.
type Object struct {
	Order    binary.ByteOrder
	Sections []*Section
	Symbols  []elf.Symbol // empty without a symbol table

	header  []byte // as read
	headers []byte // the section header table, as read
}

// Section is one section of an Object. Data is what Bytes writes: it may be
// changed in place, or replaced by a slice of another length.
type Section struct {
	elf.SectionHeader
	Index int
	Data  []byte // nil for SHT_NOBITS and SHT_NULL

	fileOffset uint64 // as read: sections are written in this order
}

// Parse reads an object. It keeps no reference to raw.
//
// It wraps ErrNotBPF if raw is not an ELF64 relocatable file for BPF, and
// refuses a file whose sections lie outside it or on top of each other.
func Parse(raw []byte) (*Object, error) {
	obj, err := parse(raw)
	switch {
	case err == nil:
		return obj, nil
	case errors.Is(err, ErrNotBPF):
		return nil, fmt.Errorf("%w: compile with clang -O2 -g -target bpf", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("damaged ELF file: it is cut short: compile it again, or copy it again")
	}
	return nil, fmt.Errorf("damaged ELF file: %w: compile it again, or copy it again", err)
}

func parse(raw []byte) (*Object, error) {
	if !bytes.HasPrefix(raw, []byte(elf.ELFMAG)) {
		return nil, fmt.Errorf("%w: no ELF header", ErrNotBPF)
	}

	file, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if err := checkHeader(&file.FileHeader, len(file.Progs)); err != nil {
		return nil, err
	}

	obj := &Object{
		Order:  file.ByteOrder,
		header: bytes.Clone(raw[:headerSize]),
	}
	if err := obj.copySectionHeaders(raw, len(file.Sections)); err != nil {
		return nil, err
	}
	if err := obj.copySections(raw, file.Sections); err != nil {
		return nil, err
	}

	obj.Symbols, err = file.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, fmt.Errorf("symbol table: %w", err)
	}
	return obj, nil
}

func checkHeader(header *elf.FileHeader, programHeaders int) error {
	switch {
	case header.Class != elf.ELFCLASS64:
		return fmt.Errorf("%w: %s instead of ELFCLASS64", ErrNotBPF, header.Class)
	case header.Machine != elf.EM_BPF:
		return fmt.Errorf("%w: compiled for %s", ErrNotBPF, header.Machine)
	case header.Type != elf.ET_REL:
		return fmt.Errorf("%w: %s instead of ET_REL", ErrNotBPF, header.Type)
	case programHeaders > 0:
		return fmt.Errorf("%w: it has program headers", ErrNotBPF)
	}
	return nil
}

func (obj *Object) copySectionHeaders(raw []byte, count int) error {
	if count == 0 {
		return errors.New("no sections")
	}
	if size := obj.Order.Uint16(raw[headerShentsize:]); size != sectionHeaderSize {
		return fmt.Errorf("section headers of %d bytes", size)
	}
	start := obj.Order.Uint64(raw[headerShoff:])
	size := uint64(count) * sectionHeaderSize
	if start > uint64(len(raw)) || size > uint64(len(raw))-start {
		return errors.New("section header table lies outside the file")
	}
	obj.headers = bytes.Clone(raw[start : start+size])
	return nil
}

// copySections gives each section its own copy of its contents. A file can
// name the same bytes from many headers; what that adds up to is bounded by
// refusing sections that together are larger than the file.
func (obj *Object) copySections(raw []byte, sections []*elf.Section) error {
	var total uint64
	for i, sec := range sections {
		section := &Section{SectionHeader: sec.SectionHeader, Index: i, fileOffset: sec.Offset}
		obj.Sections = append(obj.Sections, section)
		hasContents := sec.Type != elf.SHT_NOBITS && sec.Type != elf.SHT_NULL
		if sec.Flags&elf.SHF_COMPRESSED != 0 && !hasContents {
			return fmt.Errorf("section %s is compressed and has no contents", section)
		}
		if sec.Addralign > maxAlign || sec.Addralign&(sec.Addralign-1) != 0 {
			return fmt.Errorf("section %s is aligned to %d bytes", section, sec.Addralign)
		}
		if !hasContents {
			continue
		}

		size := sec.FileSize
		if sec.Offset > uint64(len(raw)) || size > uint64(len(raw))-sec.Offset {
			return fmt.Errorf("section %s ends beyond the file, which has %d bytes", section, len(raw))
		}
		if total += size; total > uint64(len(raw)) {
			return fmt.Errorf("section %s overlaps others", section)
		}
		section.Data = bytes.Clone(raw[sec.Offset : sec.Offset+size])
	}
	return nil
}

// String names the section for messages.
func (s *Section) String() string {
	if s.Name == "" {
		return fmt.Sprintf("#%d", s.Index)
	}
	return s.Name
}

// Length returns how many bytes the section has once it is loaded.
func (s *Section) Length() uint64 {
	if s.Type == elf.SHT_NOBITS {
		return s.Size
	}
	return uint64(len(s.Data))
}

// Section returns the first section of that name, or nil.
func (obj *Object) Section(name string) *Section {
	for _, section := range obj.Sections {
		if section.Name == name {
			return section
		}
	}
	return nil
}

// Relocations returns the SHT_REL section whose entries patch target, or nil.
func (obj *Object) Relocations(target *Section) *Section {
	for _, section := range obj.Sections {
		if section.Type == elf.SHT_REL && section.Info == uint32(target.Index) {
			return section
		}
	}
	return nil
}

// Rel is an entry of an SHT_REL section.
type Rel struct {
	Offset uint64      // of what it patches, in bytes from the start of the section
	Type   uint32      // how, an R_BPF_ number
	Index  int         // of Symbols, with what; NoSymbol for none, or one that the object has not
	Symbol *elf.Symbol // at that index, or nil
}

// NoSymbol is the index of no symbol.
const NoSymbol = -1

// Rels returns the entries of an SHT_REL section, none of nil.
func (obj *Object) Rels(table *Section) iter.Seq[Rel] {
	return func(yield func(Rel) bool) {
		if table == nil {
			return
		}
		for data := table.Data; len(data) >= RelSize; data = data[RelSize:] {
			info := obj.Order.Uint64(data[relInfo:])
			rel := Rel{Offset: obj.Order.Uint64(data), Type: uint32(info), Index: NoSymbol}
			if number := info >> 32; number > 0 && number <= uint64(len(obj.Symbols)) {
				rel.Index = int(number) - 1 // package elf leaves out the first, which is none
				rel.Symbol = &obj.Symbols[rel.Index]
			}
			if !yield(rel) {
				return
			}
		}
	}
}

// MoveRelocations changes the entries that patch target to where the bytes are
// now that they patch, which moved says for each: in one place, in none if they
// are gone, or in several if there are copies.
func (obj *Object) MoveRelocations(target *Section, moved func(int) []int) error {
	table := obj.Relocations(target)
	if table == nil {
		return nil
	}
	if len(table.Data)%RelSize != 0 {
		return fmt.Errorf("damaged object: %s is no table of relocations", table)
	}
	var left []byte
	for data := table.Data; len(data) > 0; data = data[RelSize:] {
		for _, offset := range moved(int(obj.Order.Uint64(data))) {
			at := len(left)
			left = append(left, data[:RelSize]...)
			obj.Order.PutUint64(left[at:], uint64(offset))
		}
	}
	table.Data = left
	return nil
}

// Functions returns the function symbols that lie in the section, by address.
func (obj *Object) Functions(section *Section) []elf.Symbol {
	var functions []elf.Symbol
	for _, symbol := range obj.Symbols {
		if elf.ST_TYPE(symbol.Info) == elf.STT_FUNC && symbol.Section == elf.SectionIndex(section.Index) {
			functions = append(functions, symbol)
		}
	}
	slices.SortStableFunc(functions, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	return functions
}

// Bytes returns the object as a file: header, sections in their order in the
// file that was read, each at its own alignment, then the section headers.
//
// Writing what Parse read from Bytes gives the same bytes again.
func (obj *Object) Bytes() []byte {
	headers := bytes.Clone(obj.headers)
	out := bytes.Clone(obj.header)

	for _, section := range obj.inFileOrder() {
		header := headers[section.Index*sectionHeaderSize:]
		switch section.Type {
		case elf.SHT_NULL:
			// Its size field holds the number of sections if there are many.
			continue
		case elf.SHT_NOBITS:
			out = align(out, section.Addralign)
			obj.Order.PutUint64(header[shdrOffset:], uint64(len(out)))
			obj.Order.PutUint64(header[shdrSize:], section.Size)
		default:
			out = align(out, section.Addralign)
			obj.Order.PutUint64(header[shdrOffset:], uint64(len(out)))
			obj.Order.PutUint64(header[shdrSize:], uint64(len(section.Data)))
			out = append(out, section.Data...)
		}
	}

	out = align(out, tableAlign)
	obj.Order.PutUint64(out[headerShoff:], uint64(len(out)))
	return append(out, headers...)
}

// inFileOrder orders sections of the same offset, of which all but one are
// empty, so that writing them gives all of them the same offset again.
func (obj *Object) inFileOrder() []*Section {
	sections := slices.Clone(obj.Sections)
	slices.SortStableFunc(sections, func(a, b *Section) int {
		return cmp.Or(
			cmp.Compare(a.fileOffset, b.fileOffset),
			cmp.Compare(len(a.Data), len(b.Data)),
			cmp.Compare(b.Addralign, a.Addralign),
		)
	})
	return sections
}

// maxAlign bounds the padding that a damaged file can ask for. No section of
// a BPF object wants more than 8; maps of page size would want this much.
const maxAlign = 4096

func align(out []byte, to uint64) []byte {
	if to <= 1 {
		return out
	}
	if rest := uint64(len(out)) % to; rest != 0 {
		out = append(out, make([]byte, to-rest)...)
	}
	return out
}

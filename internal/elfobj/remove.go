package elfobj

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// More field positions of the ELF64 structures, from elf(5).
const (
	headerShnum    = 0x3c // e_shnum, u16
	headerShstrndx = 0x3e // e_shstrndx, u16

	shdrLink = 0x28 // sh_link, u32
	shdrInfo = 0x2c // sh_info, u32

	// SymbolSize is the size of an Elf64_Sym, RelSize that of an Elf64_Rel.
	SymbolSize = 24
	RelSize    = 16

	symbolShndx = 6 // st_shndx, u16
	relInfo     = 8 // r_info, u64, the symbol in its upper half
)

// addrsig is SHT_LLVM_ADDRSIG: a list of symbols, as LEB128 numbers.
// https://llvm.org/docs/Extensions.html#sht-llvm-addrsig-section-address-significance-table
const addrsig elf.SectionType = 0x6fff4c03

// Clone returns a copy that shares nothing with the object.
func (obj *Object) Clone() *Object {
	clone := *obj
	clone.header, clone.headers = bytes.Clone(obj.header), bytes.Clone(obj.headers)
	clone.Symbols = slices.Clone(obj.Symbols)
	clone.Sections = make([]*Section, len(obj.Sections))
	for i, section := range obj.Sections {
		copied := *section
		copied.Data = bytes.Clone(section.Data)
		clone.Sections[i] = &copied
	}
	return &clone
}

// SymbolTable returns the section that Symbols was read from, or nil.
func (obj *Object) SymbolTable() *Section {
	for _, section := range obj.Sections {
		if section.Type == elf.SHT_SYMTAB {
			return section
		}
	}
	return nil
}

// Remove takes sections out of the object, with the relocations that patch
// them and the symbols that are defined in them, and numbers what is left anew.
//
// Symbols are taken out too, instead of being blanked, because libbpf's linker
// refuses a local symbol without a section (linker_sanity_check_elf_symtab).
//
// After an error the object is in pieces: work on a Clone.
func (obj *Object) Remove(unwanted func(*Section) bool) error {
	r := &removal{obj: obj, sections: make([]int, len(obj.Sections))}
	r.numberSections(unwanted)
	if len(r.kept) == len(obj.Sections) {
		return nil
	}
	if err := r.numberSymbols(); err != nil {
		return fmt.Errorf("remove sections: %w", err)
	}
	for _, section := range r.kept {
		if err := r.renumber(section); err != nil {
			return fmt.Errorf("remove sections: %s: %w", section, err)
		}
	}
	return r.finish()
}

// gone is the new number of what is removed. The 0 of ELF means "none", and
// stays what it is.
const gone = -1

// removal has the new numbers of sections and symbols by their old ones.
type removal struct {
	obj      *Object
	kept     []*Section
	sections []int
	symbols  []int
}

func (r *removal) numberSections(unwanted func(*Section) bool) {
	drop := make([]bool, len(r.obj.Sections))
	for i, section := range r.obj.Sections {
		drop[i] = i > 0 && unwanted(section)
	}
	for i, section := range r.obj.Sections {
		patches := section.Type == elf.SHT_REL || section.Type == elf.SHT_RELA
		if patches && int(section.Info) < len(drop) && drop[section.Info] {
			drop[i] = true
		}
	}
	for i, section := range r.obj.Sections {
		r.sections[i] = gone
		if !drop[i] {
			r.sections[i] = len(r.kept)
			r.kept = append(r.kept, section)
		}
	}
}

func (r *removal) numberSymbols() error {
	r.symbols = make([]int, len(r.obj.Symbols)+1)
	var left []elf.Symbol
	for i, symbol := range r.obj.Symbols {
		section, err := r.symbolSection(symbol.Section)
		if err != nil {
			return fmt.Errorf("symbol %d: %w", i+1, err)
		}
		r.symbols[i+1] = gone
		if section != gone {
			symbol.Section = elf.SectionIndex(section)
			left = append(left, symbol)
			r.symbols[i+1] = len(left)
		}
	}
	r.obj.Symbols = left
	return nil
}

// symbolSection returns the new st_shndx. Special ones, SHN_ABS say, stay.
func (r *removal) symbolSection(old elf.SectionIndex) (int, error) {
	if old >= elf.SHN_LORESERVE {
		return int(old), nil
	}
	return lookUp(r.sections, uint32(old))
}

func lookUp(numbers []int, old uint32) (int, error) {
	if uint64(old) >= uint64(len(numbers)) {
		return 0, fmt.Errorf("number %d of %d", old, len(numbers))
	}
	return numbers[old], nil
}

// lookUpKept wants that what a kept section refers to is kept too.
func lookUpKept(numbers []int, old uint32) (uint32, error) {
	number, err := lookUp(numbers, old)
	if err == nil && number == gone {
		err = errors.New("refers to what is removed")
	}
	return uint32(number), err
}

// renumber corrects a section's contents and its sh_link and sh_info.
func (r *removal) renumber(section *Section) (err error) {
	if section.Type == elf.SHT_NULL {
		return nil
	}
	if section.Link, err = lookUpKept(r.sections, section.Link); err != nil {
		return fmt.Errorf("sh_link: %w", err)
	}
	switch section.Type {
	case elf.SHT_SYMTAB:
		return r.renumberSymbols(section)
	case elf.SHT_REL:
		return r.renumberRelocations(section)
	case elf.SHT_GROUP:
		return r.renumberGroup(section)
	case addrsig:
		return r.renumberAddrsig(section)
	case elf.SHT_RELA, elf.SHT_SYMTAB_SHNDX, elf.SHT_DYNSYM, elf.SHT_HASH:
		return fmt.Errorf("a section of type %s, which no BPF compiler makes", section.Type)
	}
	if section.Info != 0 {
		return fmt.Errorf("a section of type %s with an sh_info, which may be a number of anything", section.Type)
	}
	return nil
}

// renumberSymbols corrects the table that obj.Symbols was read from. Its
// sh_info counts the local symbols, which come first.
func (r *removal) renumberSymbols(section *Section) error {
	if len(section.Data) != len(r.symbols)*SymbolSize || uint64(section.Info) > uint64(len(r.symbols)) {
		return errors.New("damaged symbol table")
	}
	var out []byte
	locals := uint32(0)
	for i, number := range r.symbols {
		if number == gone {
			continue
		}
		if i < int(section.Info) {
			locals++
		}
		out = append(out, section.Data[i*SymbolSize:][:SymbolSize]...)
		if number > 0 {
			shndx := r.obj.Symbols[number-1].Section
			r.obj.Order.PutUint16(out[number*SymbolSize+symbolShndx:], uint16(shndx))
		}
	}
	section.Data, section.Info = out, locals
	return nil
}

func (r *removal) renumberRelocations(section *Section) (err error) {
	if section.Info, err = lookUpKept(r.sections, section.Info); err != nil {
		return fmt.Errorf("sh_info: %w", err)
	}
	if len(section.Data)%RelSize != 0 {
		return errors.New("no table of relocations")
	}
	for entry := section.Data; len(entry) > 0; entry = entry[RelSize:] {
		info := r.obj.Order.Uint64(entry[relInfo:])
		symbol, err := lookUpKept(r.symbols, uint32(info>>32))
		if err != nil {
			return fmt.Errorf("symbol: %w", err)
		}
		r.obj.Order.PutUint64(entry[relInfo:], uint64(symbol)<<32|info&0xffffffff)
	}
	return nil
}

// renumberGroup corrects a COMDAT group: flags, then the sections in it; the
// symbol that names it is in sh_info.
func (r *removal) renumberGroup(section *Section) (err error) {
	if section.Info, err = lookUpKept(r.symbols, section.Info); err != nil {
		return fmt.Errorf("sh_info: %w", err)
	}
	if len(section.Data) < 4 || len(section.Data)%4 != 0 {
		return errors.New("no group of sections")
	}
	out := section.Data[:4]
	for member := section.Data[4:]; len(member) > 0; member = member[4:] {
		number, err := lookUp(r.sections, r.obj.Order.Uint32(member))
		if err != nil {
			return fmt.Errorf("section: %w", err)
		}
		if number != gone {
			out = out[:len(out)+4] // at or before member
			r.obj.Order.PutUint32(out[len(out)-4:], uint32(number))
		}
	}
	section.Data = out
	return nil
}

// renumberAddrsig leaves alone what does not say which symbols it is about:
// llvm-strip numbers these anew, but not what is in here, and clears sh_link, so
// that linkers ignore it.
func (r *removal) renumberAddrsig(section *Section) error {
	if section.Link == 0 {
		return nil
	}
	var out []byte
	for rest := section.Data; len(rest) > 0; {
		symbol, size := binary.Uvarint(rest)
		if size <= 0 || symbol >= uint64(len(r.symbols)) {
			return errors.New("no list of symbols")
		}
		if number := r.symbols[symbol]; number != gone {
			out = binary.AppendUvarint(out, uint64(number))
		}
		rest = rest[size:]
	}
	section.Data = out
	return nil
}

// finish puts the sections and their headers together.
func (r *removal) finish() error {
	order, header := r.obj.Order, r.obj.header
	names, err := lookUpKept(r.sections, uint32(order.Uint16(header[headerShstrndx:])))
	if err != nil || order.Uint16(header[headerShnum:]) == 0 {
		return errors.New("remove sections: the ELF header says nothing of the sections' number or names")
	}
	order.PutUint16(header[headerShnum:], uint16(len(r.kept)))
	order.PutUint16(header[headerShstrndx:], uint16(names))

	var headers []byte
	for i, section := range r.kept {
		at := len(headers)
		headers = append(headers, r.obj.headers[section.Index*sectionHeaderSize:][:sectionHeaderSize]...)
		if section.Type != elf.SHT_NULL {
			order.PutUint32(headers[at+shdrLink:], section.Link)
			order.PutUint32(headers[at+shdrInfo:], section.Info)
		}
		section.Index = i
	}
	r.obj.Sections, r.obj.headers = r.kept, headers
	return nil
}

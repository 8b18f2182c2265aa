package elfobj

import (
	"debug/elf"
	"errors"
	"fmt"
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
// It returns the indices that the symbols have now, by those that they had: NoSymbol for
// one that is gone. After an error the object is in pieces: work on a Clone.
func (obj *Object) Remove(unwanted func(*Section) bool) (symbols []int, err error) {
	r := &removal{numbering: numbering{obj: obj, sections: make([]int, len(obj.Sections))}}
	r.numberSections(unwanted)
	if len(r.kept) == len(obj.Sections) {
		return unchanged(len(obj.Symbols)), nil
	}
	if err := r.numberSymbols(); err != nil {
		return nil, fmt.Errorf("remove sections: %w", err)
	}
	for _, section := range r.kept {
		err := r.renumber(section)
		if err == nil && section.Type == elf.SHT_SYMTAB {
			err = r.renumberSymbols(section)
		}
		if err != nil {
			return nil, fmt.Errorf("remove sections: %s: %w", section, err)
		}
	}
	return r.indices(), r.finish()
}

// unchanged returns so many numbers as they were.
func unchanged(count int) []int {
	numbers := make([]int, count)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

// indices returns the new indices in Symbols, which are one less than the numbers.
func (r *removal) indices() []int {
	indices := make([]int, len(r.symbols)-1)
	for i, number := range r.symbols[1:] {
		indices[i] = NoSymbol
		if number != gone {
			indices[i] = number - 1
		}
	}
	return indices
}

// removal leaves the sections that are kept.
type removal struct {
	numbering
	kept []*Section
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

package elfobj

import (
	"debug/elf"
	"errors"
	"fmt"
	"math"
)

// Field positions of Elf64_Sym and Elf64_Shdr, from elf(5).
const (
	symbolName  = 0  // st_name, u32
	symbolInfo  = 4  // st_info, u8
	symbolOther = 5  // st_other, u8
	symbolValue = 8  // st_value, u64
	symbolSize  = 16 // st_size, u64

	shdrName  = 0x00 // sh_name, u32
	shdrType  = 0x04 // sh_type, u32
	shdrFlags = 0x08 // sh_flags, u64
	shdrAlign = 0x30 // sh_addralign, u64
)

// SetSymbol makes another symbol of the one at an index of Symbols. The table keeps
// its order, also where a local symbol should come before a global one then.
func (obj *Object) SetSymbol(index int, symbol elf.Symbol) error {
	table := obj.SymbolTable()
	if table == nil || index < 0 || index >= len(obj.Symbols) || len(table.Data) != (len(obj.Symbols)+1)*SymbolSize {
		return errors.New("damaged object: symbol table")
	}
	entry := table.Data[(index+1)*SymbolSize:]
	if symbol.Name != obj.Symbols[index].Name {
		name, err := obj.addString(table.Link, symbol.Name)
		if err != nil {
			return fmt.Errorf("names of symbols: %w", err)
		}
		obj.Order.PutUint32(entry[symbolName:], name)
	}
	entry[symbolInfo], entry[symbolOther] = symbol.Info, symbol.Other
	obj.Order.PutUint16(entry[symbolShndx:], uint16(symbol.Section))
	obj.Order.PutUint64(entry[symbolValue:], symbol.Value)
	obj.Order.PutUint64(entry[symbolSize:], symbol.Size)
	obj.Symbols[index] = symbol
	return nil
}

// AddSection adds a section of type SHT_PROGBITS behind the others.
func (obj *Object) AddSection(name string, flags elf.SectionFlag, align uint64, data []byte) (*Section, error) {
	count, names := obj.Order.Uint16(obj.header[headerShnum:]), obj.Order.Uint16(obj.header[headerShstrndx:])
	if int(count) != len(obj.Sections) || count >= uint16(elf.SHN_LORESERVE)-1 {
		return nil, fmt.Errorf("no room for a section behind %d others", len(obj.Sections))
	}
	at, err := obj.addString(uint32(names), name)
	if err != nil {
		return nil, fmt.Errorf("names of sections: %w", err)
	}
	header := make([]byte, sectionHeaderSize)
	obj.Order.PutUint32(header[shdrName:], at)
	obj.Order.PutUint32(header[shdrType:], uint32(elf.SHT_PROGBITS))
	obj.Order.PutUint64(header[shdrFlags:], uint64(flags))
	obj.Order.PutUint64(header[shdrAlign:], align)
	obj.headers = append(obj.headers, header...)
	obj.Order.PutUint16(obj.header[headerShnum:], count+1)

	section := &Section{
		SectionHeader: elf.SectionHeader{Name: name, Type: elf.SHT_PROGBITS, Flags: flags, Addralign: align},
		Index:         len(obj.Sections),
		Data:          data,
		fileOffset:    math.MaxUint64,
	}
	obj.Sections = append(obj.Sections, section)
	return section, nil
}

// addString adds a string to a section of type SHT_STRTAB and returns its offset.
func (obj *Object) addString(section uint32, s string) (uint32, error) {
	if uint64(section) >= uint64(len(obj.Sections)) || !obj.Sections[section].holdsStrings() {
		return 0, fmt.Errorf("damaged object: section %d is no table of strings", section)
	}
	table := obj.Sections[section]
	offset := len(table.Data)
	table.Data = append(append(table.Data, s...), 0)
	return uint32(offset), nil
}

// holdsStrings reports whether strings can be put behind those of the section: the first
// is empty, which is what a name of 0 means, and the last has an end.
func (s *Section) holdsStrings() bool {
	isPlain := s.Type == elf.SHT_STRTAB && s.Flags&elf.SHF_COMPRESSED == 0
	return isPlain && len(s.Data) > 0 && s.Data[len(s.Data)-1] == 0
}

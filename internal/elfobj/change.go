package elfobj

import (
	"debug/elf"
	"errors"
	"fmt"
)

// Field positions of Elf64_Sym, from elf(5).
const (
	symbolName  = 0  // st_name, u32
	symbolInfo  = 4  // st_info, u8
	symbolOther = 5  // st_other, u8
	symbolValue = 8  // st_value, u64
	symbolSize  = 16 // st_size, u64

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
		if err := obj.putName(entry, table, symbol.Name); err != nil {
			return err
		}
	}
	obj.putSymbol(entry, symbol)
	obj.Symbols[index] = symbol
	return nil
}

// putName gives an entry of the symbol table a name, an empty one if that is none.
func (obj *Object) putName(entry []byte, table *Section, name string) error {
	var at uint32 // of no name
	var err error
	if name != "" {
		at, err = obj.addString(table.Link, name)
	}
	if err != nil {
		return fmt.Errorf("names of symbols: %w", err)
	}
	obj.Order.PutUint32(entry[symbolName:], at)
	return nil
}

// putSymbol writes an entry of the symbol table, but for the name.
func (obj *Object) putSymbol(entry []byte, symbol elf.Symbol) {
	entry[symbolInfo], entry[symbolOther] = symbol.Info, symbol.Other
	obj.Order.PutUint16(entry[symbolShndx:], uint16(symbol.Section))
	obj.Order.PutUint64(entry[symbolValue:], symbol.Value)
	obj.Order.PutUint64(entry[symbolSize:], symbol.Size)
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

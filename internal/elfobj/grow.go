package elfobj

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Field positions of Elf64_Shdr, from elf(5).
const (
	shdrName    = 0x00 // sh_name, u32
	shdrType    = 0x04 // sh_type, u32
	shdrFlags   = 0x08 // sh_flags, u64
	shdrAlign   = 0x30 // sh_addralign, u64
	shdrEntsize = 0x38 // sh_entsize, u64
)

// AddSection adds a section of type SHT_PROGBITS behind the others.
func (obj *Object) AddSection(name string, flags elf.SectionFlag, align uint64, data []byte) (*Section, error) {
	return obj.addSection(elf.SectionHeader{Name: name, Type: elf.SHT_PROGBITS, Flags: flags, Addralign: align}, data)
}

// AddZeroes adds a section of type SHT_NOBITS: so many bytes of zero, which take no
// place in the file.
func (obj *Object) AddZeroes(name string, flags elf.SectionFlag, align, size uint64) (*Section, error) {
	return obj.addSection(elf.SectionHeader{Name: name, Type: elf.SHT_NOBITS, Flags: flags, Addralign: align, Size: size}, nil)
}

func (obj *Object) addSection(header elf.SectionHeader, data []byte) (*Section, error) {
	count, names := obj.Order.Uint16(obj.header[headerShnum:]), obj.Order.Uint16(obj.header[headerShstrndx:])
	if int(count) != len(obj.Sections) || count >= uint16(elf.SHN_LORESERVE)-1 {
		return nil, fmt.Errorf("no room for a section behind %d others", len(obj.Sections))
	}
	at, err := obj.addString(uint32(names), header.Name)
	if err != nil {
		return nil, fmt.Errorf("names of sections: %w", err)
	}
	raw := make([]byte, sectionHeaderSize)
	obj.Order.PutUint32(raw[shdrName:], at)
	obj.Order.PutUint32(raw[shdrType:], uint32(header.Type))
	obj.Order.PutUint64(raw[shdrFlags:], uint64(header.Flags))
	obj.Order.PutUint32(raw[shdrLink:], header.Link)
	obj.Order.PutUint32(raw[shdrInfo:], header.Info)
	obj.Order.PutUint64(raw[shdrAlign:], header.Addralign)
	obj.Order.PutUint64(raw[shdrEntsize:], header.Entsize)
	obj.headers = append(obj.headers, raw...)
	obj.Order.PutUint16(obj.header[headerShnum:], count+1)

	section := &Section{SectionHeader: header, Index: len(obj.Sections), Data: data, fileOffset: math.MaxUint64}
	obj.Sections = append(obj.Sections, section)
	return section, nil
}

// maxSection bounds what a section grows to: the kernel has no map, and no program,
// that is larger (KMALLOC_MAX_SIZE, BPF_COMPLEXITY_LIMIT_INSNS).
const maxSection = math.MaxInt32

// Grow puts so many bytes of zero behind those of a section, and returns where they
// start: at a multiple of align, which is a power of two.
func (obj *Object) Grow(section *Section, align, size uint64) (offset uint64, err error) {
	old := section.Length()
	align = max(align, 1)
	if old > maxSection || size > maxSection || align > maxAlign {
		return 0, fmt.Errorf("section %s of %d bytes has no room for %d more, aligned to %d", section, old, size, align)
	}
	offset = (old + align - 1) &^ (align - 1)
	if end := offset + size; end > maxSection {
		return 0, fmt.Errorf("section %s would have %d bytes", section, end)
	} else if section.Type == elf.SHT_NOBITS {
		section.Size = end
	} else {
		section.Data = append(section.Data, make([]byte, end-old)...)
	}
	section.Addralign = max(section.Addralign, align)
	obj.Order.PutUint64(obj.headers[section.Index*sectionHeaderSize+shdrAlign:], section.Addralign)
	return offset, nil
}

var errStripped = errors.New("the object has no symbol table: it must not be stripped of it")

// AddSymbols adds symbols to the table and returns their indices in Symbols. Local ones
// come to lie behind the local ones that are there, in front of the others, as elf(5)
// wants it: these have higher indices then, in everything that refers to them. In a table
// without that order, which libbpf's linker makes, all come last.
//
// After an error the object is in pieces: work on a Clone.
func (obj *Object) AddSymbols(symbols []elf.Symbol) ([]int, error) {
	table := obj.SymbolTable()
	if table == nil {
		return nil, fmt.Errorf("add symbols: %w", errStripped)
	}
	if len(table.Data) != (len(obj.Symbols)+1)*SymbolSize || uint64(table.Info) > uint64(len(obj.Symbols))+1 {
		return nil, errors.New("add symbols: damaged symbol table")
	}
	if len(obj.Symbols)+len(symbols) >= math.MaxInt32 {
		return nil, errors.New("add symbols: too many")
	}
	if len(obj.Sections) > int(elf.SHN_LORESERVE) {
		return nil, fmt.Errorf("add symbols: the object has %d sections, symbols have numbers for %d", len(obj.Sections), elf.SHN_LORESERVE)
	}
	entries, err := obj.symbolEntries(table, symbols)
	if err != nil {
		return nil, fmt.Errorf("add symbols: %w", err)
	}

	firstGlobal, locals := int(table.Info), 0 // numbers, which are one more than indices
	if !isOrdered(table) {
		firstGlobal = len(obj.Symbols) + 1
	}
	indices := make([]int, len(symbols))
	for i, symbol := range symbols {
		if isLocal(symbol) {
			indices[i] = firstGlobal - 1 + locals
			locals++
		}
	}
	globals := len(obj.Symbols) + locals
	for i, symbol := range symbols {
		if !isLocal(symbol) {
			indices[i] = globals
			globals++
		}
	}
	if err := obj.makeRoom(firstGlobal, locals); err != nil {
		return nil, fmt.Errorf("add symbols: %w", err)
	}
	obj.insertSymbols(table, symbols, entries, firstGlobal)
	return indices, nil
}

// isOrdered reports whether local symbols come first in a table, which has one at least:
// the first, of no name.
func isOrdered(table *Section) bool { return table.Info > 0 }

func isLocal(symbol elf.Symbol) bool { return elf.ST_BIND(symbol.Info) == elf.STB_LOCAL }

func (obj *Object) symbolEntries(table *Section, symbols []elf.Symbol) ([][]byte, error) {
	entries := make([][]byte, len(symbols))
	for i, symbol := range symbols {
		if symbol.Section < elf.SHN_LORESERVE && int(symbol.Section) >= len(obj.Sections) {
			return nil, fmt.Errorf("symbol %s is in section %d of %d", symbol.Name, symbol.Section, len(obj.Sections))
		}
		entries[i] = make([]byte, SymbolSize)
		if err := obj.putName(entries[i], table, symbol.Name); err != nil {
			return nil, err
		}
		obj.putSymbol(entries[i], symbol)
	}
	return entries, nil
}

// makeRoom numbers the symbols from the first global one on anew.
func (obj *Object) makeRoom(firstGlobal, locals int) error {
	if locals == 0 {
		return nil
	}
	n := &numbering{obj: obj, sections: unchanged(len(obj.Sections)), symbols: unchanged(len(obj.Symbols) + 1)}
	for i := firstGlobal; i < len(n.symbols); i++ {
		n.symbols[i] += locals
	}
	for _, section := range obj.Sections {
		if err := n.renumber(section); err != nil {
			return fmt.Errorf("%s: %w", section, err)
		}
		obj.Order.PutUint32(obj.headers[section.Index*sectionHeaderSize+shdrInfo:], section.Info)
	}
	return nil
}

func (obj *Object) insertSymbols(table *Section, symbols []elf.Symbol, entries [][]byte, firstGlobal int) {
	all := slices.Clone(obj.Symbols[:firstGlobal-1])
	data := slices.Clone(table.Data[:firstGlobal*SymbolSize])
	put := func(local bool) {
		for i, symbol := range symbols {
			if isLocal(symbol) == local {
				all = append(all, symbol)
				data = append(data, entries[i]...)
			}
		}
	}
	put(true)
	if isOrdered(table) {
		table.Info = uint32(len(all)) + 1
	}
	all = append(all, obj.Symbols[firstGlobal-1:]...)
	data = append(data, table.Data[firstGlobal*SymbolSize:]...)
	put(false)
	obj.Symbols, table.Data = all, data
	obj.Order.PutUint32(obj.headers[table.Index*sectionHeaderSize+shdrInfo:], table.Info)
}

// AddRelocations adds entries to the SHT_REL section that patches target, or adds that
// section; its entries are in the order of their offsets then. Of each it takes Offset,
// Type and Index.
func (obj *Object) AddRelocations(target *Section, added []Rel) error {
	if len(added) == 0 {
		return nil
	}
	var entries [][]byte
	for _, rel := range added {
		if rel.Index < 0 || rel.Index >= len(obj.Symbols) {
			return fmt.Errorf("add relocations: no symbol %d", rel.Index)
		}
		entry := make([]byte, RelSize)
		obj.Order.PutUint64(entry, rel.Offset)
		obj.Order.PutUint64(entry[relInfo:], uint64(rel.Index+1)<<32|uint64(rel.Type))
		entries = append(entries, entry)
	}
	table, err := obj.relocationsOf(target)
	if err != nil {
		return fmt.Errorf("add relocations: %w", err)
	}
	entries = append(slices.Collect(slices.Chunk(table.Data, RelSize)), entries...)
	slices.SortStableFunc(entries, func(a, b []byte) int { return cmp.Compare(obj.Order.Uint64(a), obj.Order.Uint64(b)) })
	table.Data = bytes.Join(entries, nil)
	return nil
}

// relocationsOf returns the SHT_REL section that patches target, an empty one if there
// was none.
func (obj *Object) relocationsOf(target *Section) (*Section, error) {
	table, symbols := obj.Relocations(target), obj.SymbolTable()
	switch {
	case symbols == nil:
		return nil, errStripped
	case table != nil && len(table.Data)%RelSize != 0:
		return nil, fmt.Errorf("damaged object: %s is no table of relocations", table)
	case table != nil:
		return table, nil
	}
	return obj.addSection(elf.SectionHeader{
		Name: ".rel" + target.Name, Type: elf.SHT_REL, Flags: elf.SHF_INFO_LINK,
		Link: uint32(symbols.Index), Info: uint32(target.Index), Addralign: 8, Entsize: RelSize,
	}, nil)
}

package elfobj

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// addrsig is SHT_LLVM_ADDRSIG: a list of symbols, as LEB128 numbers.
// https://llvm.org/docs/Extensions.html#sht-llvm-addrsig-section-address-significance-table
const addrsig elf.SectionType = 0x6fff4c03

// numbering has the new numbers of sections and symbols by their old ones.
type numbering struct {
	obj      *Object
	sections []int
	symbols  []int
}

// gone is the new number of what is removed. The 0 of ELF means "none", and
// stays what it is.
const gone = -1

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
func (n *numbering) renumber(section *Section) (err error) {
	if section.Type == elf.SHT_NULL {
		return nil
	}
	if section.Link, err = lookUpKept(n.sections, section.Link); err != nil {
		return fmt.Errorf("sh_link: %w", err)
	}
	switch section.Type {
	case elf.SHT_SYMTAB:
		return nil // whoever numbers the symbols writes it
	case elf.SHT_REL:
		return n.renumberRelocations(section)
	case elf.SHT_GROUP:
		return n.renumberGroup(section)
	case addrsig:
		return n.renumberAddrsig(section)
	case elf.SHT_RELA, elf.SHT_SYMTAB_SHNDX, elf.SHT_DYNSYM, elf.SHT_HASH:
		return fmt.Errorf("a section of type %s, which no BPF compiler makes", section.Type)
	}
	if section.Info != 0 {
		return fmt.Errorf("a section of type %s with an sh_info, which may be a number of anything", section.Type)
	}
	return nil
}

func (n *numbering) renumberRelocations(section *Section) (err error) {
	if section.Info, err = lookUpKept(n.sections, section.Info); err != nil {
		return fmt.Errorf("sh_info: %w", err)
	}
	if len(section.Data)%RelSize != 0 {
		return errors.New("no table of relocations")
	}
	for entry := section.Data; len(entry) > 0; entry = entry[RelSize:] {
		info := n.obj.Order.Uint64(entry[relInfo:])
		symbol, err := lookUpKept(n.symbols, uint32(info>>32))
		if err != nil {
			return fmt.Errorf("symbol: %w", err)
		}
		n.obj.Order.PutUint64(entry[relInfo:], uint64(symbol)<<32|info&0xffffffff)
	}
	return nil
}

// renumberGroup corrects a COMDAT group: flags, then the sections in it; the
// symbol that names it is in sh_info.
func (n *numbering) renumberGroup(section *Section) (err error) {
	if section.Info, err = lookUpKept(n.symbols, section.Info); err != nil {
		return fmt.Errorf("sh_info: %w", err)
	}
	if len(section.Data) < 4 || len(section.Data)%4 != 0 {
		return errors.New("no group of sections")
	}
	out := section.Data[:4]
	for member := section.Data[4:]; len(member) > 0; member = member[4:] {
		number, err := lookUp(n.sections, n.obj.Order.Uint32(member))
		if err != nil {
			return fmt.Errorf("section: %w", err)
		}
		if number != gone {
			out = out[:len(out)+4] // at or before member
			n.obj.Order.PutUint32(out[len(out)-4:], uint32(number))
		}
	}
	section.Data = out
	return nil
}

// renumberAddrsig leaves alone what does not say which symbols it is about:
// llvm-strip numbers these anew, but not what is in here, and clears sh_link, so
// that linkers ignore it.
func (n *numbering) renumberAddrsig(section *Section) error {
	if section.Link == 0 {
		return nil
	}
	var out []byte
	for rest := section.Data; len(rest) > 0; {
		symbol, size := binary.Uvarint(rest)
		if size <= 0 || symbol >= uint64(len(n.symbols)) {
			return errors.New("no list of symbols")
		}
		if number := n.symbols[symbol]; number != gone {
			out = binary.AppendUvarint(out, uint64(number))
		}
		rest = rest[size:]
	}
	section.Data = out
	return nil
}

package collection

import (
	"debug/elf"
	"fmt"

	"github.com/cilium/ebpf/btf"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// renameFunctions gives static functions names of their own, by which cilium/ebpf links
// them; several files may have one of each name. The kernel takes names from the BTF.
//
// Elsewhere than in .text, where programs are, libbpf takes no static function.
func (r *reading) renameFunctions() error {
	others, taken, static := make(map[string]elf.Symbol), make(names), []int(nil)
	for i, symbol := range r.object.Symbols {
		other, isTaken := others[symbol.Name]
		switch {
		case elf.ST_TYPE(symbol.Info) != elf.STT_FUNC:
		case isLocal(symbol) && r.sectionOf(symbol).Name == ".text":
			static = append(static, i)
		case isTaken:
			if !isLocal(symbol) {
				symbol = other
			}
			return fmt.Errorf("section %s has a static program %s, and that is not the only one of this name: make it global, under another name", r.sectionOf(symbol), symbol.Name)
		default:
			others[symbol.Name] = symbol
			taken.take(symbol.Name)
		}
	}
	for _, i := range static {
		symbol := r.object.Symbols[i]
		if taken.has(symbol.Name) {
			symbol.Name = taken.unlike(symbol.Name)
			if err := r.object.SetSymbol(i, symbol); err != nil {
				return err
			}
		}
		taken.take(symbol.Name)
	}
	return nil
}

// makeHiddenStatic makes functions static that are __hidden, so that the kernel
// verifies them with what their callers give them (bpf_object__add_programs of libbpf).
func (r *reading) makeHiddenStatic() error {
	text := r.object.Section(".text")
	if text == nil || r.ext == nil {
		return nil
	}
	hidden := make(map[uint64]bool) // by where they start
	for _, symbol := range r.object.Functions(text) {
		if isHidden(symbol) {
			hidden[symbol.Value] = true
		}
	}
	for _, function := range r.ext.Functions {
		if function.Section != text.Name || !hidden[uint64(function.InsnOffset)] {
			continue
		}
		edit, err := r.change()
		if err != nil {
			return err
		}
		if err := edit.SetLinkage(btf.TypeID(function.TypeID), btf.StaticFunc); err != nil {
			return err
		}
	}
	return nil
}

// makeAddressesSectionBased changes the addresses of functions that have a symbol of
// their own. cilium/ebpf adds what the instruction holds to the start of the section,
// not to the symbol, which is right only for the first function.
func (r *reading) makeAddressesSectionBased() error {
	for _, table := range r.object.Sections {
		if table.Type != elf.SHT_REL || uint64(table.Info) >= uint64(len(r.object.Sections)) {
			continue
		}
		section := r.object.Sections[table.Info]
		if section.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		for rel := range r.object.Rels(table) {
			isFunction := rel.Symbol != nil && elf.ST_TYPE(rel.Symbol.Info) == elf.STT_FUNC
			if !isFunction || rel.Offset >= uint64(len(section.Data)) {
				continue
			}
			instruction := section.Data[rel.Offset:]
			if len(instruction) < insn.SlotSize || instruction[0] != insn.LDDW {
				continue
			}
			offset := instruction[insn.ImmediateAt:]
			r.object.Order.PutUint32(offset, r.object.Order.Uint32(offset)+uint32(rel.Symbol.Value))
		}
	}
	return nil
}

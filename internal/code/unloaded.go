package code

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// DropUnloaded takes code out of an object that no loader loads: what lies in no
// function that has a symbol, and what nothing that is loaded refers to. Of a weak
// function that is in several files, libbpf's linker keeps every copy with its
// relocations and records, but only one symbol (linker_append_elf_sym); its loader
// passes over the others (bpf_object__relocate_core, bpf_object__collect_relos).
//
// ext is that of the object's .BTF.ext, nil if there is none; both it and the section
// are brought up to date. After an error the object is in pieces.
//
// It returns, by section and slot of the new code, which slot of the old code it is;
// only of sections that have lost code.
func DropUnloaded(obj *elfobj.Object, ext *btfraw.Ext) (map[string][]int, error) {
	f := &unloadedFinder{obj: obj, stretches: make(map[int][]*unloaded)}
	if err := f.find(); err != nil || len(f.stretches) == 0 {
		return nil, err
	}
	if err := f.dropRecords(ext); err != nil {
		return nil, fmt.Errorf(".BTF.ext: %w", err)
	}
	replacements, origins := make(map[string][]Replacement), make(map[string][]int)
	for index := range f.stretches {
		section := obj.Sections[index]
		for slot := range len(section.Data) / insn.SlotSize {
			isSecond := slot > 0 && section.Data[slot*insn.SlotSize] == 0 && f.at(index, slot-1) != nil // half of LDDW
			switch {
			case f.at(index, slot) == nil:
				origins[section.Name] = append(origins[section.Name], slot)
			case !isSecond:
				replacements[section.Name] = append(replacements[section.Name], Replacement{Slot: slot})
			}
		}
	}
	return origins, Replace(obj, ext, replacements)
}

// unloaded is a stretch of code, in slots, the end exclusive.
type unloaded struct {
	start, end int
	isNeeded   bool // something that is loaded refers to it
}

// unloadedFinder finds the stretches of each section, by its number and in their order.
type unloadedFinder struct {
	obj       *elfobj.Object
	stretches map[int][]*unloaded
}

func (f *unloadedFinder) find() error {
	functions := f.functions()
	for _, section := range f.obj.Sections {
		if holdsCode(section) && section.Type == elf.SHT_PROGBITS {
			if between := betweenFunctions(section, functions[section.Index]); len(between) > 0 {
				f.stretches[section.Index] = between
			}
		}
	}
	if len(f.stretches) == 0 {
		return nil
	}
	references, err := f.references()
	if err != nil {
		return err
	}
	references.keepNeeded()
	for index, all := range f.stretches {
		all = slices.DeleteFunc(all, func(u *unloaded) bool { return u.isNeeded })
		if f.stretches[index] = all; len(all) == 0 {
			delete(f.stretches, index)
		}
	}
	return nil
}

// betweenFunctions returns the stretches of a section that lie in no function. A
// section without any, of which the symbols have been stripped, has none.
func betweenFunctions(section *elfobj.Section, functions []elf.Symbol) (between []*unloaded) {
	if len(functions) == 0 {
		return nil
	}
	next, last := 0, len(section.Data)/insn.SlotSize
	for i, function := range functions {
		start := int(min(function.Value/insn.SlotSize, uint64(last)))
		if start > next {
			between = append(between, &unloaded{start: next, end: start})
		}
		size := function.Size
		switch {
		case size > 0:
		case i+1 < len(functions): // assembler need not say where a function ends
			size = functions[i+1].Value - function.Value
		default:
			size = uint64(len(section.Data))
		}
		end := function.Value + min(size, uint64(len(section.Data)))
		next = max(next, int(min((end+insn.SlotSize-1)/insn.SlotSize, uint64(last))))
	}
	if last > next {
		between = append(between, &unloaded{start: next, end: last})
	}
	return between
}

// functions returns the symbols that loaders take for those of functions, by section and
// by address: clang before version 8 gave them no type.
func (f *unloadedFinder) functions() map[int][]elf.Symbol {
	functions := make(map[int][]elf.Symbol)
	for _, symbol := range f.obj.Symbols {
		typ := elf.ST_TYPE(symbol.Info)
		if typ == elf.STT_FUNC || typ == elf.STT_NOTYPE && elf.ST_BIND(symbol.Info) != elf.STB_LOCAL {
			functions[int(symbol.Section)] = append(functions[int(symbol.Section)], symbol)
		}
	}
	for _, all := range functions {
		slices.SortStableFunc(all, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	}
	return functions
}

// at returns the stretch that a slot of a section lies in, or nil.
func (f *unloadedFinder) at(section, slot int) *unloaded {
	all := f.stretches[section]
	next := sort.Search(len(all), func(i int) bool { return all[i].end > slot })
	if next == len(all) || all[next].start > slot {
		return nil
	}
	return all[next]
}

// references are the stretches that a stretch refers to; of nil, those that what is
// loaded refers to.
type references map[*unloaded][]*unloaded

func (r references) add(from, to *unloaded) { r[from] = append(r[from], to) }

// keepNeeded marks the stretches that are referred to by what is loaded, which a
// static function is that has lost its symbol.
func (r references) keepNeeded() {
	for needed := r[nil]; len(needed) > 0; {
		next := needed[len(needed)-1]
		needed = needed[:len(needed)-1]
		if !next.isNeeded {
			next.isNeeded = true
			needed = append(needed, r[next]...)
		}
	}
}

// references returns what refers to stretches: relocations, and the distances in
// instructions that have none.
func (f *unloadedFinder) references() (references, error) {
	all, relocated, err := f.relocated()
	if err != nil {
		return nil, err
	}
	for index := range f.stretches {
		section := f.obj.Sections[index]
		for slot := range len(section.Data) / insn.SlotSize {
			ins := insn.Read(section.Data[slot*insn.SlotSize:], f.obj.Order)
			distance, field, err := ins.Distance()
			if err != nil || field == insn.NoDistance || relocated[place{section, uint64(slot) * insn.SlotSize}] {
				continue // what is no known instruction can't be moved either
			}
			if to := f.at(index, slot+1+distance); to != nil {
				all.add(f.at(index, slot), to)
			}
		}
	}
	return all, nil
}

// relocated returns the references by relocations, and every place with a relocation.
func (f *unloadedFinder) relocated() (references, map[place]bool, error) {
	m := &mover{obj: f.obj}
	all, relocated := make(references), make(map[place]bool)
	for _, table := range f.obj.Sections {
		if table.Type != elf.SHT_REL || int(table.Info) >= len(f.obj.Sections) {
			continue
		}
		target := f.obj.Sections[table.Info]
		if target.Flags&elf.SHF_ALLOC == 0 || Stale(target) {
			continue
		}
		err := m.relocations(table, func(rel relocation) error {
			relocated[place{target, rel.offset}] = true
			if rel.symbol == nil || f.stretches[int(rel.symbol.Section)] == nil {
				return nil
			}
			p, err := pointerIn(target, rel, f.obj.Order)
			if err != nil {
				return err
			}
			slot := (int64(rel.symbol.Value) + p.addend()) / insn.SlotSize
			if to := f.at(int(rel.symbol.Section), int(slot)); to != nil {
				all.add(f.at(target.Index, int(rel.offset/insn.SlotSize)), to)
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return all, relocated, nil
}

// dropRecords takes the records of the stretches out of .BTF.ext.
func (f *unloadedFinder) dropRecords(ext *btfraw.Ext) error {
	section := f.obj.Section(".BTF.ext")
	if section == nil || ext == nil {
		return nil
	}
	raw := f.obj.Section(".BTF")
	if raw == nil {
		return errors.New("damaged object: no .BTF beside it")
	}
	types, err := btfraw.Parse(raw.Data, nil)
	if err != nil {
		return err
	}
	byName := make(map[string]int)
	for index := range f.stretches {
		byName[f.obj.Sections[index].Name] = index
	}
	left, moved, err := ext.WithoutCode(types, func(name string, insnOffset uint32) bool {
		index, ok := byName[name]
		return ok && f.at(index, int(insnOffset/insn.SlotSize)) != nil
	})
	if err != nil {
		return err
	}
	*ext = *left
	section.Data = left.Bytes()
	return f.obj.MoveRelocations(section, moved)
}

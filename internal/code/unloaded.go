package code

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
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
		for slot := 0; slot < len(section.Data)/slotSize; slot++ {
			switch {
			case f.at(index, slot) == nil:
				origins[section.Name] = append(origins[section.Name], slot)
			case section.Data[slot*slotSize] != 0: // no second half of LDDW
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

// unloadedFinder finds the stretches of each section, by its number.
type unloadedFinder struct {
	obj       *elfobj.Object
	stretches map[int][]*unloaded
}

func (f *unloadedFinder) find() error {
	for _, section := range f.obj.Sections {
		if holdsCode(section) && section.Type == elf.SHT_PROGBITS {
			if between := f.betweenFunctions(section); len(between) > 0 {
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
	f.keepNeeded(references)
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
func (f *unloadedFinder) betweenFunctions(section *elfobj.Section) (between []*unloaded) {
	functions, last := f.functions(section), len(section.Data)/slotSize
	if len(functions) == 0 {
		return nil
	}
	next := 0
	for i, function := range functions {
		start := int(min(function.Value/slotSize, uint64(last)))
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
		next = max(next, int(min((end+slotSize-1)/slotSize, uint64(last))))
	}
	if last > next {
		between = append(between, &unloaded{start: next, end: last})
	}
	return between
}

// functions returns the symbols that loaders take for those of functions, by address:
// clang before version 8 gave them no type.
func (f *unloadedFinder) functions(section *elfobj.Section) (functions []elf.Symbol) {
	for _, symbol := range f.obj.Symbols {
		typ := elf.ST_TYPE(symbol.Info)
		isFunction := typ == elf.STT_FUNC || typ == elf.STT_NOTYPE && elf.ST_BIND(symbol.Info) != elf.STB_LOCAL
		if isFunction && symbol.Section == elf.SectionIndex(section.Index) {
			functions = append(functions, symbol)
		}
	}
	slices.SortStableFunc(functions, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	return functions
}

// at returns the stretch that a slot of a section lies in, or nil.
func (f *unloadedFinder) at(section, slot int) *unloaded {
	for _, u := range f.stretches[section] {
		if u.start <= slot && slot < u.end {
			return u
		}
	}
	return nil
}

// reference says what refers to a stretch: another one, or nil for what is loaded.
type reference struct{ from, to *unloaded }

// references returns what refers to stretches: relocations, and the distances in
// instructions that have none.
func (f *unloadedFinder) references() ([]reference, error) {
	all, relocated, err := f.relocated()
	if err != nil {
		return nil, err
	}
	for index := range f.stretches {
		section := f.obj.Sections[index]
		for slot := range len(section.Data) / slotSize {
			raw := section.Data[slot*slotSize:]
			field, err := distanceField(raw, f.obj.Order)
			if err != nil || field == noDistance || relocated[place{section, uint64(slot) * slotSize}] {
				continue // what is no known instruction can't be moved either
			}
			if to := f.at(index, slot+1+field.get(raw, f.obj.Order)); to != nil {
				all = append(all, reference{f.at(index, slot), to})
			}
		}
	}
	return all, nil
}

// relocated returns the references by relocations, and every place with a relocation.
func (f *unloadedFinder) relocated() ([]reference, map[place]bool, error) {
	m := &mover{obj: f.obj}
	var all []reference
	relocated := make(map[place]bool)
	for _, table := range f.obj.Sections {
		if table.Type != elf.SHT_REL || int(table.Info) >= len(f.obj.Sections) {
			continue
		}
		target := f.obj.Sections[table.Info]
		if target.Flags&elf.SHF_ALLOC == 0 || stale(target) {
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
			slot := (int64(rel.symbol.Value) + p.addend()) / slotSize
			if to := f.at(int(rel.symbol.Section), int(slot)); to != nil {
				all = append(all, reference{f.at(target.Index, int(rel.offset/slotSize)), to})
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return all, relocated, nil
}

// keepNeeded marks the stretches that are referred to by what is loaded, which a
// static function is that has lost its symbol.
func (f *unloadedFinder) keepNeeded(references []reference) {
	for found := true; found; {
		found = false
		for _, r := range references {
			if isLoaded := r.from == nil || r.from.isNeeded; isLoaded && !r.to.isNeeded {
				r.to.isNeeded, found = true, true
			}
		}
	}
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
		return ok && f.at(index, int(insnOffset/slotSize)) != nil
	})
	if err != nil {
		return err
	}
	*ext = *left
	section.Data = left.Bytes()
	return f.obj.MoveRelocations(section, moved)
}

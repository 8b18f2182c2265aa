package link

import (
	"debug/elf"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// reach finds what is wanted, and what that needs.
func (l *linking) reach(wanted Wanted) error {
	for _, name := range wanted.Functions {
		symbol, err := l.source.find(name)
		if err == nil {
			err = l.needFunction(symbol)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range wanted.Bodies {
		symbol, err := l.source.find(name)
		if err != nil {
			return err
		}
		body, err := l.cut(symbol)
		if err != nil {
			return err
		}
		l.bodies[symbol] = body
		if err := l.needAll(body); err != nil {
			return err
		}
	}
	for next := 0; next < len(l.functions); next++ {
		if err := l.needAll(l.functions[next]); err != nil {
			return err
		}
	}
	return nil
}

func (l *linking) cut(symbol int) (*function, error) {
	cut, err := l.source.cutter.Cut(symbol)
	if err != nil {
		return nil, err
	}
	return &function{Function: cut, symbol: symbol, name: l.source.obj.Symbols[symbol].Name}, nil
}

// needAll finds what a function refers to.
func (l *linking) needAll(f *function) error {
	for _, rel := range f.Relocations {
		if err := l.need(rel.Symbol); err != nil {
			return f.errorAt(rel.At, err)
		}
	}
	return nil
}

// errorAt says which instruction, and source line, of a function an error is about.
func (f *function) errorAt(slot int, err error) error {
	err = fmt.Errorf("function %s: instruction %d: %w", f.name, slot, err)
	if line, ok := f.LineAt(slot); ok && line.Line > 0 {
		err = fmt.Errorf("%s:%d: %w", path.Clean(line.File), line.Line, err)
	}
	return err
}

func (l *linking) need(number int) error {
	symbol := l.source.obj.Symbols[number]
	if symbol.Section == elf.SHN_UNDEF {
		return l.needExtern(number)
	}
	if uint64(symbol.Section) >= uint64(len(l.source.obj.Sections)) {
		return fmt.Errorf("%s is in no section", symbol.Name)
	}
	section := l.source.obj.Sections[symbol.Section]
	switch {
	case section.Flags&elf.SHF_EXECINSTR != 0:
		return l.needFunction(number)
	case isData(section):
		return l.needData(section)
	case section.Name == "maps" || section.Name == ".maps":
		return fmt.Errorf("it uses map %s: maps can't be linked", symbol.Name)
	}
	return fmt.Errorf("it uses section %s, which can't be linked: only .data, .rodata and .bss can", section)
}

// needFunction finds a function. Of a weak one the object may have its own.
func (l *linking) needFunction(number int) error {
	symbol := l.source.obj.Symbols[number]
	if l.reached[number] {
		return nil
	}
	l.reached[number] = true
	if own, ok := l.global[symbol.Name]; ok && isWeak(symbol) && l.isFunction(l.obj.Symbols[own]) {
		l.existing[number] = symbol.Name
		return nil
	}
	f, err := l.cut(number)
	if err != nil {
		return err
	}
	if f.TypeID == 0 {
		return fmt.Errorf("function %s has no func_info in .BTF.ext: compile with -g", f.name)
	}
	l.functions = append(l.functions, f)
	return nil
}

// isFunction reports whether the object defines a function by a symbol, and isVariable
// whether it defines one.
func (l *linking) isFunction(symbol elf.Symbol) bool {
	section := l.sectionOf(symbol)
	return section.Flags&elf.SHF_EXECINSTR != 0 && elf.ST_TYPE(symbol.Info) == elf.STT_FUNC
}

func (l *linking) isVariable(symbol elf.Symbol) bool { return isData(l.sectionOf(symbol)) }

// sectionOf returns the section that a symbol of the object is in, the first, which is
// nothing, if in none.
func (l *linking) sectionOf(symbol elf.Symbol) *elfobj.Section {
	if uint64(symbol.Section) >= uint64(len(l.obj.Sections)) {
		return l.obj.Sections[elf.SHN_UNDEF]
	}
	return l.obj.Sections[symbol.Section]
}

// needExtern finds what the source only declares: in the kernel, or in the object.
func (l *linking) needExtern(number int) error {
	if l.reached[number] {
		return nil
	}
	l.reached[number] = true
	symbol := l.source.obj.Symbols[number]
	declaration := l.source.declared[symbol.Name]
	own, known := l.global[symbol.Name]
	isDefined := known && l.obj.Symbols[own].Section != elf.SHN_UNDEF
	switch {
	case !ofKernel[declaration.section] && isDefined:
		if own := l.obj.Symbols[own]; !l.isFunction(own) && !l.isVariable(own) {
			return fmt.Errorf("%s is neither a function of the object nor in .data, .rodata or .bss: that can't be linked", symbol.Name)
		}
		l.existing[number] = symbol.Name
		return nil
	case !ofKernel[declaration.section]:
		return fmt.Errorf("neither object defines %s", symbol.Name)
	case isDefined || !known && l.taken[symbol.Name]:
		return fmt.Errorf("%s is the kernel's, and the object has something of its own by that name", symbol.Name)
	case known && l.known[symbol.Name].section != declaration.section:
		return fmt.Errorf("%s is in %s, and the object declares it elsewhere", symbol.Name, declaration.section)
	}
	l.externs = append(l.externs, number)
	return nil
}

// isData reports whether a section becomes a map of data when it is loaded
// (bpf_object__elf_collect of libbpf).
func isData(section *elfobj.Section) bool {
	if section.Flags&(elf.SHF_ALLOC|elf.SHF_COMPRESSED) != elf.SHF_ALLOC || section.Type != elf.SHT_PROGBITS && section.Type != elf.SHT_NOBITS {
		return false
	}
	return slices.ContainsFunc([]string{".data", ".rodata", ".bss"}, func(name string) bool {
		return section.Name == name || strings.HasPrefix(section.Name, name+".")
	})
}

func (l *linking) needData(section *elfobj.Section) error {
	for _, other := range l.needed {
		if other == section {
			return nil
		}
		if other.Name == section.Name {
			return fmt.Errorf("it uses two sections %s, whose variables the BTF does not tell apart", section)
		}
	}
	if table := l.source.obj.Relocations(section); table != nil && len(table.Data) > 0 {
		return fmt.Errorf("it uses section %s, which points at other things: that can't be linked", section)
	}
	l.needed = append(l.needed, section)
	return nil
}

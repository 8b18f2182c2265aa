package link

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// Place is where a function starts: the section, and the byte in it.
type Place struct {
	Section string
	Start   uint64
}

// Copy puts copies of static functions of an object behind those of .text. They call
// each other where the functions do, and share with them whatever else these refer to. ext
// is what the caller has read of the object's .BTF.ext, and is brought up to date.
//
// It returns what refers to each copy, in the order of functions. After an error obj and
// ext are as they were.
func Copy(obj *elfobj.Object, ext *btfraw.Ext, functions []Place) ([]code.Relocation, error) {
	draft, adopt := obj.Draft()
	if _, err := draft.Remove(func(section *elfobj.Section) bool { return code.Stale(section) || isOfTypes(draft, section) }); err != nil {
		return nil, err
	}
	text := draft.Section(textSection)
	if text == nil || text.Type != elf.SHT_PROGBITS {
		return nil, errors.New("the object has no .text")
	}
	c := &copying{obj: draft, text: text, copies: make(map[Place]uint64), taken: make(map[string]bool)}
	for _, symbol := range draft.Symbols {
		c.taken[symbol.Name] = true
	}
	bodies, err := c.cut(ext, functions)
	if err != nil {
		return nil, err
	}
	for n := range bodies {
		if err := c.share(&bodies[n]); err != nil {
			return nil, err
		}
	}
	records, err := code.Append(draft, text, bodies)
	if err != nil {
		return nil, err
	}
	edit, err := btfraw.NewEdit(draft.Section(".BTF").Data)
	if err != nil {
		return nil, err
	}
	with, err := ext.With(records, edit)
	if err != nil {
		return nil, fmt.Errorf(".BTF.ext: %w", err)
	}
	draft.Section(".BTF").Data, draft.Section(".BTF.ext").Data = edit.Bytes(), with.Bytes()
	adopt()
	*ext = *with
	references := make([]code.Relocation, len(functions))
	for n, function := range functions {
		references[n] = code.Relocation{Symbol: c.section, Addend: int64(c.copies[function])}
	}
	return references, nil
}

// copying is an object in which functions are copied.
type copying struct {
	obj     *elfobj.Object
	text    *elfobj.Section
	section int              // the symbol of .text
	copies  map[Place]uint64 // where copies start in .text
	taken   map[string]bool  // names of symbols
}

// nameOfCopy returns a name that no symbol has.
func (c *copying) nameOfCopy(function string) string {
	name := function
	for n := 2; c.taken[name]; n++ {
		name = fmt.Sprintf("%s__%d", function, n)
	}
	c.taken[name] = true
	return name
}

// cut cuts functions out, and gives the copies their places and symbols.
func (c *copying) cut(ext *btfraw.Ext, functions []Place) ([]code.Function, error) {
	symbols := make([]elf.Symbol, 0, len(functions)+1)
	bodies := make([]code.Function, len(functions))
	cutter, err := code.NewCutter(c.obj, ext)
	if err != nil {
		return nil, err
	}
	start := uint64(len(c.text.Data))
	for n, function := range functions {
		number, err := c.symbolAt(function)
		if err != nil {
			return nil, err
		}
		body, err := cutter.Cut(number)
		if err != nil {
			return nil, err
		}
		bodies[n], c.copies[function] = *body, start
		symbol := c.obj.Symbols[number]
		symbol.Info = elf.ST_INFO(elf.STB_LOCAL, elf.STT_FUNC)
		symbol.Name, symbol.Section, symbol.Value = c.nameOfCopy(symbol.Name), elf.SectionIndex(c.text.Index), start
		symbols = append(symbols, symbol)
		start += uint64(len(body.Code))
	}
	symbols = append(symbols, elf.Symbol{Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_SECTION), Section: elf.SectionIndex(c.text.Index)})
	before := slices.Clone(c.obj.Symbols)
	indices, err := c.obj.AddSymbols(symbols)
	if err != nil {
		return nil, err
	}
	c.section = indices[len(functions)]
	for n := range bodies {
		if err := Renumber(&bodies[n].Attached, before, c.obj.Symbols); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// symbolAt returns the symbol of the function that starts at a place.
func (c *copying) symbolAt(at Place) (int, error) {
	for i, symbol := range c.obj.Symbols {
		inSection := uint64(symbol.Section) < uint64(len(c.obj.Sections)) && c.obj.Sections[symbol.Section].Name == at.Section
		if inSection && symbol.Value == at.Start && elf.ST_TYPE(symbol.Info) == elf.STT_FUNC && (isLocal(symbol) || isHidden(symbol)) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no symbol says that a static function starts at byte %d of section %s", at.Start, at.Section)
}

// isHidden reports whether a symbol is of a function that loaders take for a static one.
func isHidden(symbol elf.Symbol) bool {
	visibility := elf.ST_VISIBILITY(symbol.Other)
	return visibility == elf.STV_HIDDEN || visibility == elf.STV_INTERNAL
}

// share makes a copy refer to the copies that there are.
func (c *copying) share(body *code.Function) error {
	for i := range body.Relocations {
		rel := &body.Relocations[i]
		symbol := c.obj.Symbols[rel.Symbol]
		if uint64(symbol.Section) >= uint64(len(c.obj.Sections)) {
			continue
		}
		at := Place{c.obj.Sections[symbol.Section].Name, symbol.Value + uint64(rel.Addend)}
		start, isCopied := c.copies[at]
		switch isStatic := elf.ST_TYPE(symbol.Info) == elf.STT_FUNC && isLocal(symbol); {
		case isCopied:
			rel.Symbol, rel.Addend = c.section, int64(start)
		case isStatic && int(symbol.Section) == c.text.Index: // cilium/ebpf wants it so
			rel.Symbol, rel.Addend = c.section, int64(at.Start)
		}
	}
	return nil
}

// Renumber makes relocations refer to the symbols that they referred to once symbols were
// added: local ones come first, so that others have new indices.
func Renumber(attached *code.Attached, before, now []elf.Symbol) error {
	indices, next := make([]int, len(before)), 0
	for i, symbol := range before {
		for next < len(now) && now[next] != symbol {
			next++
		}
		if next == len(now) {
			return fmt.Errorf("symbol %d, %s, is gone", i, symbol.Name)
		}
		indices[i] = next
		next++
	}
	for i := range attached.Relocations {
		rel := &attached.Relocations[i]
		rel.Symbol = indices[rel.Symbol]
	}
	return nil
}

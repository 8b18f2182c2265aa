package link

import (
	"debug/elf"
	"errors"
	"fmt"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

const textSection = ".text"

// addSymbols gives what is linked its place and its symbol.
func (l *linking) addSymbols() error {
	if err := l.placeFunctions(); err != nil {
		return err
	}
	if err := l.nameAll(); err != nil {
		return err
	}
	sections := l.referredSections()
	symbols := make([]elf.Symbol, 0, len(l.named)+len(sections))
	for _, n := range l.named {
		symbols = append(symbols, n.symbol)
	}
	for _, section := range sections {
		symbols = append(symbols, elf.Symbol{Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_SECTION), Section: elf.SectionIndex(section)})
	}
	indices, err := l.obj.AddSymbols(symbols)
	if err != nil {
		return err
	}
	for i, n := range l.named {
		l.places[n.from] = indices[i]
	}
	for i, section := range sections {
		l.sections[section] = indices[len(l.named)+i]
	}
	return l.useOwn()
}

// placeFunctions finds where functions come to lie behind those of .text.
func (l *linking) placeFunctions() (err error) {
	if len(l.functions) == 0 {
		return nil
	}
	l.text = l.obj.Section(textSection)
	if l.text == nil {
		l.text, err = l.obj.AddSection(textSection, elf.SHF_ALLOC|elf.SHF_EXECINSTR, insn.SlotSize, nil)
		if err != nil {
			return err
		}
	}
	if l.text.Type != elf.SHT_PROGBITS || l.text.Flags&elf.SHF_COMPRESSED != 0 || len(l.text.Data)%insn.SlotSize != 0 {
		return errors.New("damaged object: .text is no code")
	}
	start := uint64(len(l.text.Data))
	for _, f := range l.functions {
		f.start = start
		start += uint64(len(f.Code))
	}
	return nil
}

// named is a symbol of the source that the object gets, under another name maybe.
type named struct {
	from   int // its index
	symbol elf.Symbol
}

// nameAll collects the symbols that the object gets.
func (l *linking) nameAll() error {
	for _, f := range l.functions {
		symbol := l.source.obj.Symbols[f.symbol]
		symbol.Section, symbol.Value = elf.SectionIndex(l.text.Index), f.start
		name, err := l.name(symbol, l.isDeclared(symbol))
		if err != nil {
			return err
		}
		f.name, symbol.Name = name, name
		if !l.isDeclared(symbol) {
			l.named = append(l.named, named{f.symbol, symbol})
		}
	}
	for i, symbol := range l.source.obj.Symbols {
		to, ok := l.data[int(symbol.Section)]
		if !ok || elf.ST_TYPE(symbol.Info) != elf.STT_OBJECT {
			continue
		}
		symbol.Section = elf.SectionIndex(to.section.Index)
		symbol.Value += to.start
		var err error
		if symbol.Name, err = l.name(symbol, false); err != nil {
			return err
		}
		l.named = append(l.named, named{i, symbol})
	}
	for _, number := range l.externs {
		symbol := l.source.obj.Symbols[number]
		if _, ok := l.global[symbol.Name]; !ok {
			l.named = append(l.named, named{number, symbol})
		}
	}
	return nil
}

// isDeclared reports whether a function is one that the object declares.
func (l *linking) isDeclared(function elf.Symbol) bool {
	return !isLocal(function) && l.declares(function.Name) && !ofKernel[l.known[function.Name].section]
}

func (l *linking) declares(name string) bool {
	own, ok := l.global[name]
	return ok && l.obj.Symbols[own].Section == elf.SHN_UNDEF
}

// name returns the name that a symbol gets.
func (l *linking) name(symbol elf.Symbol, isDeclared bool) (string, error) {
	name := symbol.Name
	switch {
	case isDeclared || name == "":
		return name, nil
	case l.declares(name) && !isLocal(symbol) && !ofKernel[l.known[name].section]:
		return "", fmt.Errorf("the object declares %s, which only functions can be linked for: define it there, and declare it in what is linked", name)
	case l.taken[name] && !isLocal(symbol):
		return "", fmt.Errorf("both objects have a %s: make the one that is linked static, or give it another name", name)
	}
	for l.taken[name] {
		l.copies[symbol.Name]++
		name = fmt.Sprintf("%s__%d", symbol.Name, 1+l.copies[symbol.Name])
	}
	l.taken[name] = true
	return name, nil
}

// referredSections returns, by their number, the sections that need a symbol and have
// none: static functions and data are at an offset from that, as cilium/ebpf wants it.
func (l *linking) referredSections() []int {
	for i, symbol := range l.obj.Symbols {
		if elf.ST_TYPE(symbol.Info) == elf.STT_SECTION {
			l.sections[int(symbol.Section)] = i
		}
	}
	var without []int
	add := func(section int) {
		if _, ok := l.sections[section]; !ok {
			l.sections[section] = elfobj.NoSymbol
			without = append(without, section)
		}
	}
	if l.text != nil {
		add(l.text.Index)
	}
	for _, from := range l.needed {
		add(l.data[from.Index].section.Index)
	}
	for _, number := range l.existingInOrder() {
		add(int(l.obj.Symbols[l.global[l.existing[number]]].Section))
	}
	return without
}

// useOwn finds what the object has itself, the symbols of which may have other indices
// now, and defines what it only declares.
func (l *linking) useOwn() error {
	for i, symbol := range l.obj.Symbols {
		switch {
		case elf.ST_TYPE(symbol.Info) == elf.STT_SECTION:
			l.sections[int(symbol.Section)] = i
		case !isLocal(symbol):
			l.global[symbol.Name] = i
		}
	}
	for number, name := range l.existing {
		l.places[number] = l.global[name]
	}
	for _, number := range l.externs {
		if err := l.shareExtern(number); err != nil {
			return err
		}
	}
	for _, f := range l.functions {
		if _, ok := l.places[f.symbol]; ok {
			continue
		}
		own, symbol := l.global[f.name], l.source.obj.Symbols[f.symbol]
		symbol.Section, symbol.Value = elf.SectionIndex(l.text.Index), f.start
		if err := l.obj.SetSymbol(own, symbol); err != nil {
			return err
		}
		l.places[f.symbol] = own
		l.defined[f.symbol] = true
	}
	return nil
}

// shareExtern makes an extern that both declare one that has to be there if it has to
// for one of them.
func (l *linking) shareExtern(number int) error {
	symbol := l.source.obj.Symbols[number]
	own := l.global[symbol.Name]
	l.places[number] = own
	if isWeak(l.obj.Symbols[own]) && !isWeak(symbol) {
		shared := l.obj.Symbols[own]
		shared.Info = elf.ST_INFO(elf.STB_GLOBAL, elf.ST_TYPE(shared.Info))
		return l.obj.SetSymbol(own, shared)
	}
	return nil
}

// refer makes a relocation of the source one of the object: calls of functions that are
// not static are against the function's symbol, everything else that the object has
// against the section's.
func (l *linking) refer(f *code.Function, rel *code.Relocation) error {
	symbol := l.source.obj.Symbols[rel.Symbol]
	if to, ok := l.data[int(symbol.Section)]; ok {
		rel.Symbol = l.sections[to.section.Index]
		rel.Addend += int64(to.start + symbol.Value)
		return nil
	}
	place, ok := l.places[rel.Symbol]
	if !ok {
		return fmt.Errorf("%s was not linked", symbol.Name)
	}
	own := l.obj.Symbols[place]
	if own.Section == elf.SHN_UNDEF || f.IsCall(rel) && !isLocal(own) {
		rel.Symbol = place
		return nil
	}
	rel.Symbol = l.sections[int(own.Section)]
	rel.Addend += int64(own.Value)
	return nil
}

// call returns the relocation of a call of a function that was linked.
func (l *linking) call(place int) code.Relocation {
	own := l.obj.Symbols[place]
	if !isLocal(own) {
		return code.Relocation{Symbol: place}
	}
	return code.Relocation{Symbol: l.sections[int(own.Section)], Addend: int64(own.Value)}
}

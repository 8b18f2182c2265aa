package collection

import (
	"debug/elf"
	"fmt"

	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// makeWeakGlobal makes weak maps and functions global: linking has chosen one of each
// name already, and cilium/ebpf takes no reference to a weak map, nor the address of a
// weak function.
func (r *reading) makeWeakGlobal() error {
	for i, symbol := range r.object.Symbols {
		section := r.sectionOf(symbol)
		if isWeak(symbol) && (section.Name == ".maps" || section.Flags&elf.SHF_EXECINSTR != 0) {
			if err := r.object.SetSymbol(i, global(symbol)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sectionOf returns the section that a symbol is in; one without a name if it is in none.
func (r *reading) sectionOf(symbol elf.Symbol) *elfobj.Section {
	if int(symbol.Section) < len(r.object.Sections) {
		return r.object.Sections[symbol.Section]
	}
	return r.object.Sections[elf.SHN_UNDEF]
}

// names are those that are taken, each with the number of the last that is like it.
type names map[string]int

func (n names) has(name string) bool { _, ok := n[name]; return ok }

func (n names) take(name string) { n[name] = max(n[name], 1) }

// unlike returns a name for something of a name that is taken, and takes it.
func (n names) unlike(name string) string {
	for {
		n[name]++
		if other := fmt.Sprintf("%s__%d", name, n[name]); !n.has(other) {
			n.take(other)
			return other
		}
	}
}

func isWeak(symbol elf.Symbol) bool { return elf.ST_BIND(symbol.Info) == elf.STB_WEAK }

func isLocal(symbol elf.Symbol) bool { return elf.ST_BIND(symbol.Info) == elf.STB_LOCAL }

func isHidden(symbol elf.Symbol) bool {
	visibility := elf.ST_VISIBILITY(symbol.Other)
	return !isLocal(symbol) && (visibility == elf.STV_HIDDEN || visibility == elf.STV_INTERNAL)
}

func global(symbol elf.Symbol) elf.Symbol {
	symbol.Info = elf.ST_INFO(elf.STB_GLOBAL, elf.ST_TYPE(symbol.Info))
	return symbol
}

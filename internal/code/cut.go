package code

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
)

// Cutter cuts functions out of an object, which stays as it is.
type Cutter struct {
	obj       *elfobj.Object
	ext       *btfraw.Ext
	functions map[place]int // indices of Symbols, by where they start
	rels      map[*elfobj.Section][]elfobj.Rel
	relos     map[string][]btfraw.CORERelo
	types     map[string]map[uint32]uint32 // of functions, by section and offset
}

// NewCutter returns one for an object and its .BTF.ext, nil if it has none.
func NewCutter(obj *elfobj.Object, ext *btfraw.Ext) (*Cutter, error) {
	c := &Cutter{
		obj: obj, ext: ext, functions: make(map[place]int), rels: make(map[*elfobj.Section][]elfobj.Rel),
		relos: make(map[string][]btfraw.CORERelo), types: make(map[string]map[uint32]uint32),
	}
	for i, symbol := range obj.Symbols {
		section := c.codeOf(symbol)
		if section == nil || elf.ST_TYPE(symbol.Info) != elf.STT_FUNC {
			continue
		}
		at := place{section, symbol.Value}
		if before, ok := c.functions[at]; !ok || elf.ST_BIND(obj.Symbols[before].Info) == elf.STB_LOCAL {
			c.functions[at] = i // of two names, the global one
		}
	}
	for _, table := range obj.Sections {
		if table.Type != elf.SHT_REL || uint64(table.Info) >= uint64(len(obj.Sections)) || !holdsCode(obj.Sections[table.Info]) {
			continue
		}
		if len(table.Data)%elfobj.RelSize != 0 {
			return nil, fmt.Errorf("%s: %w", table, errTable)
		}
		target := obj.Sections[table.Info]
		c.rels[target] = slices.AppendSeq(c.rels[target], obj.Rels(table))
	}
	for _, rels := range c.rels {
		slices.SortStableFunc(rels, func(a, b elfobj.Rel) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	if ext == nil {
		return c, nil
	}
	for _, relo := range ext.CORERelos() {
		c.relos[relo.Section] = append(c.relos[relo.Section], relo)
	}
	for _, relos := range c.relos {
		slices.SortStableFunc(relos, func(a, b btfraw.CORERelo) int { return cmp.Compare(a.InsnOffset, b.InsnOffset) })
	}
	for _, function := range ext.Functions {
		if c.types[function.Section] == nil {
			c.types[function.Section] = make(map[uint32]uint32)
		}
		c.types[function.Section][function.InsnOffset] = function.TypeID
	}
	return c, nil
}

// codeOf returns the section with code that a symbol is in, or nil.
func (c *Cutter) codeOf(symbol elf.Symbol) *elfobj.Section {
	if uint64(symbol.Section) >= uint64(len(c.obj.Sections)) || symbol.Section == elf.SHN_UNDEF {
		return nil
	}
	section := c.obj.Sections[symbol.Section]
	if section.Type != elf.SHT_PROGBITS || section.Flags&elf.SHF_COMPRESSED != 0 || !holdsCode(section) {
		return nil
	}
	return section
}

// Cut returns the function of a symbol, given by its index. Where it calls another one,
// or takes its address, the relocation is against that one's symbol, whatever the object
// has there; the others are those of the object.
//
// It refuses a function that can't be put elsewhere: one that runs or jumps into another.
func (c *Cutter) Cut(symbol int) (*Function, error) {
	if symbol < 0 || symbol >= len(c.obj.Symbols) {
		return nil, fmt.Errorf("no symbol %d", symbol)
	}
	function := c.obj.Symbols[symbol]
	section := c.codeOf(function)
	switch {
	case section == nil || elf.ST_TYPE(function.Info) != elf.STT_FUNC:
		return nil, fmt.Errorf("%s is no function of the object", function.Name)
	case function.Size == 0 || function.Size%insn.SlotSize != 0 || function.Value%insn.SlotSize != 0,
		function.Value > uint64(len(section.Data)) || function.Size > uint64(len(section.Data))-function.Value:
		return nil, fmt.Errorf("function %s of section %s: its symbol says no place of instructions: byte %d, %d bytes", function.Name, section, function.Value, function.Size)
	}
	if _, err := findCode(c.obj, section.Name); err != nil {
		return nil, fmt.Errorf("function %s: %w", function.Name, err)
	}
	cut := &cut{Cutter: c, section: section, start: function.Value, end: function.Value + function.Size}
	result, err := cut.function()
	if err != nil {
		return nil, fmt.Errorf("function %s of section %s: %w", function.Name, section, err)
	}
	return result, nil
}

// cut is the function between two bytes of a section.
type cut struct {
	*Cutter
	section    *elfobj.Section
	start, end uint64
}

func (c *cut) function() (*Function, error) {
	f := &Function{Code: slices.Clone(c.section.Data[c.start:c.end])}
	second, bad := insn.SecondHalves(f.Code)
	if bad >= 0 {
		return nil, fmt.Errorf("instruction %d: %w", bad, errHalfLDDW)
	}
	relocated, err := c.relocations(f)
	if err != nil {
		return nil, err
	}
	for slot := range second {
		if second[slot] || relocated[slot] {
			continue
		}
		if err := c.distance(f, second, slot); err != nil {
			return nil, fmt.Errorf("instruction %d: %w", slot, err)
		}
	}
	if runsOn(f.Code, second, c.obj.Order) {
		return nil, errors.New("its last instruction runs on into what follows")
	}
	slices.SortFunc(f.Relocations, func(a, b Relocation) int { return cmp.Compare(a.At, b.At) })
	c.records(f)
	return f, f.check(f.Code, second, c.obj.Order)
}

// runsOn reports whether what follows the last instruction may come next.
func runsOn(code []byte, second []bool, order binary.ByteOrder) bool {
	last := len(second) - 1
	if second[last] {
		return true // LDDW
	}
	ins := insn.Read(code[last*insn.SlotSize:], order)
	return ins.FallsThrough()
}

// relocations collects those of the object and returns the slots that they are for.
func (c *cut) relocations(f *Function) (map[int]bool, error) {
	relocated := make(map[int]bool)
	rels := c.rels[c.section]
	first := sort.Search(len(rels), func(i int) bool { return rels[i].Offset >= c.start })
	for _, rel := range rels[first:] {
		if rel.Offset >= c.end {
			break
		}
		at := rel.Offset - c.start
		slot := int(at / insn.SlotSize)
		p, err := instructionPointer(f.Code, at, c.obj.Order)
		if err == nil && rel.Index == elfobj.NoSymbol {
			err = errors.New("a relocation without a symbol")
		}
		reference := Relocation{At: slot, Symbol: rel.Index}
		if err == nil {
			reference.Addend = p.addend()
			err = c.nameFunction(&reference)
		}
		if err != nil {
			return nil, fmt.Errorf("instruction %d: %w", slot, err)
		}
		relocated[slot] = true
		f.Relocations = append(f.Relocations, reference)
	}
	return relocated, nil
}

// nameFunction makes a relocation against a place in code one against the function that
// starts there.
func (c *cut) nameFunction(rel *Relocation) error {
	symbol := c.obj.Symbols[rel.Symbol]
	section := c.codeOf(symbol)
	if section == nil {
		return nil
	}
	function, ok := c.functions[place{section, symbol.Value + uint64(rel.Addend)}]
	if !ok {
		return fmt.Errorf("no function starts at byte %d of section %s, which it refers to", int64(symbol.Value)+rel.Addend, section)
	}
	rel.Symbol, rel.Addend = function, 0
	return nil
}

// distance makes the distance to another function a relocation, and wants the others to
// stay inside.
func (c *cut) distance(f *Function, second []bool, slot int) error {
	ins := insn.Read(f.Code[slot*insn.SlotSize:], c.obj.Order)
	distance, field, err := ins.Distance()
	if err != nil || field == insn.NoDistance {
		return err
	}
	target := slot + 1 + distance
	if ins.Jumps() {
		if target < 0 || target >= len(second) || second[target] {
			return fmt.Errorf("it jumps to instruction %d of %d", target, len(second))
		}
		return nil
	}
	at := int64(c.start) + int64(target)*insn.SlotSize
	function, ok := c.functions[place{c.section, uint64(at)}]
	if !ok {
		return fmt.Errorf("no function starts at byte %d of the section, which it refers to", at)
	}
	f.Relocations = append(f.Relocations, Relocation{At: slot, Symbol: function})
	return nil
}

// records collects those of .BTF.ext. The first instruction always has a line if there
// are any, as the kernel wants of each function (check_btf_line).
func (c *cut) records(f *Function) {
	if c.ext == nil {
		return
	}
	name, start := c.section.Name, uint32(c.start)
	f.TypeID = c.types[name][start]

	relos := c.relos[name]
	first := sort.Search(len(relos), func(i int) bool { return uint64(relos[i].InsnOffset) >= c.start })
	for _, relo := range relos[first:] {
		if uint64(relo.InsnOffset) >= c.end {
			break
		}
		relo.InsnOffset -= start
		f.CORERelos = append(f.CORERelos, relo)
	}
	lines := c.ext.Lines[name]
	first = sort.Search(len(lines), func(i int) bool { return uint64(lines[i].InsnOffset) >= c.start })
	if line, ok := c.ext.LineAt(name, start); ok && line.InsnOffset != start {
		line.InsnOffset = 0
		f.Lines = append(f.Lines, line)
	}
	for _, line := range lines[first:] {
		if uint64(line.InsnOffset) >= c.end {
			break
		}
		line.InsnOffset -= start
		f.Lines = append(f.Lines, line)
	}
}

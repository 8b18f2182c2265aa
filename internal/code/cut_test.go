package code_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// Every function of the fixtures can be cut out, with all that is about it.
func TestCut(t *testing.T) {
	calls := 0
	for _, path := range fixtures(t) {
		p := read(t, path)
		before := p.Bytes()
		cutter, err := code.NewCutter(p.Object, p.ext)
		if err != nil {
			t.Fatal(err)
		}
		relos, lines := 0, 0
		for i, symbol := range p.Symbols {
			if elf.ST_TYPE(symbol.Info) != elf.STT_FUNC || symbol.Size == 0 {
				continue
			}
			section := p.Sections[symbol.Section]
			function, err := cutter.Cut(i)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if !bytes.Equal(function.Code, section.Data[symbol.Value:symbol.Value+symbol.Size]) {
				t.Errorf("%s: %s has other code", path, symbol.Name)
			}
			insns := decode(p.Order, function.Code)
			for _, rel := range function.Relocations {
				to := p.Symbols[rel.Symbol]
				if to.Section != elf.SHN_UNDEF && p.Sections[to.Section].Flags&elf.SHF_EXECINSTR != 0 {
					calls++
					if elf.ST_TYPE(to.Info) != elf.STT_FUNC || rel.Addend != 0 {
						t.Errorf("%s: %s refers to byte %d of %s", path, symbol.Name, rel.Addend, to.Name)
					}
				}
				if opcode := insns[rel.At].opcode; opcode != opCall && opcode != lddw || function.IsCall(&rel) != (opcode == opCall) {
					t.Errorf("%s: %s has a relocation for %+v", path, symbol.Name, insns[rel.At])
				}
			}
			for _, relo := range function.CORERelos {
				relos++
				if relo.InsnOffset >= uint32(symbol.Size) {
					t.Errorf("%s: %s has a record for byte %d", path, symbol.Name, relo.InsnOffset)
				}
			}
			lines += len(function.Lines)
			if len(function.Lines) == 0 || function.Lines[0].InsnOffset != 0 || function.TypeID == 0 {
				t.Errorf("%s: %s is of type %d and has lines %+v", path, symbol.Name, function.TypeID, function.Lines)
			}
		}
		all := 0
		for _, of := range p.ext.Lines {
			all += len(of)
		}
		if relos != p.ext.CountCORERelos() || lines != all {
			t.Errorf("%s: %d of %d records, %d of %d lines", path, relos, p.ext.CountCORERelos(), lines, all)
		}
		if !bytes.Equal(p.Bytes(), before) {
			t.Errorf("%s changed", path)
		}
	}
	if calls == 0 {
		t.Error("no calls")
	}
}

// The kernel wants a line for the first instruction of each function, if there are any.
func TestCutLineAtStart(t *testing.T) {
	p := read(t, fixtures(t)[0])
	index := slices.IndexFunc(p.Symbols, func(s elf.Symbol) bool { return elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Value > 0 })
	name := p.Sections[p.Symbols[index].Section].Name
	isFirst := func(line btfraw.Line) bool { return uint64(line.InsnOffset) == p.Symbols[index].Value }
	p.ext.Lines[name] = slices.DeleteFunc(p.ext.Lines[name], isFirst)
	cutter, err := code.NewCutter(p.Object, p.ext)
	if err != nil {
		t.Fatal(err)
	}
	if function, err := cutter.Cut(index); err != nil || len(function.Lines) == 0 || function.Lines[0].InsnOffset != 0 {
		t.Errorf("%+v, %v", function, err)
	}
}

// A call in the section is one of the function that starts there.
func TestCutCalls(t *testing.T) {
	for endian, order := range orders {
		p := calling()
		p.sections[1].code = []any{call(1), exit, function(-3), exit}
		p.symbols[2].size = 24
		obj := p.object(t, order)
		cutter, err := code.NewCutter(obj, nil)
		if err != nil {
			t.Fatal(err)
		}
		for from, to := range map[string]string{"first": "second", "second": "first"} {
			function, err := cutter.Cut(symbolIndex(obj, from))
			if err != nil {
				t.Fatalf("%s: %v", endian, err)
			}
			if want := []code.Relocation{{Symbol: symbolIndex(obj, to)}}; !slices.Equal(function.Relocations, want) {
				t.Errorf("%s: %s: %+v, want %+v", endian, from, function.Relocations, want)
			}
		}
	}
}

func TestCutRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(p *program)
		want   string
	}{
		"jump out":        {func(p *program) { p.sections[1].code[0] = jump(1) }, "instruction 0: it jumps to instruction 2 of 2"},
		"jump back out":   {func(p *program) { p.sections[1].code[0] = jump(-2) }, "it jumps to instruction -1"},
		"into a function": {func(p *program) { p.sections[1].code[0] = call(2) }, "no function starts at byte 24"},
		"into another": {func(p *program) {
			p.sections[1].code[0] = call(2)
			p.relocations = []relocation{{".text", 0, rel32, "main"}}
		}, "no function starts at byte 24 of section xdp"},
		"runs on":            {func(p *program) { p.sections[1].code[1] = set(4) }, "its last instruction runs on into what follows"},
		"half LDDW":          {func(p *program) { p.sections[1].code[1] = load(1)[0] }, "half an LDDW"},
		"unknown":            {func(p *program) { p.sections[1].code[0] = ins{opcode: 0xf5} }, "newer compiler"},
		"no size":            {func(p *program) { p.symbols[1].size = 0 }, "no place of instructions"},
		"odd size":           {func(p *program) { p.symbols[1].size = 12 }, "no place of instructions"},
		"beyond the end":     {func(p *program) { p.symbols[1].size = 1 << 63 }, "no place of instructions"},
		"data":               {func(p *program) { p.symbols[1].kind = elf.STT_OBJECT }, "no function of the object"},
		"no code":            {func(p *program) { p.symbols[1].section = ".data" }, "no function of the object"},
		"relocation of what": {func(p *program) { p.relocations = []relocation{{".text", 0, rel32, "main"}} }, "instruction 0: points at code, but from neither a call nor an LDDW"},
		"without a symbol": {func(p *program) {
			p.sections[1].code[0] = call(2)
			p.relocations = []relocation{{".text", 0, rel32, ""}}
		}, "without a symbol"},
	} {
		for endian, order := range orders {
			p := calling()
			test.change(&p)
			obj := p.object(t, order)
			cutter, err := code.NewCutter(obj, nil)
			if err != nil {
				t.Fatal(err)
			}
			function, err := cutter.Cut(symbolIndex(obj, "first"))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: %+v, %v, want %q", name, endian, function, err, test.want)
			}
		}
	}
}

// Records say by its name what section they are for.
func TestCutRefusesSameNames(t *testing.T) {
	p := calling()
	obj := p.object(t, binary.LittleEndian)
	obj.Section("xdp").Name = ".text"
	cutter, err := code.NewCutter(obj, nil)
	if err != nil {
		t.Fatal(err)
	}
	function, err := cutter.Cut(symbolIndex(obj, "first"))
	if want := "the object has two sections .text"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%+v, %v, want %q", function, err, want)
	}
	if records, err := code.Append(obj, obj.Section(".text"), []code.Function{{Code: encode(binary.LittleEndian, exit)}}); err == nil {
		t.Errorf("a function is appended: %+v", records)
	}
}

// A function that is appended refers to what it is told to.
func TestAppend(t *testing.T) {
	for endian, order := range orders {
		p := calling()
		obj := p.object(t, order)
		text := obj.Section(".text")
		one := code.Function{Code: encode(order, call(5), load(5), exit), TypeID: 7}
		one.Relocations = []code.Relocation{{At: 1, Symbol: symbolIndex(obj, ".data"), Addend: 12}, {At: 0, Symbol: symbolIndex(obj, ".text"), Addend: 64}}
		two := code.Function{Code: encode(order, set(1), exit)}
		records, err := code.Append(obj, text, []code.Function{one, two})
		if err != nil {
			t.Fatalf("%s: %v", endian, err)
		}
		want := assemble(set(3), exit, set(4), exit, call(7), load(12), exit, set(1), exit)
		if got := decode(order, text.Data); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", endian, got, want)
		}
		if len(records.Functions) != 1 || records.Functions[0].InsnOffset != 32 || records.Functions[0].TypeID != 7 {
			t.Errorf("%s: %+v", endian, records.Functions)
		}
		var offsets []uint64
		for rel := range obj.Rels(obj.Relocations(text)) {
			offsets = append(offsets, rel.Offset)
		}
		if !slices.Equal(offsets, []uint64{32, 40}) {
			t.Errorf("%s: relocations at %d", endian, offsets)
		}
		for _, bad := range []code.Function{{Code: one.Code[:4]}, {Code: one.Code[:16]}, {Code: one.Code, Attached: code.Attached{Relocations: []code.Relocation{{At: 3}}}}} {
			if _, err := code.Append(obj, text, []code.Function{bad}); err == nil {
				t.Errorf("%s: no error", endian)
			}
		}
		if _, err := code.Append(obj, text, []code.Function{{Code: one.Code, Attached: code.Attached{Relocations: []code.Relocation{{Symbol: elfobj.NoSymbol}}}}}); err == nil {
			t.Errorf("%s: no error", endian)
		}
	}
}

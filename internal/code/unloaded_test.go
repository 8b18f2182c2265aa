package code_test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

func functionAt(name, section string, slot, slots uint64) symbol {
	return symbol{name, section, elf.STT_FUNC, slot * 8, slots * 8}
}

func TestDropUnloaded(t *testing.T) {
	text := func(parts ...any) []contents {
		return []contents{{name: ".text", code: parts}, {name: "xdp", code: []any{set(7), load(0), call(-1), exit}}, {name: ".data", data: make([]byte, 16)}}
	}
	main := functionAt("main", "xdp", 0, 5)
	first, last := functionAt("first", ".text", 0, 2), functionAt("last", ".text", 4, 2)
	both := text(set(0), exit, set(1), exit, set(2), exit)
	kept, dropped := []any{set(0), exit, set(1), exit, set(2), exit}, []any{set(0), exit, set(2), exit}
	for name, test := range map[string]struct {
		program
		want  []any
		slots []int // nil if nothing is dropped
	}{
		"nothing":  {program{sections: text(set(0), exit), symbols: []symbol{main, first}}, []any{set(0), exit}, nil},
		"between":  {program{sections: both, symbols: []symbol{main, last, first}}, dropped, []int{0, 1, 4, 5}},
		"in front": {program{sections: both, symbols: []symbol{main, last}}, []any{set(2), exit}, []int{4, 5}},
		"behind":   {program{sections: both, symbols: []symbol{main, first}}, []any{set(0), exit}, []int{0, 1}},
		"LDDW": {program{sections: text(load(1), exit, load(2), exit, load(3), exit), symbols: []symbol{main, functionAt("first", ".text", 0, 3), functionAt("last", ".text", 6, 3)}},
			[]any{load(1), exit, load(3), exit}, []int{0, 1, 2, 6, 7, 8}},
		"no symbols":  {program{sections: both, symbols: []symbol{main}}, kept, nil},
		"no size":     {program{sections: both, symbols: []symbol{main, {"first", ".text", elf.STT_FUNC, 0, 0}, last}}, kept, nil},
		"no type":     {program{sections: both, symbols: []symbol{main, first, {"old", ".text", elf.STT_NOTYPE, 16, 16}, last}}, kept, nil},
		"too long":    {program{sections: both, symbols: []symbol{main, functionAt("first", ".text", 0, 1<<40), last}}, kept, nil},
		"overlapping": {program{sections: both, symbols: []symbol{main, functionAt("first", ".text", 0, 4), functionAt("inner", ".text", 1, 1), last}}, kept, nil},
		"called": {program{sections: both, symbols: []symbol{main, first, last},
			relocations: []relocation{{"xdp", 24, rel32, ".text"}}}, []any{set(0), exit, set(2), exit}, []int{0, 1, 4, 5}},
		"called itself": {program{sections: append([]contents{{name: "xdp", code: []any{set(7), load(0), call(2 - 1), exit}}}, both[0], both[2]), symbols: []symbol{main, first, last},
			relocations: []relocation{{"xdp", 24, rel32, ".text"}}}, kept, nil},
		"address": {program{sections: append([]contents{{name: "xdp", code: []any{set(7), load(2 * 8), call(-1), exit}}}, both[0], both[2]), symbols: []symbol{main, first, last},
			relocations: []relocation{{"xdp", 8, rel64, ".text"}}}, kept, nil},
		"in data": {program{sections: append([]contents{{name: ".data", data: encode(binary.LittleEndian, ins{opcode: 2 * 8})}}, both[0], both[1]), symbols: []symbol{main, first, last},
			relocations: []relocation{{".data", 0, relAbs64, ".text"}}}, kept, nil},
		"in call frames": {program{sections: append([]contents{{name: ".eh_frame", data: encode(binary.LittleEndian, ins{opcode: 2 * 8})}}, both...), symbols: []symbol{main, first, last},
			relocations: []relocation{{".eh_frame", 0, relAbs64, ".text"}}}, dropped, []int{0, 1, 4, 5}},
		"odd length": {program{sections: text(set(0), exit, set(1), exit), symbols: []symbol{main, {"first", ".text", elf.STT_FUNC, 0, 15}, functionAt("last", ".text", 2, 2)}},
			[]any{set(0), exit, set(1), exit}, nil},
		"calls itself by relocation": {program{sections: text(set(0), exit, call(1), exit, set(2), exit), symbols: []symbol{main, first, functionAt("last", ".text", 2, 2)},
			relocations: []relocation{{".text", 16, rel32, ".text"}}}, []any{set(0), exit, call(1), exit}, []int{0, 1, 2, 3}},
		"called by another by relocation": {program{sections: text(set(0), exit, call(5), exit, set(2), exit, set(3), exit), symbols: []symbol{main, first, last},
			relocations: []relocation{{".text", 16, rel32, ".text"}}}, dropped, []int{0, 1, 4, 5}},
		"called without relocation": {program{sections: text(call(1), exit, set(1), exit, set(2), exit), symbols: []symbol{main, first, last}},
			[]any{call(1), exit, set(1), exit, set(2), exit}, nil},
		"calls over": {program{sections: text(call(3), exit, set(1), exit, set(2), exit), symbols: []symbol{main, first, last}},
			[]any{call(1), exit, set(2), exit}, []int{0, 1, 4, 5}},
		"called by another": {program{sections: text(set(0), exit, call(3), exit, set(2), exit, set(3), exit), symbols: []symbol{main, first, last}},
			[]any{set(0), exit, set(2), exit}, []int{0, 1, 4, 5}},
		"called by one that is called": {program{sections: text(call(1), exit, call(3), exit, set(2), exit, set(3), exit), symbols: []symbol{main, first, last}},
			[]any{call(1), exit, call(3), exit, set(2), exit, set(3), exit}, nil},
	} {
		for endian, order := range orders {
			if name == "in data" && order == binary.BigEndian {
				continue // the pointer is not written in it
			}
			obj := test.object(t, order)
			origins, err := code.DropUnloaded(obj, nil)
			if err != nil {
				t.Errorf("%s, %s: %v", name, endian, err)
				continue
			}
			if diff := cmp.Diff(assemble(test.want...), decode(order, obj.Section(".text").Data), cmp.AllowUnexported(ins{})); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, endian, diff)
			}
			if diff := cmp.Diff(test.slots, origins[".text"]); diff != "" {
				t.Errorf("%s, %s: slots (-want +got):\n%s", name, endian, diff)
			}
			if origins["xdp"] != nil {
				t.Errorf("%s, %s: xdp has lost code", name, endian)
			}
		}
	}
}

// A function that has lost its symbol goes with its records, and those of the others
// stay with their instructions. There is such a program wherever one section has two.
func TestDropUnloadedRecords(t *testing.T) {
	objects := 0
	for _, path := range fixtures(t) {
		for _, section := range codeSections(read(t, path).Object) {
			p := read(t, path)
			functions := p.Functions(p.Section(section.Name))
			if section.Name == ".text" || len(functions) < 2 {
				continue
			}
			for _, lost := range []int{0, len(functions) - 1} {
				p := read(t, path)
				if refersTo(p.Object, functions[lost].Name) {
					continue
				}
				want := recordsByFunction(t, p)
				delete(want, section.Name+" "+functions[lost].Name)
				objects++
				loseSymbol(t, p.Object, functions[lost].Name)
				origins, err := code.DropUnloaded(p.Object, p.ext)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					continue
				}
				if slots := len(p.Section(section.Name).Data) / 8; len(origins[section.Name]) != slots || slots+int(functions[lost].Size/8) != len(section.Data)/8 {
					t.Errorf("%s: %d of %d slots are left without %s", path, slots, len(section.Data)/8, functions[lost].Name)
				}
				if diff := cmp.Diff(want, recordsByFunction(t, parse(t, p.Bytes()))); diff != "" {
					t.Errorf("%s without %s (-want +got):\n%s", path, functions[lost].Name, diff)
				}
			}
		}
	}
	if objects < 20 {
		t.Errorf("only %d objects with two programs in a section", objects)
	}
}

// refersTo reports whether something refers to a symbol, as a map of programs does.
func refersTo(obj *elfobj.Object, name string) bool {
	for _, section := range obj.Sections {
		for rel := range obj.Rels(obj.Relocations(section)) {
			if rel.Symbol.Name == name {
				return true
			}
		}
	}
	return false
}

// loseSymbol makes the symbol of a function one that loaders don't care for.
func loseSymbol(t *testing.T, obj *elfobj.Object, name string) {
	t.Helper()
	i := symbolAt(obj, name)
	symbol := obj.Symbols[i]
	symbol.Info, symbol.Size = elf.ST_INFO(elf.STB_LOCAL, elf.STT_NOTYPE), 0
	if err := obj.SetSymbol(i, symbol); err != nil {
		t.Fatal(err)
	}
}

func symbolAt(obj *elfobj.Object, name string) int {
	return slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == name })
}

// recordsByFunction spells out the records of each function, relative to its start.
func recordsByFunction(t *testing.T, p parsed) map[string][]string {
	t.Helper()
	records := make(map[string][]string)
	add := func(section string, offset uint32, format string, args ...any) {
		for _, function := range p.Functions(p.Section(section)) {
			if at := uint64(offset); at >= function.Value && at < function.Value+function.Size {
				key := section + " " + function.Name
				records[key] = append(records[key], fmt.Sprintf("%d: ", at-function.Value)+fmt.Sprintf(format, args...))
				return
			}
		}
		key := section + " none"
		records[key] = append(records[key], fmt.Sprintf(format, args...))
	}
	for _, section := range codeSections(p.Object) {
		for rel := range p.Rels(p.Relocations(section)) {
			add(section.Name, uint32(rel.Offset), "relocation %s", rel.Symbol.Name)
		}
	}
	for rel := range p.Rels(p.Relocations(p.Section(".BTF.ext"))) { // where the records are
		if record := p.Section(".BTF.ext").Data[rel.Offset:]; rel.Symbol != nil && int(rel.Symbol.Section) < len(p.Sections) {
			add(p.Sections[rel.Symbol.Section].Name, p.Order.Uint32(record), "record")
		}
	}
	for _, function := range p.ext.Functions {
		add(function.Section, function.InsnOffset, "function %d", function.TypeID)
	}
	for section, lines := range p.ext.Lines {
		for _, line := range lines {
			add(section, line.InsnOffset, "%s:%d:%d", line.File, line.Line, line.Column)
		}
	}
	for _, record := range p.ext.CORERelos() {
		add(record.Section, record.InsnOffset, "%d %s of %d", record.Kind, record.AccessString, record.TypeID)
	}
	return records
}

func TestDropUnloadedRefuses(t *testing.T) {
	for name, damage := range map[string]func(parsed){
		"no .BTF":            func(p parsed) { p.Section(".BTF").Name = "" },
		"relocation nowhere": func(p parsed) { p.Order.PutUint64(p.Section(".relxdp").Data, 1<<40) },
		"half a table":       func(p parsed) { s := p.Section(".relxdp"); s.Data = s.Data[:9] },
		"symbol nowhere":     func(p parsed) { p.Symbols[symbolAt(p.Object, "second")].Value = 1 << 40 },
	} {
		p := read(t, "../../testdata/programs/subprog-el.o")
		loseSymbol(t, p.Object, "first")
		damage(p)
		if _, err := code.DropUnloaded(p.Object, p.ext); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What is taken out is whole instructions.
func TestDropUnloadedCut(t *testing.T) {
	for name, test := range map[string]struct {
		code        []any
		slot, slots uint64 // of the one function
	}{
		"behind LDDW's first half":  {[]any{set(0), load(1)}, 0, 2},
		"within LDDW":               {[]any{set(0), load(1), exit}, 0, 2},
		"in front of a second half": {[]any{load(1), set(0), exit}, 1, 3},
		"no instruction":            {[]any{set(0), exit, ins{}}, 0, 2},
		"no instruction in front":   {[]any{ins{}, set(0), exit}, 1, 2},
		"no instruction behind one": {[]any{set(0), exit, exit, ins{}}, 0, 2},
	} {
		for endian, order := range orders {
			p := program{sections: []contents{{name: ".text", code: test.code}}, symbols: []symbol{functionAt("function", ".text", test.slot, test.slots)}}
			if origins, err := code.DropUnloaded(p.object(t, order), nil); err == nil {
				t.Errorf("%s, %s: slots %v", name, endian, origins)
			}
		}
	}
}

// The time is not that of each stretch times each other, also if each refers to the one
// before.
func TestDropUnloadedMany(t *testing.T) {
	const n, limit = 20_000, 20 * time.Second
	for name, isNeeded := range map[string]bool{"needed": true, "dropped": false} {
		var p program
		parts := []any{set(0)}
		for i := range uint64(n) {
			p.symbols = append(p.symbols, functionAt("function", ".text", 2*i+1, 1))
			parts = append(parts, exit, call(-3))
		}
		if isNeeded {
			parts[2*n-1] = call(0)
		}
		p.sections = []contents{{name: ".text", code: parts}}
		obj := p.object(t, binary.LittleEndian)
		start := time.Now()
		origins, err := code.DropUnloaded(obj, nil)
		if took := time.Since(start); err != nil || took > limit {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		if want := map[bool]int{true: 0, false: n}[isNeeded]; len(origins[".text"]) != want {
			t.Errorf("%s: %d slots are left, want %d", name, len(origins[".text"]), want)
		}
	}
}

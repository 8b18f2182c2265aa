package code_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// change is a replacement before it is encoded.
type change struct {
	slot   int
	code   []any
	jumps  []code.Jump
	kept   int
	copies []code.Copy
}

func (c *change) encode(order binary.ByteOrder) code.Replacement {
	return code.Replacement{Slot: c.slot, Code: encode(order, c.code...), Jumps: c.jumps, Kept: c.kept, Copies: c.copies}
}

func changes(order binary.ByteOrder, all []change) []code.Replacement {
	var out []code.Replacement
	for i := range all {
		out = append(out, all[i].encode(order))
	}
	return out
}

func only(parts ...any) program { return program{sections: []contents{{name: "xdp", code: parts}}} }

// grown puts three instructions in the place of one.
func grown(slot int) []change { return []change{{slot: slot, code: []any{set(7), set(8), set(9)}}} }

func TestMove(t *testing.T) {
	grow := []any{set(7), set(8), set(9)}
	for name, test := range map[string]struct {
		parts   []any
		changes []change
		want    []any
	}{
		"nothing": {[]any{set(1), exit}, nil, []any{set(1), exit}},
		"in place": {[]any{jump(1), set(1), exit}, []change{{slot: 1, code: []any{set(2)}}},
			[]any{jump(1), set(2), exit}},
		"LDDW in place": {[]any{load(1), exit}, []change{{slot: 0, code: []any{helper(9), helper(9)}}},
			[]any{helper(9), helper(9), exit}},
		"LDDW by one": {[]any{jump(2), load(1), jump(-4), exit}, []change{{slot: 1, code: []any{set(1)}}},
			[]any{jump(1), set(1), jump(-3), exit}},
		"one by LDDW": {[]any{jump(1), set(1), exit}, []change{{slot: 1, code: []any{load(5)}}},
			[]any{jump(2), load(5), exit}},
		"goto over":     {[]any{jump(1), set(1), exit}, grown(1), []any{jump(3), grow, exit}},
		"goto back":     {[]any{set(0), set(1), jump(-3), exit}, grown(1), []any{set(0), grow, jump(-5), exit}},
		"goto replaced": {[]any{set(0), set(1), jump(-2), exit}, grown(1), []any{set(0), grow, jump(-4), exit}},
		"forward to replaced": {[]any{jump(1), set(1), set(2), exit}, grown(2),
			[]any{jump(1), set(1), grow, exit}},
		"goto elsewhere": {[]any{jump(1), set(1), set(2), exit}, grown(2), []any{jump(1), set(1), grow, exit}},
		"JMP":            {[]any{ins{opcode: jeq, offset: 1}, set(1), exit}, grown(1), []any{ins{opcode: jeq, offset: 3}, grow, exit}},
		"JMP register":   {[]any{ins{opcode: jltReg, offset: 1}, set(1), exit}, grown(1), []any{ins{opcode: jltReg, offset: 3}, grow, exit}},
		"JMP32":          {[]any{ins{opcode: jne32, offset: 1, imm: 6}, set(1), exit}, grown(1), []any{ins{opcode: jne32, offset: 3, imm: 6}, grow, exit}},
		"gotol":          {[]any{gotol(1), set(1), gotol(-3), exit}, grown(1), []any{gotol(3), grow, gotol(-5), exit}},
		"may_goto":       {[]any{ins{opcode: opMay, offset: 2}, set(1), jump(-3), exit}, grown(1), []any{ins{opcode: opMay, offset: 4}, grow, jump(-5), exit}},
		"helper stays":   {[]any{helper(1), set(1), exit}, grown(1), []any{helper(1), grow, exit}},
		"LDDW stays":     {[]any{load(3), set(1), load(1), exit}, grown(2), []any{load(3), grow, load(1), exit}},
		"LDDW as target": {[]any{jump(1), set(1), load(1), exit}, grown(2), []any{jump(1), set(1), grow, exit}},
		"call over":      {[]any{call(2), set(1), exit, exit}, grown(1), []any{call(4), grow, exit, exit}},
		"call back":      {[]any{exit, set(1), call(-3), exit}, grown(1), []any{exit, grow, call(-5), exit}},
		"address":        {[]any{function(3), set(1), exit, exit}, grown(2), []any{function(5), grow, exit, exit}},
		"two": {[]any{jump(3), set(1), set(2), set(3), exit}, append(grown(3), grown(1)...),
			[]any{jump(7), grow, set(2), grow, exit}},
		"own loop": {[]any{jump(1), set(1), exit}, []change{{slot: 1, code: []any{set(3), ins{opcode: jeq, offset: -2}, jump(1), set(4)}}},
			[]any{jump(4), set(3), ins{opcode: jeq, offset: -2}, jump(1), set(4), exit}},
		"own jump behind": {[]any{set(1), exit}, []change{{slot: 0, code: []any{jump(1), set(3)}}},
			[]any{jump(1), set(3), exit}},
		"jump of its own": {[]any{jump(2), set(1), set(2), exit}, []change{
			{slot: 0, code: []any{nop, jump(0)}, jumps: []code.Jump{{At: 1, Target: 3}}},
			{slot: 2, code: []any{set(2), gotol(0)}, jumps: []code.Jump{{At: 1, Target: 0}}}},
			[]any{nop, jump(3), set(1), set(2), gotol(-5), exit}},
		"jump of its own in place": {[]any{set(0), set(1), exit}, []change{{slot: 0, code: []any{jump(-9)}, jumps: []code.Jump{{At: 0, Target: 2}}}},
			[]any{jump(1), set(1), exit}},
		"jump to itself": {[]any{set(0), exit}, []change{{slot: 0, code: []any{nop, jump(0)}, jumps: []code.Jump{{At: 1, Target: 0}}}},
			[]any{nop, jump(-2), exit}},
		"call of its own": {[]any{set(0), exit, exit}, []change{{slot: 0, code: []any{nop, call(0)}, jumps: []code.Jump{{At: 1, Target: 2}}}},
			[]any{nop, call(1), exit, exit}},
		"address of its own": {[]any{set(0), exit, exit}, []change{{slot: 0, code: []any{nop, function(0)}, jumps: []code.Jump{{At: 1, Target: 2}}}},
			[]any{nop, function(2), exit, exit}},
		"taken out": {[]any{jump(1), set(1), set(2), exit}, []change{{slot: 1}, {slot: 2}}, []any{jump(0), exit}},
	} {
		for endian, order := range orders {
			p := only(test.parts...)
			obj := p.object(t, order)
			if err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": changes(order, test.changes)}); err != nil {
				t.Errorf("%s, %s: %v", name, endian, err)
				continue
			}
			got := decode(order, obj.Section("xdp").Data)
			if diff := cmp.Diff(assemble(test.want...), got, cmp.AllowUnexported(ins{})); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, endian, diff)
			}
		}
	}
}

func TestMoveSymbols(t *testing.T) {
	p := program{
		sections: []contents{{name: "xdp", code: []any{set(0), exit, set(1), set(2), exit}}, {name: ".bss", data: make([]byte, 64)}},
		symbols: []symbol{
			{"first", "xdp", elf.STT_FUNC, 0, 16}, {"second", "xdp", elf.STT_FUNC, 16, 24},
			{"label", "xdp", elf.STT_NOTYPE, 24, 0}, {"end", "xdp", elf.STT_NOTYPE, 40, 0},
			{"variable", ".bss", elf.STT_OBJECT, 24, 8},
		},
	}
	for endian, order := range orders {
		obj := p.object(t, order)
		replace := changes(order, append(grown(0), grown(2)...))
		if err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": replace}); err != nil {
			t.Fatal(err)
		}
		want := map[string][2]uint64{
			"first": {0, 32}, "second": {32, 40}, "label": {56, 0}, "end": {72, 0}, "variable": {24, 8},
		}
		written, err := elfobj.Parse(obj.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, symbols := range [][]elf.Symbol{obj.Symbols, written.Symbols} {
			got := make(map[string][2]uint64)
			for _, s := range symbols {
				if elf.ST_TYPE(s.Info) != elf.STT_SECTION {
					got[s.Name] = [2]uint64{s.Value, s.Size}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", endian, diff)
			}
		}
	}
}

// Four slots are inserted in front of what is pointed at in .text, two in front
// of what points at it in xdp.
func TestMoveRelocations(t *testing.T) {
	text := []any{set(0), exit, set(1), exit} // low at 0, high at 16
	inserted := map[string][]change{
		"xdp":   {{slot: 0, code: []any{nop, nop, set(0)}, kept: 2}},
		".text": {{slot: 1, code: []any{nop, nop, nop, nop, exit}}},
	}
	moved := []any{nop, nop, set(0)}
	for name, test := range map[string]struct {
		parts []any
		kind  uint32
		from  string
		want  []any
	}{
		"call by section":            {[]any{set(0), call(1), exit}, rel32, ".text", []any{moved, call(5), exit}},
		"call of first by section":   {[]any{set(0), call(-1), exit}, rel32, ".text", []any{moved, call(-1), exit}},
		"call by name":               {[]any{set(0), call(-1), exit}, rel32, "high", []any{moved, call(-1), exit}},
		"call of extern":             {[]any{set(0), call(-1), exit}, rel32, "extern", []any{moved, call(-1), exit}},
		"address by section":         {[]any{set(0), load(16), exit}, rel64, ".text", []any{moved, load(48), exit}},
		"address by name":            {[]any{set(0), load(0), exit}, rel64, "high", []any{moved, load(0), exit}},
		"address of first plus high": {[]any{set(0), load(16), exit}, rel64, "low", []any{moved, load(48), exit}},
		"variable":                   {[]any{set(0), load(16), exit}, rel64, ".bss", []any{moved, load(16), exit}},
		"number":                     {[]any{set(0), load(16), exit}, rel64, "number", []any{moved, load(16), exit}},
		"of nothing":                 {[]any{set(0), load(16), exit}, rel64, "", []any{moved, load(16), exit}},
	} {
		p := program{
			sections: []contents{{name: ".text", code: text}, {name: "xdp", code: test.parts}, {name: ".bss", data: make([]byte, 64)}},
			symbols: []symbol{
				{"low", ".text", elf.STT_FUNC, 0, 16}, {"high", ".text", elf.STT_FUNC, 16, 16}, {"extern", "", elf.STT_NOTYPE, 0, 0},
				{"number", absolute, elf.STT_NOTYPE, 16, 0},
			},
			relocations: []relocation{{"xdp", 8, test.kind, test.from}},
		}
		for endian, order := range orders {
			obj := p.object(t, order)
			replace := make(map[string][]code.Replacement)
			for section, all := range inserted {
				replace[section] = changes(order, all)
			}
			if err := code.Replace(obj, nil, replace); err != nil {
				t.Errorf("%s, %s: %v", name, endian, err)
				continue
			}
			got := decode(order, obj.Section("xdp").Data)
			if diff := cmp.Diff(assemble(test.want...), got, cmp.AllowUnexported(ins{})); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, endian, diff)
			}
			if offset := order.Uint64(obj.Section(".relxdp").Data); offset != 24 {
				t.Errorf("%s, %s: relocation of byte %d, want 24", name, endian, offset)
			}
		}
	}
}

// A relocated instruction that is replaced.
func TestMoveRelocated(t *testing.T) {
	for name, test := range map[string]struct {
		with change
		want []uint64 // offsets of relocations that are left
	}{
		"first":   {change{slot: 1, code: []any{load(0), nop}}, []uint64{8}},
		"kept":    {change{slot: 1, code: []any{nop, load(0)}, kept: 1}, []uint64{16}},
		"dropped": {change{slot: 1, code: []any{set(0)}, kept: -1}, nil},
		"out":     {change{slot: 1}, nil},
	} {
		p := only(set(1), load(0), exit)
		p.symbols = []symbol{{"map", "", elf.STT_NOTYPE, 0, 0}}
		p.relocations = []relocation{{"xdp", 8, rel64, "map"}}
		for endian, order := range orders {
			obj := p.object(t, order)
			if err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": changes(order, []change{test.with})}); err != nil {
				t.Errorf("%s, %s: %v", name, endian, err)
				continue
			}
			var got []uint64
			for table := obj.Section(".relxdp").Data; len(table) > 0; table = table[16:] {
				got = append(got, order.Uint64(table))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, endian, diff)
			}
		}
	}
}

func TestMoveData(t *testing.T) {
	for name, test := range map[string]struct {
		kind         uint32
		symbol       string
		addend, want uint64
		width        int
	}{
		"8 bytes by section": {relAbs64, ".text", 16, 48, 8},
		"8 bytes, old LLVM":  {rel64, ".text", 16, 48, 8},
		"4 bytes by section": {relAbs32, ".text", 16, 48, 4},
		"4 bytes, old LLVM":  {rel32, ".text", 16, 48, 4},
		"the end":            {relAbs64, ".text", 32, 64, 8},
		"by name":            {relAbs64, "high", 0, 0, 8},
		"back from a name":   {relAbs64, "high", ^uint64(7), ^uint64(7), 8}, // in the inserted code nothing was
		"of another section": {relAbs64, ".data", 16, 16, 8},
	} {
		for endian, order := range orders {
			data := make([]byte, 24)
			put := func(data []byte, value uint64) {
				if test.width == 8 {
					order.PutUint64(data[8:], value)
				} else {
					order.PutUint32(data[8:], uint32(value))
				}
			}
			put(data, test.addend)
			p := program{
				sections:    []contents{{name: ".text", code: []any{set(0), exit, set(1), exit}}, {name: ".data", data: data}},
				symbols:     []symbol{{"high", ".text", elf.STT_FUNC, 16, 16}},
				relocations: []relocation{{".data", 8, test.kind, test.symbol}},
			}
			obj := p.object(t, order)
			replace := changes(order, []change{{slot: 0, code: []any{nop, nop, nop, nop, set(0)}}})
			if err := code.Replace(obj, nil, map[string][]code.Replacement{".text": replace}); err != nil {
				t.Errorf("%s, %s: %v", name, endian, err)
				continue
			}
			want := make([]byte, 24)
			put(want, test.want)
			if got := obj.Section(".data").Data; !bytes.Equal(got, want) {
				t.Errorf("%s, %s: %x, want %x", name, endian, got, want)
			}
		}
	}
}

// Both LDDWs load the same table of jumps; the other table is another section's.
func TestMoveJumpTable(t *testing.T) {
	for endian, order := range orders {
		table := make([]byte, 32)
		for i, target := range []uint64{32, 40, 32, 8} {
			order.PutUint64(table[i*8:], target)
		}
		p := program{
			sections: []contents{
				{name: "xdp", code: []any{load(0), load(0), ins{opcode: opGotox, dst: 1}, exit}}, // gotox at 4
				{name: "tc", code: []any{load(0), exit}},
				{name: ".jumptables", data: table},
			},
			symbols:     []symbol{{"BPF.JT.0.0", ".jumptables", elf.STT_OBJECT, 0, 24}, {"BPF.JT.1.0", ".jumptables", elf.STT_OBJECT, 24, 8}},
			relocations: []relocation{{"xdp", 0, rel64, "BPF.JT.0.0"}, {"xdp", 16, rel64, "BPF.JT.0.0"}, {"tc", 0, rel64, "BPF.JT.1.0"}},
		}
		obj := p.object(t, order)
		replace := changes(order, []change{{slot: 4, code: []any{nop, ins{opcode: opGotox, dst: 1}}}})
		if err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": replace}); err != nil {
			t.Fatalf("%s: %v", endian, err)
		}
		var got []uint64
		for at := 0; at < 32; at += 8 {
			got = append(got, order.Uint64(obj.Section(".jumptables").Data[at:]))
		}
		if diff := cmp.Diff([]uint64{32, 48, 32, 8}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", endian, diff)
		}
	}
}

func TestReach(t *testing.T) {
	long := make([]any, 40000)
	for i := range long {
		long[i] = nop
	}
	for name, test := range map[string]struct {
		jump   ins
		target int
		fails  bool
	}{
		"16 bits":  {jump(1), 3, true},
		"back":     {jump(-2), 0, true},
		"may_goto": {ins{opcode: opMay, offset: 1}, 3, true},
		"32 bits":  {gotol(1), 3, false},
	} {
		p := only(set(0), test.jump, set(1), exit)
		p.symbols = []symbol{{"main", "xdp", elf.STT_FUNC, 0, 32}}
		obj := p.object(t, binary.LittleEndian)
		slot := 2
		if test.target == 0 {
			slot = 0
		}
		replace := []change{{slot: slot, code: long}}
		if slot == 0 {
			replace[0].code = append([]any{nop}, long...)
		}
		err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": changes(binary.LittleEndian, replace)})
		if !test.fails {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var at *code.Error
		var reach *code.ReachError
		if !errors.As(err, &at) || !errors.As(err, &reach) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if at.Section != "xdp" || at.Slot != 1 || at.Function != "main" || reach.Target != test.target || reach.Bits != 16 {
			t.Errorf("%s: %+v, %+v", name, at, reach)
		}
	}
}

func TestReplaceRefuses(t *testing.T) {
	at := func(slot int, parts ...any) []change { return []change{{slot: slot, code: parts}} }
	for name, test := range map[string]struct {
		program
		changes []change
		want    string
	}{
		"before the section":       {only(set(0), exit), at(-1, nop), "outside of the section"},
		"after the section":        {only(set(0), exit), at(2, nop), "outside of the section"},
		"half an LDDW":             {only(load(0), exit), at(1, nop), "no instruction starts there"},
		"twice":                    {only(set(0), exit), append(at(0, nop), at(0, nop)...), "replaced twice"},
		"LDDW cut short":           {only(set(0), load(0)[0]), at(0, nop), "half an LDDW"},
		"LDDW's half alone":        {only(set(0), ins{}, exit), at(0, nop), "half an LDDW"},
		"half an LDDW in code":     {only(set(0), exit), at(0, load(0)[0], nop), "half an LDDW"},
		"jump out":                 {only(set(0), jump(1), exit), at(0, nop, nop), "outside of the section"},
		"jump before":              {only(set(0), jump(-3), exit), at(0, nop, nop), "outside of the section"},
		"jump into LDDW":           {only(set(0), jump(1), load(1), exit), at(0, nop, nop), "no instruction starts there"},
		"call out":                 {only(set(0), call(9), exit), at(0, nop, nop), "outside of the section"},
		"own jump out":             {only(set(0), exit), at(0, jump(2), nop), "jump to slot 3 of 2"},
		"own jump into LDDW":       {only(set(0), exit), at(0, jump(1), load(0)), "jump to slot 2 of 3"},
		"own call":                 {only(set(0), exit), at(0, call(0), nop), "without its target"},
		"target outside":           {only(set(0), exit), []change{{slot: 0, code: []any{jump(0)}, jumps: []code.Jump{{At: 0, Target: 2}}}}, "outside of the section"},
		"target in LDDW":           {only(set(0), load(0), exit), []change{{slot: 0, code: []any{jump(0)}, jumps: []code.Jump{{At: 0, Target: 2}}}}, "no instruction starts there"},
		"not a jump":               {only(set(0), exit), []change{{slot: 0, code: []any{set(0)}, jumps: []code.Jump{{At: 0, Target: 1}}}}, "is no jump"},
		"jump outside of the code": {only(set(0), exit), []change{{slot: 0, code: []any{jump(0)}, jumps: []code.Jump{{At: 1, Target: 1}}}}, "is no jump"},
		"kept outside":             {only(set(0), exit), []change{{slot: 0, code: []any{nop}, kept: 1}}, "no code"},
		"unknown jump":             {only(set(0), ins{opcode: 0xf5}, exit), at(0, nop, nop), "opcode 0xf5"},
		"unknown jump in code":     {only(set(0), exit), at(0, ins{opcode: 0x0e}), "opcode 0x0e"},
		"odd symbol": {program{sections: only(set(0), exit).sections, symbols: []symbol{{"f", "xdp", elf.STT_FUNC, 4, 8}}},
			at(0, nop, nop), "symbol f of section xdp: no instruction"},
		"symbol too long": {program{sections: only(set(0), exit).sections, symbols: []symbol{{"f", "xdp", elf.STT_FUNC, 8, 16}}},
			at(0, nop, nop), "end of symbol f of section xdp: outside"},
		"symbol far too long": {program{sections: only(set(0), exit).sections, symbols: []symbol{{"f", "xdp", elf.STT_FUNC, 8, ^uint64(7)}}},
			at(0, nop, nop), "end of symbol f of section xdp: outside"},
		"relocation outside": {program{sections: only(set(0), exit).sections, relocations: []relocation{{"xdp", 16, rel64, "xdp"}}},
			at(0, nop, nop), "no table of relocations"},
		"two relocations": {program{sections: only(load(0), exit).sections, relocations: []relocation{{"xdp", 0, rel64, "xdp"}, {"xdp", 0, rel64, "xdp"}}},
			at(2, nop, nop), "two relocations"},
		"relocation of something else": {program{sections: only(set(0), exit).sections, relocations: []relocation{{"xdp", 0, rel64, "xdp"}}},
			at(1, nop, nop), "neither a call nor an LDDW"},
		"relocation kept for something else": {program{sections: only(load(0), exit).sections, relocations: []relocation{{"xdp", 0, rel64, "xdp"}}},
			at(0, nop), "kept for a relocation"},
		"the same of as many slots": {program{sections: only(load(0), exit).sections, relocations: []relocation{{"xdp", 0, rel64, "xdp"}}},
			at(0, nop, nop), "kept for a relocation"},
		"pointer into an instruction": {program{sections: only(load(4), exit).sections, relocations: []relocation{{"xdp", 0, rel64, "xdp"}}},
			at(2, nop, nop), "place in section xdp: no instruction"},
		"pointer outside": {program{sections: only(load(24), exit).sections, relocations: []relocation{{"xdp", 0, rel64, "xdp"}}},
			at(2, nop, nop), "place in section xdp: outside"},
		"two relocations of data": {program{sections: append(only(set(0), exit).sections, contents{name: ".data", data: make([]byte, 8)}),
			relocations: []relocation{{".data", 0, relAbs64, "xdp"}, {".data", 0, relAbs64, "xdp"}}},
			at(0, nop, nop), "points at two things"},
		"relocation of data outside": {program{sections: append(only(set(0), exit).sections, contents{name: ".data", data: make([]byte, 8)}),
			relocations: []relocation{{".data", 4, relAbs64, "xdp"}}},
			at(0, nop, nop), "no table of relocations"},
		"relocation of unknown type": {program{sections: append(only(set(0), exit).sections, contents{name: ".data", data: make([]byte, 8)}),
			relocations: []relocation{{".data", 0, 77, "xdp"}}},
			at(0, nop, nop), "unknown type 77"},
		"relocation inside of an instruction": {program{sections: append(only(set(0), exit).sections, contents{name: "tc", code: []any{load(0), exit}}),
			relocations: []relocation{{"tc", 4, rel64, "xdp"}}},
			at(0, nop, nop), "no table of relocations"},
		"table of jumps that ends early": {program{sections: append(only(load(0), exit).sections, contents{name: ".jumptables", data: make([]byte, 8)}),
			symbols:     []symbol{{"table", ".jumptables", elf.STT_OBJECT, 0, 16}},
			relocations: []relocation{{"xdp", 0, rel64, "table"}}},
			at(2, nop, nop), "it has 16 bytes at 0, the section has 8"},
		"half a jump in a table": {program{sections: append(only(load(0), exit).sections, contents{name: ".jumptables", data: make([]byte, 8)}),
			symbols:     []symbol{{"table", ".jumptables", elf.STT_OBJECT, 0, 4}},
			relocations: []relocation{{"xdp", 0, rel64, "table"}}},
			at(2, nop, nop), "damaged table"},
		"copy of something else": {only(set(0), exit),
			[]change{{slot: 0, code: []any{set(0), nop}, copies: []code.Copy{{At: 1, From: 1}}}},
			"slot 1 is no copy of instruction 1"},
		"copy of nothing": {only(set(0), exit),
			[]change{{slot: 0, code: []any{set(0), nop}, copies: []code.Copy{{At: 1, From: 2}}}},
			"slot 1 is no copy of instruction 2"},
		"copy outside of the code": {only(set(0), exit),
			[]change{{slot: 0, code: []any{set(0)}, copies: []code.Copy{{At: 1, From: 0}}}},
			"slot 1 is no instruction that could be a copy"},
		"copy that is half an LDDW": {only(load(0), exit),
			[]change{{slot: 0, code: []any{load(0)}, copies: []code.Copy{{At: 1, From: 0}}}},
			"slot 1 is no instruction that could be a copy"},
		"two copies in one": {only(set(0), exit),
			[]change{{slot: 0, code: []any{nop, set(0)}, copies: []code.Copy{{At: 1, From: 0}, {At: 1, From: 0}}}},
			"slot 1 is no instruction that could be a copy"},
		"copy with two targets": {program{sections: only(call(-1), exit).sections, relocations: []relocation{{"xdp", 0, rel32, "xdp"}}},
			[]change{{slot: 1, code: []any{call(0), exit}, jumps: []code.Jump{{At: 0, Target: 1}}, copies: []code.Copy{{At: 0, From: 0}}}},
			"slot 0 has a target, and a relocation that says another"},
		"two sections": {program{sections: append(only(set(0), exit).sections, only(set(0), exit).sections...)}, at(0, nop), "two sections xdp"},
		"no code":      {program{sections: []contents{{name: "xdp", data: make([]byte, 16)}}}, at(0, nop), "no section xdp with code"},
		"no section":   {program{sections: []contents{{name: "tc", code: []any{exit}}}}, at(0, nop), "no section xdp with code"},
	} {
		for endian, order := range orders {
			obj := test.object(t, order)
			before := obj.Bytes()
			err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": changes(order, test.changes)})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: %v, want %q", name, endian, err, test.want)
			}
			if !bytes.Equal(obj.Bytes(), before) {
				t.Errorf("%s, %s: the object changed", name, endian)
			}
		}
	}
}

// Tables of relocations that are none.
func TestReplaceDamagedTables(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(*elfobj.Section, binary.ByteOrder)
		want   string
	}{
		"cut short":      {func(table *elfobj.Section, _ binary.ByteOrder) { table.Data = table.Data[:8] }, "no table of relocations"},
		"no such symbol": {func(table *elfobj.Section, order binary.ByteOrder) { order.PutUint64(table.Data[8:], 99<<32|rel64) }, "no symbol 99"},
		"with addends":   {func(table *elfobj.Section, _ binary.ByteOrder) { table.Type = elf.SHT_RELA }, "type SHT_RELA"},
		"of no section":  {func(table *elfobj.Section, _ binary.ByteOrder) { table.Info = 0 }, "no table of relocations"},
	} {
		for endian, order := range orders {
			p := only(load(0), exit)
			p.relocations = []relocation{{"xdp", 0, rel64, "xdp"}}
			obj := p.object(t, order)
			test.damage(obj.Section(".relxdp"), order)
			err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": changes(order, grown(2))})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: %v, want %q", name, endian, err, test.want)
			}
		}
	}
}

// Code without symbols, as after strip.
func TestReplaceStripped(t *testing.T) {
	p := only(jump(1), set(1), exit)
	obj := p.object(t, binary.LittleEndian)
	if _, err := obj.Remove(func(s *elfobj.Section) bool { return s.Type == elf.SHT_SYMTAB }); err != nil {
		t.Fatal(err)
	}
	obj, err := elfobj.Parse(obj.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": changes(binary.LittleEndian, grown(1))}); err != nil {
		t.Fatal(err)
	}
	if got := decode(binary.LittleEndian, obj.Section("xdp").Data)[0]; got != jump(3) {
		t.Errorf("%+v", got)
	}
}

// More code than a distance of 32 bits reaches over.
func TestReplaceTooLong(t *testing.T) {
	var parts []any
	long, replacements := make([]byte, 8<<21), []code.Replacement(nil)
	for slot := range 64 {
		parts = append(parts, set(0))
		replacements = append(replacements, code.Replacement{Slot: slot, Code: long})
	}
	p := only(append(parts, exit)...)
	obj := p.object(t, binary.LittleEndian)
	err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": replacements})
	if err == nil || !strings.Contains(err.Error(), "longer than any program") {
		t.Error(err)
	}
}

// Two sections of code can't take their jumps from one table.
func TestSharedJumpTable(t *testing.T) {
	p := program{
		sections:    []contents{{name: "tc", code: []any{load(0), exit}}, {name: "xdp", code: []any{load(0), exit}}, {name: ".jumptables", data: make([]byte, 8)}},
		symbols:     []symbol{{"table", ".jumptables", elf.STT_OBJECT, 0, 8}},
		relocations: []relocation{{"tc", 0, rel64, "table"}, {"xdp", 0, rel64, "table"}},
	}
	obj := p.object(t, binary.LittleEndian)
	grow := changes(binary.LittleEndian, grown(2))
	err := code.Replace(obj, nil, map[string][]code.Replacement{"tc": grow, "xdp": grow})
	if err == nil || !strings.Contains(err.Error(), "points at two things") {
		t.Error(err)
	}
}

// Bytes that are no instructions.
func TestReplaceOddLength(t *testing.T) {
	p := only(set(0), exit)
	obj := p.object(t, binary.LittleEndian)
	if err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": {{Slot: 0, Code: make([]byte, 9)}}}); err == nil {
		t.Error("no error")
	}
	obj.Section("xdp").Data = make([]byte, 9)
	if err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": {{Slot: 0, Code: make([]byte, 8)}}}); err == nil {
		t.Error("no error")
	}
}

// What is compressed would have to be packed again.
func TestReplaceCompressed(t *testing.T) {
	p := only(set(0), exit)
	obj := p.object(t, binary.LittleEndian)
	obj.Section("xdp").Flags |= elf.SHF_COMPRESSED
	err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": {{Slot: 0, Code: make([]byte, 8)}}})
	if err == nil || !strings.Contains(err.Error(), "compressed") {
		t.Error(err)
	}
}

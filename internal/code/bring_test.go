package code_test

import (
	"bytes"
	"debug/elf"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

func symbolIndex(obj *elfobj.Object, name string) int {
	return slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == name })
}

// calling is a program that calls nothing yet, beside a function and data.
func calling() program {
	return program{
		sections: []contents{{name: "xdp", code: []any{set(1), set(2), exit}}, {name: ".text", code: []any{set(3), exit, set(4), exit}}, {name: ".data", data: make([]byte, 64)}},
		symbols:  []symbol{{"main", "xdp", elf.STT_FUNC, 0, 24}, {"first", ".text", elf.STT_FUNC, 0, 16}, {"second", ".text", elf.STT_FUNC, 16, 16}, {"kfunc", "", elf.STT_NOTYPE, 0, 0}},
	}
}

// Instructions that refer to something come with relocations, and follow what they refer
// to.
func TestBringRelocations(t *testing.T) {
	for endian, order := range orders {
		p := calling()
		obj := p.object(t, order)
		index := func(name string) int { return symbolIndex(obj, name) }
		calls := code.Replacement{Attached: new(code.Attached), Slot: 1, Code: encode(order, call(77), call(77), load(77), call(77), function(77))}
		calls.Attached.Relocations = []code.Relocation{
			{At: 5, Symbol: index(".text"), Addend: 16}, {At: 0, Symbol: index("kfunc")}, {At: 1, Symbol: index(".text"), Addend: 16},
			{At: 2, Symbol: index(".data"), Addend: 8}, {At: 4, Symbol: index("second")},
		}
		err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": {calls}, ".text": changes(order, grown(0))})
		if err != nil {
			t.Fatalf("%s: %v", endian, err)
		}
		calls.Code = encode(order, call(-1), call(3), load(8), call(-1), function(32)) // .text has grown
		want := assemble(set(1), decode(order, calls.Code), exit)
		if diff := cmp.Diff(want, decode(order, obj.Section("xdp").Data), cmp.AllowUnexported(ins{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", endian, diff)
		}
		type entry struct {
			slot   uint64
			kind   uint32
			symbol string
		}
		var got []entry
		for rel := range obj.Rels(obj.Relocations(obj.Section("xdp"))) {
			got = append(got, entry{rel.Offset / 8, rel.Type, rel.Symbol.Name})
		}
		if want := []entry{{1, rel32, "kfunc"}, {2, rel32, ".text"}, {3, rel64, ".data"}, {5, rel32, "second"}, {6, rel64, ".text"}}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", endian, got, want)
		}
		again := parse(t, obj.Bytes())
		if again.Relocations(again.Section("xdp")) == nil || !bytes.Equal(again.Bytes(), obj.Bytes()) {
			t.Errorf("%s: another object is read back", endian)
		}
	}
}

func TestBringRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		parts   []any
		jumps   []code.Jump
		rels    []code.Relocation
		relo    uint32
		refused string
	}{
		"no call":        {[]any{set(1)}, nil, []code.Relocation{{Symbol: 3}}, 0, "neither a call of a function nor an LDDW"},
		"helper":         {[]any{helper(1)}, nil, []code.Relocation{{Symbol: 3}}, 0, "neither a call of a function nor an LDDW"},
		"two":            {[]any{call(1)}, nil, []code.Relocation{{Symbol: 3}, {Symbol: 4}}, 0, "two relocations"},
		"outside":        {[]any{call(1)}, nil, []code.Relocation{{At: 1}}, 0, "no instruction"},
		"no symbol":      {[]any{call(1)}, nil, []code.Relocation{{Symbol: 99}}, 0, "symbol 99, which is not there"},
		"none":           {[]any{call(1)}, nil, []code.Relocation{{Symbol: elfobj.NoSymbol}}, 0, "symbol -1, which is not there"},
		"two targets":    {[]any{call(1)}, []code.Jump{{Target: 2}}, []code.Relocation{{Symbol: 3}}, 0, "something else that says"},
		"far":            {[]any{load(1)}, nil, []code.Relocation{{Symbol: 2, Addend: 1 << 32}}, 0, "32 bits away"},
		"no function":    {[]any{call(1)}, nil, []code.Relocation{{Symbol: 1, Addend: 4}}, 0, "no instruction starts there"},
		"half a record":  {[]any{load(1)}, nil, []code.Relocation{{Symbol: 2}}, 8, "record for byte 8"},
		"without a home": {[]any{set(1)}, nil, nil, 0, "no .BTF.ext"},
	} {
		for endian, order := range orders {
			p := calling()
			obj := p.object(t, order)
			before := obj.Bytes()
			r := code.Replacement{Attached: new(code.Attached), Slot: 1, Code: encode(order, test.parts...), Jumps: test.jumps}
			r.Attached.Relocations = test.rels
			if test.relo > 0 || test.rels == nil {
				r.Attached.CORERelos = []btfraw.CORERelo{{InsnOffset: test.relo}}
			}
			err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": {r}, ".text": changes(order, grown(0))})
			if err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%s, %s: %v, want %q", name, endian, err, test.refused)
			}
			if !bytes.Equal(obj.Bytes(), before) {
				t.Errorf("%s, %s: the object changed", name, endian)
			}
		}
	}
}

// Code that comes with records has them, and what follows it is on its own line.
func TestBringRecords(t *testing.T) {
	for _, path := range []string{"testdata/subprogs-el.o", "testdata/subprogs-eb.o", "../../bpf/examples/balance-el.o"} {
		p := read(t, path)
		section := codeSections(p.Object)[0]
		insns := decode(p.Order, section.Data)
		slot := slices.IndexFunc(insns, func(i ins) bool { return i.opcode&7 == 7 && i.opcode != lddw }) // arithmetic
		next := uint32(slot+1) * 8
		following, _ := p.ext.LineAt(section.Name, next)
		relos := p.ext.CountCORERelos()

		r := code.Replacement{Attached: new(code.Attached), Slot: slot, Code: encode(p.Order, nop, nop, nop, insns[slot])}
		r.Attached.Lines = []btfraw.Line{{InsnOffset: 8, File: "other.c", Text: "return cqe->hash;", Line: 12, Column: 3}}
		r.Attached.CORERelos = []btfraw.CORERelo{{InsnOffset: 16, TypeID: 1, AccessString: "0:9:9"}}
		p.replace(t, map[string][]code.Replacement{section.Name: {r}})

		checkExt(t, path, p)
		start := uint32(slot) * 8
		for offset, want := range map[uint32]string{8: "return cqe->hash;", 24: "return cqe->hash;", 32: following.Text} {
			if line, ok := p.ext.LineAt(section.Name, start+offset); !ok || line.Text != want {
				t.Errorf("%s: byte %d is on line %q instead of %q", path, offset, line.Text, want)
			}
		}
		found := false
		for _, relo := range p.ext.CORERelos() {
			found = found || relo.Section == section.Name && relo.InsnOffset == start+16 && relo.AccessString == "0:9:9" && relo.TypeID == 1
		}
		if !found || p.ext.CountCORERelos() != relos+1 {
			t.Errorf("%s: %+v", path, relosOf(p.ext))
		}
		if p.Relocations(p.Section(".BTF.ext")) != nil {
			t.Errorf("%s: relocations of .BTF.ext are left", path)
		}
	}
}

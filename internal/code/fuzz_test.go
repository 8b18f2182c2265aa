package code_test

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
)

// FuzzReplace: no panic, an error exactly if the object is as it was, and a
// result that reads back. The second argument is a list of replacements: slot,
// slots of code, kept and, if it is to have a jump, its target.
func FuzzReplace(f *testing.F) {
	for _, name := range []string{"subprogs-el", "callbacks-eb", "gotol-el", "maygoto-eb", "pointers-el", "data-eb", "hidden-el"} {
		small := withoutDWARF(f, read(f, "testdata/"+name+".o").Object)
		f.Add(small.Bytes(), []byte{1, 2, 0, 0, 4, 3, 1, 1, 9, 0, 0, 0})
	}
	for _, order := range orders {
		p := program{
			sections:    []contents{{name: "xdp", code: []any{load(0), ins{opcode: opGotox}, jump(-2), exit}}, {name: ".jumptables", data: make([]byte, 8)}},
			symbols:     []symbol{{"table", ".jumptables", 1, 0, 8}, {"main", "xdp", 2, 0, 40}},
			relocations: []relocation{{"xdp", 0, rel64, "table"}},
		}
		f.Add(p.object(f, order).Bytes(), []byte{2, 2, 1, 0, 3, 2, 0, 2})
	}
	f.Fuzz(func(t *testing.T, raw, plan []byte) {
		obj, err := elfobj.Parse(raw)
		if err != nil {
			return
		}
		ext := parseExt(obj)
		replacements := replacementsFrom(plan, obj)
		if len(replacements) == 0 {
			return
		}
		before := obj.Bytes()
		var records *btfraw.Ext
		if ext != nil {
			records = parseExt(obj)
		}
		if err := code.Replace(obj, ext, replacements); err != nil {
			if !bytes.Equal(obj.Bytes(), before) || !reflect.DeepEqual(records, ext) {
				t.Fatalf("changed, with error %v", err)
			}
			return
		}
		again, err := elfobj.Parse(obj.Bytes())
		if err != nil {
			t.Fatalf("the output does not read back: %v", err)
		}
		if !bytes.Equal(again.Bytes(), obj.Bytes()) || len(again.Symbols) != len(obj.Symbols) {
			t.Fatal("the output reads back as something else")
		}
		if ext != nil && !reflect.DeepEqual(parseExt(again), ext) {
			t.Fatal("the records read back as something else")
		}
	})
}

// parseExt returns nil for records that can't be read.
func parseExt(obj *elfobj.Object) *btfraw.Ext {
	types, ext := obj.Section(".BTF"), obj.Section(".BTF.ext")
	if types == nil || ext == nil {
		return nil
	}
	parsed, err := btfraw.Parse(types.Data, nil)
	if err != nil {
		return nil
	}
	records, err := btfraw.ParseExt(ext.Data, parsed)
	if err != nil {
		return nil
	}
	return records
}

func replacementsFrom(plan []byte, obj *elfobj.Object) map[string][]code.Replacement {
	sections := codeSections(obj)
	if len(sections) == 0 {
		return nil
	}
	replacements := make(map[string][]code.Replacement)
	for i := 0; len(plan) >= 4; i, plan = i+1, plan[4:] {
		section := sections[i%len(sections)]
		r := code.Replacement{Slot: int(plan[0]), Kept: int(int8(plan[2]))}
		for range plan[1] % 8 {
			r.Code = append(r.Code, encode(obj.Order, nop)...)
		}
		if at := r.Slot * 8; r.Kept >= 0 && r.Kept < len(r.Code)/8 && at+16 <= len(section.Data) {
			size := 8
			if section.Data[at] == lddw {
				size = 16
			}
			r.Code = append(append(bytes.Clone(r.Code[:r.Kept*8]), section.Data[at:at+size]...), r.Code[r.Kept*8:]...)
		}
		if plan[3] > 0 {
			r.Jumps = []code.Jump{{At: max(r.Kept, 0), Target: int(plan[3])}}
		}
		replacements[section.Name] = append(replacements[section.Name], r)
	}
	return replacements
}

// BenchmarkReplace replaces 10,000 of 40,000 instructions.
func BenchmarkReplace(b *testing.B) {
	const groups = 10_000
	var parts []any
	p := program{}
	for i := range groups {
		parts = append(parts, ins{opcode: jeq, offset: 1}, set(1), load(0))
		p.relocations = append(p.relocations, relocation{"xdp", uint64(i*4+2) * 8, rel64, "map"})
	}
	p.sections = []contents{{name: "xdp", code: append(parts, exit)}}
	p.symbols = []symbol{{"map", "", 0, 0, 0}, {"main", "xdp", 2, 0, (groups*4 + 1) * 8}}
	raw := p.object(b, binary.LittleEndian).Bytes()

	var replacements []code.Replacement
	for i := range groups {
		replacements = append(replacements, code.Replacement{Slot: i*4 + 1, Code: encode(binary.LittleEndian, set(1), set(2), set(3))})
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		obj, err := elfobj.Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := code.Replace(obj, nil, map[string][]code.Replacement{"xdp": replacements}); err != nil {
			b.Fatal(err)
		}
	}
}

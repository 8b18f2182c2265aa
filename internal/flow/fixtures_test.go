package flow_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/flow"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
)

// fixture is a compiled object of testdata.
type fixture struct {
	object   *elfobj.Object
	accesses []reloc.Access
}

// eachFixture runs a test on a program as every compiler compiles it.
func eachFixture(t *testing.T, program string, test func(*testing.T, *fixture)) {
	paths, err := filepath.Glob("testdata/" + program + "-*.o")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no objects of %s: %v", program, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { test(t, load(t, path)) })
	}
}

func load(t *testing.T, path string) *fixture {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	object, err := elfobj.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	accesses, err := reloc.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, access := range accesses {
		if access.IsMarker() && access.Kind == reloc.TypeExists {
			answer(object.Section(access.Section).Data[access.Insn*8:], object.Order)
		}
	}
	return &fixture{object, accesses}
}

// answer takes out the jump that follows the question where descriptors come from, and
// what it would lead over if it led to the metadata area.
func answer(code []byte, order binary.ByteOrder) {
	question, at := insn.Read(code, order), 0
	ins := question
	for !ins.Compares() || ins.Dst != question.Dst || ins.FromReg() || ins.Imm != 0 {
		at += insn.SlotSize
		ins = insn.Read(code[at:], order)
	}
	over := 0
	if ins.Code() == insn.OpJEQ {
		over = int(ins.Off)
	}
	nothing, _ := insn.Append(nil, asm.Instruction{OpCode: asm.Ja.Op(asm.ImmSource)}, order)
	copy(code[at:], bytes.Repeat(nothing, 1+over))
}

// sub is a function, with the accesses recorded in it.
type sub struct {
	*flow.Subprogram
	name     string
	accesses []reloc.Access
}

// recorded returns the slots of the offsets that are kept in registers.
func (u *sub) recorded() []int {
	var slots []int
	for _, access := range u.accesses {
		if _, isImmediate := u.Known[access.Insn]; isImmediate && access.Kind == reloc.ByteOffset {
			slots = append(slots, access.Insn)
		}
	}
	return slots
}

// subs returns the object's functions by name. Missing are fields that the
// layout does not have; everything else is as in the object.
func (f *fixture) subs(t *testing.T, missing ...string) map[string]*sub {
	t.Helper()
	subs := make(map[string]*sub)
	at := make(map[[2]any]*sub)
	for _, section := range f.object.Sections {
		for _, symbol := range f.object.Functions(section) {
			start := int(symbol.Value / 8)
			function, err := flow.NewFunction(section.Data, f.object.Order, start, start+int(symbol.Size/8))
			if err != nil {
				t.Fatalf("%s: %v", symbol.Name, err)
			}
			u := &sub{name: symbol.Name, Subprogram: &flow.Subprogram{Function: function, Calls: make(map[int]*flow.Subprogram)}}
			u.Program = section.Name != ".text"
			f.record(u, section, missing)
			subs[symbol.Name] = u
			at[[2]any{section.Name, start}] = u
		}
	}
	for _, u := range subs {
		f.link(u, at)
	}
	return subs
}

func isMissing(access *reloc.Access, missing []string) bool {
	for _, field := range missing {
		if access.Path == "md->"+field {
			return true
		}
	}
	return false
}

// record fills in what the rewriting would make of the function's immediates.
func (f *fixture) record(u *sub, section *elfobj.Section, missing []string) {
	u.Known, u.Undecided, u.Linked = make(map[int]int64), nil, nil
	for _, access := range f.accesses {
		if access.Section != section.Name || access.Insn < u.Start() || access.Insn >= u.End() {
			continue
		}
		u.accesses = append(u.accesses, access)
		class := section.Data[access.Insn*8] & 7
		switch isImmediate := class == 0 || class == 4 || class == 7; {
		case !isImmediate:
		case access.IsMarker(): // see load
		case !isMissing(&access, missing):
			u.Known[access.Insn] = int64(access.Local.Value)
		case access.Kind == reloc.FieldExists:
			u.Known[access.Insn] = 0
		default:
			u.Undecided.Add(access.Insn)
		}
	}
	for _, r := range f.relocations(section) {
		u.Linked.Add(r.slot)
	}
}

// link finds out which functions a function calls.
func (f *fixture) link(u *sub, functions map[[2]any]*sub) {
	for _, section := range f.object.Sections {
		for _, r := range f.relocations(section) {
			if functions[[2]any{section.Name, u.Start()}] != u || r.slot < u.Start() || r.slot >= u.End() {
				continue
			}
			symbol := f.object.Symbols[r.symbol-1]
			target := f.object.Sections[symbol.Section]
			if section.Data[r.slot*8] != 0x85 || target.Flags&elf.SHF_EXECINSTR == 0 {
				continue
			}
			imm := int32(f.object.Order.Uint32(section.Data[r.slot*8+4:]))
			slot := int(symbol.Value/8) + int(imm) + 1
			if callee := functions[[2]any{target.Name, slot}]; callee != nil {
				u.Calls[r.slot] = callee.Subprogram
			}
		}
	}
}

type relocation struct{ slot, symbol int }

func (f *fixture) relocations(section *elfobj.Section) []relocation {
	table := f.object.Relocations(section)
	if table == nil || section.Flags&elf.SHF_EXECINSTR == 0 {
		return nil
	}
	var list []relocation
	for data := table.Data; len(data) >= 16; data = data[16:] {
		list = append(list, relocation{int(f.object.Order.Uint64(data) / 8), int(f.object.Order.Uint64(data[8:]) >> 32)})
	}
	return list
}

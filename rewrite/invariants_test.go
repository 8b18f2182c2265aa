package rewrite_test

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"path"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// "Same object, same layout, same options: the same output bytes."
func TestDeterministic(t *testing.T) {
	eachRewritten(t, func(t *testing.T, r rewritten) {
		again, report, err := rewrite.Rewrite(r.in, readLayout(t, r.layout), r.options())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, r.out) {
			t.Error("the output differs")
		}
		if diff := gocmp.Diff(editsOf(r.report), editsOf(report)); diff != "" {
			t.Errorf("the report differs:\n%s", diff)
		}
	})
}

func TestInputIsNotWrittenTo(t *testing.T) {
	eachRewritten(t, func(t *testing.T, r rewritten) {
		if !bytes.Equal(r.in, readProgram(t, r.program)) {
			t.Error("it is")
		}
	})
}

// "Rewriting a rewritten object changes nothing."
func TestIdempotent(t *testing.T) {
	eachRewritten(t, func(t *testing.T, r rewritten) {
		again, report, err := rewrite.Rewrite(r.out, readLayout(t, r.layout), r.options())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, r.out) {
			t.Error("the output differs")
		}
		if len(report.Edits) > 0 {
			t.Errorf("edits: %v", editsOf(report))
		}
	})
}

// "The records that were resolved are gone from .BTF.ext, the others are
// untouched."
func TestOnlyResolvedRecordsAreGone(t *testing.T) {
	eachRewritten(t, func(t *testing.T, r rewritten) {
		resolved := make(map[int]bool)
		for _, edit := range r.report.Edits {
			resolved[edit.Access.Record] = true
		}
		want := parseExt(t, r.in)
		var kept []extRecord
		for i, record := range want.cores {
			if !resolved[i] {
				kept = append(kept, record)
			}
		}
		want.cores = kept

		got := parseExt(t, r.out)
		if diff := gocmp.Diff(contents(want), contents(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Linkers, and loaders that join sections, follow the ELF relocations of
// .BTF.ext: each has to stay with its record.
func TestRelocationsStayWithTheirRecords(t *testing.T) {
	for _, program := range named(t, "programs") {
		// What clang does, without which the test below says nothing.
		checkExtRelocations(t, readProgram(t, program))
	}
	eachRewritten(t, func(t *testing.T, r rewritten) { checkExtRelocations(t, r.out) })
}

// checkExtRelocations wants a relocation at the instruction offset of each
// record of .BTF.ext, and no other.
func checkExtRelocations(t *testing.T, object []byte) {
	t.Helper()
	ext := parseExt(t, object)
	var want []extTarget
	for _, record := range slices.Concat(ext.funcs, ext.lines, ext.cores) {
		want = append(want, extTarget{record.at, record.section})
	}
	slices.SortFunc(want, compareTargets)

	if diff := gocmp.Diff(want, extRelocations(t, object), gocmp.AllowUnexported(extTarget{})); diff != "" {
		t.Errorf("(-records +relocations):\n%s", diff)
	}
}

// "Only the instructions in the report change": all other bytes of the object,
// save the tables that hold the records, are as they were.
func TestOnlyReportedInstructionsChange(t *testing.T) {
	eachRewritten(t, func(t *testing.T, r rewritten) {
		want := make(map[string]map[int]bool) // slots by section
		for _, edit := range r.report.Edits {
			if !edit.Changed() {
				continue
			}
			slots := want[edit.Access.Section]
			if slots == nil {
				slots = make(map[int]bool)
				want[edit.Access.Section] = slots
			}
			slots[edit.Access.Insn] = true
		}

		in, out := parseELF(t, r.in), parseELF(t, r.out)
		for i, section := range in.Sections {
			if section.Name == ".BTF.ext" || section.Name == ".rel.BTF.ext" || section.Type == elf.SHT_NOBITS {
				continue
			}
			before, after := elfData(t, section), elfData(t, out.Sections[i])
			if got := changedSlots(before, after, want[section.Name]); !gocmp.Equal(got, want[section.Name]) {
				t.Errorf("section %s changed at %v, the report says %v", section.Name, got, want[section.Name])
			}
		}
	})
}

// changedSlots returns the instructions that differ. The second half of an LDDW
// counts as the first where the first is expected to change.
func changedSlots(before, after []byte, expected map[int]bool) map[int]bool {
	if len(before) != len(after) {
		return map[int]bool{-1: true}
	}
	const lddw = 0x18
	var changed map[int]bool
	for at := 0; at < len(before); at += reloc.InstructionSize {
		end := min(at+reloc.InstructionSize, len(before))
		if bytes.Equal(before[at:end], after[at:end]) {
			continue
		}
		slot := at / reloc.InstructionSize
		if slot > 0 && expected[slot-1] && before[at-reloc.InstructionSize] == lddw {
			slot--
		}
		if changed == nil {
			changed = make(map[int]bool)
		}
		changed[slot] = true
	}
	return changed
}

func TestHeadersAndSymbolsStay(t *testing.T) {
	eachRewritten(t, func(t *testing.T, r rewritten) {
		in, out := parseELF(t, r.in), parseELF(t, r.out)
		if diff := gocmp.Diff(in.FileHeader, out.FileHeader); diff != "" {
			t.Errorf("header (-in +out):\n%s", diff)
		}
		if diff := gocmp.Diff(sectionHeaders(in), sectionHeaders(out)); diff != "" {
			t.Errorf("sections (-in +out):\n%s", diff)
		}
		inSymbols, err := in.Symbols()
		outSymbols, outErr := out.Symbols()
		if err := errors.Join(err, outErr); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(inSymbols, outSymbols); diff != "" {
			t.Errorf("symbols (-in +out):\n%s", diff)
		}
	})
}

// sectionHeaders leaves out what has to differ.
func sectionHeaders(file *elf.File) []elf.SectionHeader {
	var headers []elf.SectionHeader
	for _, section := range file.Sections {
		header := section.SectionHeader
		header.Offset = 0
		if header.Name == ".BTF.ext" || header.Name == ".rel.BTF.ext" {
			header.Size, header.FileSize = 0, 0
		}
		headers = append(headers, header)
	}
	return headers
}

// "A rewritten object is an ordinary BPF object": others read it, and see the
// records that are left.
func TestOthersReadTheOutput(t *testing.T) {
	eachRewritten(t, func(t *testing.T, r rewritten) {
		if _, _, err := btf.LoadSpecAndExtInfosFromReader(bytes.NewReader(r.out)); err != nil {
			t.Error(err)
		}
		before, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(r.in))
		if err != nil {
			t.Fatal(err)
		}
		after, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(r.out))
		if err != nil {
			t.Fatal(err)
		}

		resolved := make(map[int]int)
		for _, edit := range r.report.Edits {
			resolved[edit.Access.Record]++
		}
		if got, want := recordsIn(after), recordsIn(before)-len(resolved); got != want {
			t.Errorf("cilium/ebpf sees %d records, %d are left", got, want)
		}
		for name := range before.Programs {
			if after.Programs[name] == nil {
				t.Errorf("program %s is gone", name)
			}
		}
	})
}

// recordsIn counts the CO-RE records that cilium/ebpf found, once for each
// function however many programs call it.
func recordsIn(spec *ebpf.CollectionSpec) int {
	type place struct {
		function string
		offset   asm.RawInstructionOffset
	}
	seen := make(map[place]bool)
	for _, program := range spec.Programs {
		var at place
		var start asm.RawInstructionOffset
		for iter := program.Instructions.Iterate(); iter.Next(); {
			if symbol := iter.Ins.Symbol(); symbol != "" {
				at.function, start = symbol, iter.Offset
			}
			if btf.CORERelocationMetadata(iter.Ins) != nil {
				at.offset = iter.Offset - start
				seen[at] = true
			}
		}
	}
	return len(seen)
}

// "Only records whose root type is md_desc (flavours included) are ours."
func TestTypes(t *testing.T) {
	const layout = "reordered-el"
	for _, test := range []struct {
		program string
		types   []string
		want    []string // root types that are resolved
	}{
		{"mixed-el", nil, []string{"md_desc"}},
		{"mixed-el", []string{"md_desc"}, []string{"md_desc"}},
		{"mixed-el", []string{"md_desc", "net_*"}, []string{"md_desc", "net_device"}},
		{"mixed-el", []string{"*"}, []string{"md_desc", "net_device"}},
		{"mixed-el", []string{"sk_buff"}, nil},
		{"flavour-el", nil, []string{"md_desc", "md_desc___mine"}},
		{"flavour-el", []string{"md_desc___mine"}, []string{"md_desc___mine"}},
		{"flavour-el", []string{"md_desc___other"}, nil},
		{"flavour-el", []string{"md_?esc"}, []string{"md_desc", "md_desc___mine"}},
		{"kinds-el", nil, []string{"md_desc", "md_desc___kinds"}},
		{"kinds-el", []string{"md_csum_status"}, []string{"md_csum_status"}},
		{"kinds-el", []string{"md_*"}, []string{"md_absent", "md_csum_status", "md_desc", "md_desc___kinds"}},
	} {
		out, report, err := rewrite.Rewrite(readProgram(t, test.program), readLayout(t, layout), rewrite.Options{Types: test.types})
		if err != nil {
			t.Errorf("%s, types %q: %v", test.program, test.types, err)
			continue
		}
		var got []string
		for _, edit := range report.Edits {
			got = append(got, edit.Access.RootName())
		}
		if diff := gocmp.Diff(test.want, distinct(got)); diff != "" {
			t.Errorf("%s, types %q: resolved (-want +got):\n%s", test.program, test.types, diff)
		}
		if test.want == nil && !bytes.Equal(out, readProgram(t, test.program)) {
			t.Errorf("%s, types %q: the object changed", test.program, test.types)
		}
	}
}

func TestBadGlob(t *testing.T) {
	_, _, err := rewrite.Rewrite(readProgram(t, "mixed-el"), readLayout(t, "exact-el"), rewrite.Options{Types: []string{"md_desc", "[a"}})
	if !errors.Is(err, path.ErrBadPattern) {
		t.Errorf("got %v, want %v", err, path.ErrBadPattern)
	}
}

// A local_type_id is for the loader to answer: it numbers the types anew.
func TestLocalTypeIDPassesThrough(t *testing.T) {
	in := readProgram(t, "kinds-el")
	out, report, err := rewrite.Rewrite(in, readLayout(t, "reordered-el"), rewrite.Options{Types: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range report.Edits {
		if edit.Access.Kind == reloc.LocalTypeID {
			t.Errorf("edit of %s of %s", edit.Access.Kind, edit.Access.Path)
		}
	}
	if got, want := roots(t, out, everyKind), roots(t, in, reloc.LocalTypeID); !gocmp.Equal(got, want) || len(want) == 0 {
		t.Errorf("left are records of %q, want %q", got, want)
	}
}

// everyKind is a kind that selects all others.
const everyKind = ^reloc.Kind(0)

// roots returns the root types of an object's records of a kind.
func roots(t *testing.T, object []byte, kind reloc.Kind) []string {
	t.Helper()
	accesses, err := reloc.Read(object)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, access := range accesses {
		if kind == everyKind || access.Kind == kind {
			names = append(names, access.RootName())
		}
	}
	return names
}

// An object that was compiled for exactly the layout at hand needs no edit.
func TestExact(t *testing.T) {
	for layout, want := range map[string]bool{
		"exact-el": true, "exact-eb": true,
		"reordered-el": false, "narrow-eb": false, "sparse-el": false,
	} {
		_, report, err := rewrite.Rewrite(readProgram(t, "fields-"+layout[len(layout)-2:]), readLayout(t, layout), rewrite.Options{})
		if err != nil {
			t.Error(err)
		} else if report.Exact() != want {
			t.Errorf("%s: exact: %t", layout, report.Exact())
		}
	}
}

// What the layout lacks is poisoned, and only that.
func TestMissingFieldsArePoisoned(t *testing.T) {
	_, report, err := rewrite.Rewrite(readProgram(t, "fields-eb"), readLayout(t, "sparse-eb"), rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range report.Edits {
		if edit.Access.Kind != reloc.ByteOffset {
			continue
		}
		there := edit.Access.Path == "md->hash"
		if edit.Poisoned == there {
			t.Errorf("%s: poisoned: %t", edit.Access.Path, edit.Poisoned)
		}
		if !there && (edit.After.String() != "call 0xbad2310" || edit.Note == "") {
			t.Errorf("%s: %q, note %q", edit.Access.Path, edit.After, edit.Note)
		}
	}
	if got := len(report.Poisoned()); got != 7 {
		t.Errorf("%d poisoned accesses, want 7", got)
	}
}

// editsOf spells the edits of a report for comparison.
func editsOf(report *rewrite.Report) []string {
	var edits []string
	for _, edit := range report.Edits {
		edits = append(edits, edit.Access.Source.String()+" "+edit.Access.Path+": "+edit.Before.String()+" -> "+edit.After.String()+" "+edit.Note)
	}
	return edits
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// extTables are the three tables of a .BTF.ext section, read without the help
// of the code under test.
type extTables struct{ funcs, lines, cores []extRecord }

type extRecord struct {
	section uint32 // string offset of its name
	at      uint64 // offset of the record, which starts with its insn_off
	raw     string
}

// contents leaves out where the records are.
func contents(tables extTables) [][]string {
	spell := func(records []extRecord) (spelled []string) {
		for _, record := range records {
			spelled = append(spelled, string(binary.BigEndian.AppendUint32(nil, record.section))+record.raw)
		}
		return spelled
	}
	return [][]string{spell(tables.funcs), spell(tables.lines), spell(tables.cores)}
}

func parseExt(t *testing.T, object []byte) extTables {
	t.Helper()
	order := parseELF(t, object).ByteOrder
	data := sectionData(t, object, ".BTF.ext")
	table := func(field int) (records []extRecord) {
		start := order.Uint32(data[4:]) + order.Uint32(data[field:])
		end := start + order.Uint32(data[field+4:])
		if start == end {
			return nil
		}
		size := order.Uint32(data[start:])
		for at := start + 4; at < end; {
			name, count := order.Uint32(data[at:]), order.Uint32(data[at+4:])
			if count == 0 {
				t.Errorf("section at %d of .BTF.ext has no records", at)
			}
			at += 8
			for range count {
				records = append(records, extRecord{name, uint64(at), string(data[at : at+size])})
				at += size
			}
		}
		return records
	}
	return extTables{funcs: table(8), lines: table(16), cores: table(24)}
}

// extTarget is a place in .BTF.ext and the section, by the string offset of its
// name, that the instruction there is in.
type extTarget struct {
	at      uint64
	section uint32
}

func compareTargets(a, b extTarget) int { return cmp.Compare(a.at, b.at) }

// extRelocations returns what .rel.BTF.ext patches. The section of each symbol
// is given by the string offset that .BTF.ext has for its name.
func extRelocations(t *testing.T, object []byte) []extTarget {
	t.Helper()
	file := parseELF(t, object)
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	types := sectionData(t, object, ".BTF")
	strings := types[file.ByteOrder.Uint32(types[4:])+file.ByteOrder.Uint32(types[16:]):]

	var targets []extTarget
	for data := sectionData(t, object, ".rel.BTF.ext"); len(data) > 0; data = data[16:] {
		symbol := symbols[elf.R_SYM64(file.ByteOrder.Uint64(data[8:]))-1]
		name := "\x00" + file.Sections[symbol.Section].Name + "\x00"
		offset := bytes.Index(strings, []byte(name)) + 1
		targets = append(targets, extTarget{file.ByteOrder.Uint64(data), uint32(offset)})
	}
	slices.SortFunc(targets, compareTargets)
	return targets
}

func elfData(t *testing.T, section *elf.Section) []byte {
	t.Helper()
	data, err := section.Data()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

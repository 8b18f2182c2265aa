package rewrite_test

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
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

// The same where the order in which calls are looked at decides what is known of
// a function.
func TestDeterministicCalls(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	source := func(attribute, types string) string {
		return "#include \"cost.h\"\nstruct md_0 { " + types + " } " + attribute + `;
static __attribute__((noinline)) int put(struct xdp_md *ctx, __u64 v)
{
	struct md_0 *md = (void *)(long)ctx->data_meta;
	volatile __u32 *at = (void *)&md->small;

	if ((void *)md + 64 > (void *)(long)ctx->data)
		return 0;
	asm volatile("" : "+r"(v));
	if (v > 127)
		at = (void *)&md->other;
	out_unsigned = *at;
	return 1;
}
PROGRAM(many, struct md_0, switch (in_unsigned) {
	case 0: out_signed += put(ctx, 0); break; case 1: out_signed += put(ctx, 1) + 3; break;
	case 2: out_signed += put(ctx, 2) + 6; break; case 3: out_signed += put(ctx, 4) + 9; break;
	case 4: out_signed += put(ctx, 8) + 12; break; case 5: out_signed += put(ctx, 16) + 15; break;
	case 6: out_signed += put(ctx, 32) + 18; break; case 7: out_signed += put(ctx, 63) + 21; break;
})
`
	}
	program := costCompile(t, "clang-19", source("__attribute__((preserve_access_index))", "__u32 small, other;"), "el", "v3")
	layout := parseLayout(t, "calls", costCompile(t, "clang-19", source("layout", "__u8 small; __be32 other;"), "el", "v3"))
	var first []byte
	for range 50 {
		out, _, err := rewrite.Rewrite(program, layout, rewrite.Options{Types: []string{"md_*"}})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out
		}
		if !bytes.Equal(out, first) {
			t.Fatal("the output differs")
		}
	}
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
		if len(report.Edits) > 0 || !report.Rewritten || len(r.report.Unaccessed) > 0 || len(report.Unaccessed) > 0 {
			t.Errorf("rewritten: %t, edits: %v, not accessed: %v, %v", report.Rewritten, editsOf(report), r.report.Unaccessed, report.Unaccessed)
		}
	})
}

// "The records that were resolved are gone from .BTF.ext, the others are
// untouched", except that they follow their instructions. The line of one that
// is taken out goes if what comes next has a line, too.
func TestOnlyResolvedRecordsAreGone(t *testing.T) {
	eachMoved(t, func(t *testing.T, r rewritten) {
		resolved := resolvedRecords(r)
		want := parseExt(t, r.in)
		var kept []extRecord
		for i, record := range want.cores {
			if !resolved[i] {
				kept = append(kept, record)
			}
		}
		want.cores = kept
		moved := movementOf(t, r)
		doubled := func(line extRecord) bool {
			patch, _ := moved[line.section].patch(int(line.insn))
			return patch.Before != nil && len(patch.After) == 0 && slices.ContainsFunc(want.lines, func(other extRecord) bool {
				return other.section == line.section && other.insn > line.insn &&
					moved[line.section].to(int(other.insn)) == moved[line.section].to(int(line.insn))
			})
		}
		var lines []extRecord
		for _, line := range want.lines {
			if !doubled(line) {
				lines = append(lines, line)
			}
		}
		want.lines = lines
		for _, records := range [][]extRecord{want.funcs, want.lines, want.cores} {
			for i := range records {
				records[i].insn = uint32(moved[records[i].section].to(int(records[i].insn)))
			}
		}

		got := parseExt(t, r.out)
		if diff := gocmp.Diff(contents(want), contents(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// resolvedRecords returns the records that have to be gone.
func resolvedRecords(r rewritten) map[int]bool {
	resolved := make(map[int]bool)
	for _, edit := range r.report.Edits {
		resolved[edit.Access.Record] = true
	}
	return resolved
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

// "Only the instructions in the report change": the others stay, as many as
// before and in their order, and jumps and calls lead where they led.
func TestOnlyReportedInstructionsChange(t *testing.T) {
	eachMoved(t, func(t *testing.T, r rewritten) {
		moved := movementOf(t, r)
		before, after := newCodeWalk(t, r.in), newCodeWalk(t, r.out)
		for name, section := range before.sections {
			m, got := moved[name], after.sections[name]
			if len(got) != m.to(len(section)) {
				t.Errorf("section %s has %d slots instead of %d", name, len(got), m.to(len(section)))
				continue
			}
			for slot := 0; slot < len(section); slot += section[slot].slots() {
				if patch, ok := m.patch(slot); ok {
					want, old := encoded(t, before.order, patch.After), encoded(t, before.order, patch.Before)
					if before.raw(name, slot, patch.Before.Slots()) != old || after.raw(name, m.to(slot), patch.After.Slots()) != want {
						t.Errorf("section %s, slot %d, is not %q -> %q", name, slot, patch.Before, patch.After)
					}
					continue
				}
				want := before.at(name, slot)
				if want.target.section != "" {
					want.target.slot = moved[want.target.section].to(want.target.slot)
				}
				if diff := gocmp.Diff(want, after.at(name, m.to(slot)), gocmp.AllowUnexported(walked{}, insnPlace{})); diff != "" {
					t.Errorf("section %s, slot %d, changed:\n%s", name, slot, diff)
				}
			}
		}
	})
}

// The report says where in its function each edit has come to be.
func TestPositions(t *testing.T) {
	eachMoved(t, func(t *testing.T, r rewritten) {
		moved := movementOf(t, r)
		for _, edit := range r.report.Edits {
			m := moved[edit.Access.Section]
			if want := m.to(edit.Access.Insn) - m.to(edit.Access.FunctionStart); edit.Position != want {
				t.Errorf("%s at %d, is at %d", edit.Access.Path, edit.Position, want)
			}
		}
	})
}

// The instructions of an edit are where the report says, all copies included.
func TestPositionsHoldEdits(t *testing.T) {
	copies := 0
	eachAnswered(t, func(t *testing.T, r rewritten) {
		code, starts := decodeSections(t, r.out), make(map[string]int)
		symbols, err := parseELF(t, r.out).Symbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, symbol := range symbols {
			if elf.ST_TYPE(symbol.Info) == elf.STT_FUNC {
				starts[symbol.Name] = int(symbol.Value / reloc.InstructionSize)
			}
		}
		check := func(edit *rewrite.Edit, after rewrite.Instructions, positions ...int) {
			copies += len(positions) - 1
			for _, position := range positions {
				at := starts[edit.Access.Program] + position
				for _, ins := range plain(after) {
					if got := code[edit.Access.Section][at]; got != ins {
						t.Errorf("%s: %q at %d instead of %q", edit.Access.Path, instructions(got), at, instructions(ins))
					}
					at += int(ins.Width())
				}
				if len(after) > 0 && !edit.At(position) {
					t.Errorf("%s: is not said to be at %d", edit.Access.Path, position)
				}
			}
		}
		for i := range r.report.Edits {
			edit := &r.report.Edits[i]
			check(edit, edit.After, append([]int{edit.Position}, edit.Copies...)...)
			for _, other := range edit.Others {
				check(edit, other.After, append([]int{other.Position}, other.Copies...)...)
			}
		}
	})
	if copies == 0 {
		t.Error("no copies")
	}
}

// What is neither code nor points at it stays byte for byte, but for the mark in
// .BTF.
func TestOtherSectionsStay(t *testing.T) {
	eachMoved(t, func(t *testing.T, r rewritten) {
		in, out := parseELF(t, r.in), parseELF(t, r.out)
		for _, section := range in.Sections {
			after := out.Section(section.Name)
			switch {
			case after == nil, section.Type == elf.SHT_NOBITS, section.Name == ".BTF", section.Name == ".BTF.ext", section.Flags&elf.SHF_EXECINSTR != 0:
				continue
			case !movementOf(t, r).any():
			case section.Type == elf.SHT_SYMTAB, section.Type == elf.SHT_REL, section.Name == ".llvm_addrsig":
				continue // numbers of symbols, some of which go with DWARF
			}
			if section.Name != ".rel.BTF.ext" && !bytes.Equal(elfData(t, section), elfData(t, after)) {
				t.Errorf("section %s changed", section.Name)
			}
		}
	})
}

// "Says for what it was rewritten": types and strings of .BTF stay, and the mark comes
// behind them, pointers and a union of them.
func TestTypesOnlyGrow(t *testing.T) {
	eachMoved(t, func(t *testing.T, r rewritten) {
		in, out := btfParts(t, r.in), btfParts(t, r.out)
		mark, ok := bytes.CutPrefix(out.types, in.types)
		if !ok || !bytes.HasPrefix(out.strings, in.strings) || !bytes.Equal(in.header, out.header) {
			t.Fatal("what was there changed")
		}
		order := parseELF(t, r.out).ByteOrder
		for kind := func() uint32 { return order.Uint32(mark[4:]) >> 24 }; kind() == 2; mark = mark[12:] {
			if len(mark) <= 12 {
				t.Fatal("no union")
			}
		}
		name, _, _ := strings.Cut(string(out.strings[order.Uint32(mark):]), "\x00")
		members := order.Uint32(mark[4:]) & 0xffff
		if name != "xdp_load_rewritten" || len(mark) != 12+12*int(members) || members == 0 || int(members) > len(r.report.Edits) {
			t.Errorf("%s, %d members of %d edits, %d bytes", name, members, len(r.report.Edits), len(mark))
		}
		for ; members > 0; members-- {
			name, _, _ := strings.Cut(string(out.strings[order.Uint32(mark[12*members:]):]), "\x00")
			if !cName.MatchString(name) || len(name) > 127 {
				t.Errorf("%q is no name to kernels before 6.1", name)
			}
		}
	})
}

var cName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

type btfSections struct{ header, types, strings []byte }

// btfParts returns what a .BTF section consists of, the header without what it says
// of the lengths.
func btfParts(t *testing.T, object []byte) btfSections {
	t.Helper()
	order, data := parseELF(t, object).ByteOrder, sectionData(t, object, ".BTF")
	word := func(at uint32) uint32 { return order.Uint32(data[at:]) }
	part := func(field uint32) []byte {
		start := word(4) + word(field)
		return data[start : start+word(field+4)]
	}
	return btfSections{data[:8], part(8), part(16)}
}

// Sections and symbols are those of before, moved. DWARF, which nobody moves,
// goes if anything has.
func TestHeadersAndSymbolsStay(t *testing.T) {
	eachMoved(t, func(t *testing.T, r rewritten) {
		in, out := parseELF(t, r.in), parseELF(t, r.out)
		if diff := gocmp.Diff(in.FileHeader, out.FileHeader); diff != "" {
			t.Errorf("header (-in +out):\n%s", diff)
		}
		moved := movementOf(t, r)
		if diff := gocmp.Diff(sectionsOf(in, moved.any()), sectionsOf(out, false)); diff != "" {
			t.Errorf("sections (-want +out):\n%s", diff)
		}
		if diff := gocmp.Diff(symbolsOf(t, in, moved), symbolsOf(t, out, nil), gocmp.AllowUnexported(symbol{})); diff != "" {
			t.Errorf("symbols (-want +out):\n%s", diff)
		}
		if diff := gocmp.Diff(relocationsOf(t, in, moved), relocationsOf(t, out, nil), gocmp.AllowUnexported(relocation{}, symbol{}, insnPlace{})); diff != "" {
			t.Errorf("relocations (-want +out):\n%s", diff)
		}
	})
}

func isDWARF(section string) bool {
	section = strings.TrimPrefix(section, ".rel")
	return strings.HasPrefix(section, ".debug_") || section == ".eh_frame"
}

// sectionsOf returns what stays the same of the section headers.
func sectionsOf(file *elf.File, withoutDWARF bool) (headers []elf.SectionHeader) {
	for _, section := range file.Sections {
		if withoutDWARF && isDWARF(section.Name) {
			continue
		}
		header := section.SectionHeader
		header.Offset, header.Link, header.Info = 0, 0, 0
		if header.Flags&elf.SHF_EXECINSTR != 0 || strings.HasSuffix(header.Name, ".BTF.ext") || header.Name == ".BTF" || header.Type == elf.SHT_SYMTAB {
			header.Size, header.FileSize = 0, 0
		}
		headers = append(headers, header)
	}
	return headers
}

// symbol is an ELF symbol with the name of its section.
type symbol struct {
	name, section string
	info, other   byte
	start, end    int // in slots if the section is code
}

// symbolsOf returns the symbols, in their order, where they have moved to, and
// without those of DWARF if it is gone.
func symbolsOf(t *testing.T, file *elf.File, moved movement) (symbols []symbol) {
	t.Helper()
	table, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for i := range table {
		if s := symbolOf(file, &table[i], moved); !moved.any() || !isDWARF(s.section) {
			symbols = append(symbols, s)
		}
	}
	return symbols
}

func symbolOf(file *elf.File, from *elf.Symbol, moved movement) symbol {
	s := symbol{from.Name, from.Section.String(), from.Info, from.Other, int(from.Value), int(from.Value + from.Size)}
	if int(from.Section) >= len(file.Sections) {
		return s
	}
	section := file.Sections[from.Section]
	s.section = section.Name
	if section.Flags&elf.SHF_EXECINSTR != 0 {
		s.start = moved[s.section].to(s.start / reloc.InstructionSize)
		s.end = moved[s.section].to(s.end / reloc.InstructionSize)
	}
	return s
}

// relocation is an ELF relocation of anything but .BTF.ext and DWARF.
type relocation struct {
	at   insnPlace // in bytes if the section is no code
	kind uint32
	symbol
}

func relocationsOf(t *testing.T, file *elf.File, moved movement) (relocations []relocation) {
	t.Helper()
	table, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range file.Sections {
		name := strings.TrimPrefix(section.Name, ".rel")
		if section.Type != elf.SHT_REL || name == ".BTF.ext" || isDWARF(name) {
			continue
		}
		for data := elfData(t, section); len(data) > 0; data = data[16:] {
			at, info := int(file.ByteOrder.Uint64(data)), file.ByteOrder.Uint64(data[8:])
			if file.Section(name).Flags&elf.SHF_EXECINSTR != 0 {
				at = moved[name].to(at / reloc.InstructionSize)
			}
			symbol := symbolOf(file, &table[elf.R_SYM64(info)-1], moved)
			relocations = append(relocations, relocation{insnPlace{name, at}, elf.R_TYPE64(info), symbol})
		}
	}
	return relocations
}

// "A rewritten object is an ordinary BPF object": others read it, and see the
// records that are left.
func TestOthersReadTheOutput(t *testing.T) {
	eachMoved(t, func(t *testing.T, r rewritten) {
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

		resolved := resolvedRecords(r)
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
	t.Parallel()
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
		{"flavour-el", nil, []string{"md_desc", "md_desc___mine"}},
		{"flavour-el", []string{"md_desc___mine"}, []string{"md_desc___mine"}},
		{"flavour-el", []string{"md_?esc"}, []string{"md_desc", "md_desc___mine"}},
		{"kinds-el", nil, []string{"md_desc", "md_desc___kinds"}},
		{"kinds-el", []string{"md_csum_status"}, []string{"md_csum_status"}},
		{"kinds-el", []string{"md_*"}, []string{"md_absent", "md_csum_status", "md_desc", "md_desc___kinds"}},
	} {
		_, report, err := rewrite.Rewrite(readProgram(t, test.program), readLayout(t, layout), rewrite.Options{Types: test.types})
		var got []string
		var refused *rewrite.RefusedError
		if errors.As(err, &refused) { // no layout has a struct net_device
			for _, refusal := range refused.Refusals {
				got = append(got, refusal.Access.RootName())
			}
			report = &rewrite.Report{Edits: refused.Edits}
		} else if err != nil {
			t.Errorf("%s, types %q: %v", test.program, test.types, err)
			continue
		}
		for _, edit := range report.Edits {
			got = append(got, edit.Access.RootName())
		}
		if diff := gocmp.Diff(test.want, distinct(got)); diff != "" {
			t.Errorf("%s, types %q: resolved (-want +got):\n%s", test.program, test.types, diff)
		}
	}
}

// A type that the object does not have is a mistake, unless it has been resolved.
func TestNoSuchRoot(t *testing.T) {
	for _, test := range []struct {
		program string
		types   []string
		want    string
	}{
		{"mixed-el", []string{"md_dsec"}, `type "md_dsec": no access is recorded to a root type of that name: the object has md_desc, net_device`},
		{"mixed-el", []string{"md_desc", "net_devices"}, "the object has net_device, md_desc"},
		{"mixed-el", []string{"struct md_desc"}, "the object has md_desc, net_device"},
		{"flavour-el", []string{"md_desc___other"}, "the object has md_desc, md_desc___mine"},
	} {
		out, _, err := rewrite.Rewrite(readProgram(t, test.program), readLayout(t, "reordered-el"), rewrite.Options{Types: test.types})
		if out != nil || !errors.Is(err, rewrite.ErrNoSuchRoot) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, types %q: %v lacks %q", test.program, test.types, err, test.want)
		}
	}

	layout, types := readLayout(t, "reordered-el"), rewrite.Options{Types: []string{"md_desc"}}
	out, _, err := rewrite.Rewrite(readProgram(t, "fields-el"), layout, types)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := rewrite.Rewrite(out, layout, types); err != nil {
		t.Errorf("rewritten: %v", err)
	}
	types.Types[0] = "md_dsec"
	if _, _, err := rewrite.Rewrite(out, layout, types); !errors.Is(err, rewrite.ErrNoSuchRoot) {
		t.Errorf("rewritten: %v", err)
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
	section string
	insn    uint32 // slot
	at      uint64 // offset of the record, which starts with its insn_off
	raw     string
}

// contents leaves out where the records are.
func contents(tables extTables) [][]string {
	spell := func(records []extRecord) (spelled []string) {
		for _, record := range records {
			spelled = append(spelled, fmt.Sprintf("%s+%d: %x", record.section, record.insn, record.raw[4:]))
		}
		return spelled
	}
	return [][]string{spell(tables.funcs), spell(tables.lines), spell(tables.cores)}
}

func parseExt(t *testing.T, object []byte) extTables {
	t.Helper()
	order := parseELF(t, object).ByteOrder
	data, names := sectionData(t, object, ".BTF.ext"), btfStrings(t, object)
	table := func(field int) (records []extRecord) {
		start := order.Uint32(data[4:]) + order.Uint32(data[field:])
		end := start + order.Uint32(data[field+4:])
		if start == end {
			return nil
		}
		size := order.Uint32(data[start:])
		for at := start + 4; at < end; {
			name, _, _ := strings.Cut(names[order.Uint32(data[at:]):], "\x00")
			count := order.Uint32(data[at+4:])
			if count == 0 {
				t.Errorf("section at %d of .BTF.ext has no records", at)
			}
			at += 8
			for range count {
				insn := order.Uint32(data[at:]) / reloc.InstructionSize
				records = append(records, extRecord{name, insn, uint64(at), string(data[at : at+size])})
				at += size
			}
		}
		return records
	}
	return extTables{funcs: table(8), lines: table(16), cores: table(24)}
}

// btfStrings returns the strings of an object's BTF.
func btfStrings(t *testing.T, object []byte) string {
	t.Helper()
	order, types := parseELF(t, object).ByteOrder, sectionData(t, object, ".BTF")
	return string(types[order.Uint32(types[4:])+order.Uint32(types[16:]):])
}

// extTarget is a place in .BTF.ext, and the section that the instruction there
// is in.
type extTarget struct {
	at      uint64
	section string
}

func compareTargets(a, b extTarget) int { return cmp.Compare(a.at, b.at) }

// extRelocations returns what .rel.BTF.ext patches.
func extRelocations(t *testing.T, object []byte) []extTarget {
	t.Helper()
	file := parseELF(t, object)
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var targets []extTarget
	for data := sectionData(t, object, ".rel.BTF.ext"); len(data) > 0; data = data[16:] {
		symbol := symbols[elf.R_SYM64(file.ByteOrder.Uint64(data[8:]))-1]
		targets = append(targets, extTarget{file.ByteOrder.Uint64(data), file.Sections[symbol.Section].Name})
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

package code_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/btfraw"
	"github.com/xdp-load/xdp-load/internal/code"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/netlab"
)

// fixtures lists objects with programs, of both byte orders.
func fixtures(tb testing.TB) []string {
	tb.Helper()
	var all []string
	for _, pattern := range []string{
		"testdata/*.o", "../../testdata/programs/*.o", "../../testdata/programs/fixed/*.o", "../../bpf/examples/*.o", "../../loader/testdata/*.o",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			tb.Fatalf("%s: no objects: %v", pattern, err)
		}
		for _, path := range paths {
			isLoadable := !strings.Contains(path, "casts_wrong")            // declares a kfunc in another way than the kernel
			if isLoadable && len(codeSections(read(tb, path).Object)) > 0 { // some of bpf/examples are layouts
				all = append(all, path)
			}
		}
	}
	return all
}

// parsed is an object with what code.Replace brings up to date.
type parsed struct {
	*elfobj.Object
	ext *btfraw.Ext
}

func read(tb testing.TB, path string) parsed {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return parse(tb, raw)
}

func parse(tb testing.TB, raw []byte) parsed {
	tb.Helper()
	obj, err := elfobj.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed{obj, readExt(tb, obj)}
}

func readExt(tb testing.TB, obj *elfobj.Object) *btfraw.Ext {
	tb.Helper()
	section := obj.Section(".BTF.ext")
	if section == nil {
		return nil
	}
	types, err := btfraw.Parse(obj.Section(".BTF").Data, nil)
	if err != nil {
		tb.Fatal(err)
	}
	ext, err := btfraw.ParseExt(section.Data, types)
	if err != nil {
		tb.Fatal(err)
	}
	return ext
}

func (p parsed) replace(tb testing.TB, replacements map[string][]code.Replacement) {
	tb.Helper()
	if err := code.Replace(p.Object, p.ext, replacements); err != nil {
		tb.Fatal(err)
	}
}

func codeSections(obj *elfobj.Object) []*elfobj.Section {
	var all []*elfobj.Section
	for _, section := range obj.Sections {
		if section.Flags&elf.SHF_EXECINSTR != 0 && len(section.Data) > 0 {
			all = append(all, section)
		}
	}
	return all
}

// padding is code that does nothing, in random places, and what takes it out
// again.
type padding struct{ in, out map[string][]code.Replacement }

func pad(obj *elfobj.Object, random *rand.Rand) padding {
	p := padding{map[string][]code.Replacement{}, map[string][]code.Replacement{}}
	for _, section := range codeSections(obj) {
		relocated := relocatedSlots(obj, section)
		insns := decode(obj.Order, section.Data)
		moved := 0
		for slot := 0; slot < len(insns); {
			size := 1
			if insns[slot].opcode == lddw {
				size = 2
			}
			before, after := 0, 0
			if random.Intn(3) == 0 || slot == 0 { // never nowhere
				before = random.Intn(3)
				if slot == 0 {
					before++
				}
				if !leaves(insns[slot]) {
					after = random.Intn(3)
				}
			}
			if before+after > 0 {
				r := surround(obj.Order, insns, slot, size, before, after, relocated[slot])
				p.in[section.Name] = append(p.in[section.Name], r)
				for i := range before + after {
					at := slot + moved + i
					if i >= before {
						at += size
					}
					p.out[section.Name] = append(p.out[section.Name], code.Replacement{Slot: at})
				}
				moved += before + after
			}
			slot += size
		}
	}
	shuffle := func(all []code.Replacement) {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	for _, section := range codeSections(obj) {
		shuffle(p.in[section.Name])
		shuffle(p.out[section.Name])
	}
	return p
}

// surround puts instructions that do nothing before and after one.
func surround(order binary.ByteOrder, insns []ins, slot, size, before, after int, relocated bool) code.Replacement {
	var parts []any
	for range before {
		parts = append(parts, nop)
	}
	parts = append(parts, insns[slot:slot+size])
	for range after {
		parts = append(parts, nop)
	}
	r := code.Replacement{Slot: slot, Code: encode(order, parts...), Kept: before}
	if distance, jumps := distanceOf(insns[slot]); jumps && !relocated {
		r.Jumps = []code.Jump{{At: before, Target: slot + 1 + distance}}
	}
	return r
}

// leaves reports whether what follows the instruction is reached by jumps only:
// the verifier refuses code that nothing reaches.
func leaves(i ins) bool {
	return i.opcode == opExit || i.opcode == opGoto || i.opcode == opGotol || i.opcode == opGotox
}

func distanceOf(i ins) (int, bool) {
	class := i.opcode & 7
	switch {
	case i.opcode == opGotol, i.opcode == opCall && i.src == pseudoCall, i.opcode == lddw && i.src == pseudoFunc:
		return int(i.imm), true
	case i.opcode == opCall, i.opcode == opExit, i.opcode == opGotox, class != 5 && class != 6:
		return 0, false
	}
	return int(i.offset), true
}

func relocatedSlots(obj *elfobj.Object, section *elfobj.Section) map[int]bool {
	slots := make(map[int]bool)
	if table := obj.Relocations(section); table != nil {
		for data := table.Data; len(data) > 0; data = data[16:] {
			slots[int(obj.Order.Uint64(data)/8)] = true
		}
	}
	return slots
}

func withoutDWARF(tb testing.TB, obj *elfobj.Object) *elfobj.Object {
	tb.Helper()
	clone := obj.Clone()
	if _, err := clone.Remove(func(s *elfobj.Section) bool { return strings.HasPrefix(s.Name, ".debug_") }); err != nil {
		tb.Fatal(err)
	}
	return clone
}

// seeds returns how often something random is done with each fixture: seldom with
// -short.
func seeds(often int) int {
	if testing.Short() {
		return 1
	}
	return often
}

// What is put in and taken out again leaves no trace but the lack of DWARF.
func TestRoundTrip(t *testing.T) {
	for _, path := range fixtures(t) {
		original := read(t, path)
		want := withoutDWARF(t, original.Object).Bytes()
		for seed := range seeds(20) {
			p := read(t, path)
			padding := pad(p.Object, rand.New(rand.NewSource(int64(seed))))
			p.replace(t, padding.in)
			if bytes.Equal(p.Bytes(), want) {
				t.Errorf("%s, seed %d: nothing changed", path, seed)
			}
			checkExt(t, path, p)
			p.replace(t, padding.out)
			if !bytes.Equal(p.Bytes(), want) {
				t.Errorf("%s, seed %d: another object came back", path, seed)
			}
			checkExt(t, path, p)
		}
	}
}

// checkExt wants ext to be what would be read from the object anew.
func checkExt(t *testing.T, path string, p parsed) {
	t.Helper()
	if p.ext == nil {
		return
	}
	fresh := readExt(t, p.Object)
	if !slices.Equal(relosOf(fresh), relosOf(p.ext)) || !bytes.Equal(fresh.Bytes(), p.ext.Bytes()) {
		t.Errorf("%s: records differ from those in the object", path)
	}
	for name, lines := range fresh.Lines {
		if !slices.Equal(lines, p.ext.Lines[name]) {
			t.Errorf("%s: lines differ from those in the object", path)
		}
	}
	all, _ := p.ext.Without(func(int) bool { return true })
	none, _ := p.ext.Without(func(int) bool { return false })
	if p.ext.CountCORERelos() > 0 && len(all) >= len(none) || !bytes.Equal(none, p.ext.Bytes()) {
		t.Errorf("%s: records can't be taken out", path)
	}
}

func relosOf(ext *btfraw.Ext) []btfraw.CORERelo {
	relos := make([]btfraw.CORERelo, 0, ext.CountCORERelos())
	for _, relo := range ext.CORERelos() {
		relos = append(relos, relo)
	}
	return relos
}

// Every instruction keeps its record and its line: seen from the instruction
// that was there before, nothing changes.
func TestRecordsFollow(t *testing.T) {
	for _, path := range fixtures(t) {
		before, p := read(t, path), read(t, path)
		if p.ext == nil {
			continue
		}
		p.replace(t, pad(p.Object, rand.New(rand.NewSource(1))).in)
		for i, record := range before.ext.CORERelos() {
			moved := p.ext.CORERelo(i)
			old := before.Section(record.Section).Data[record.InsnOffset:][:8]
			now := p.Section(moved.Section).Data[moved.InsnOffset:][:8]
			if !bytes.Equal(old, now) {
				t.Errorf("%s: record %d of %x is one of %x now", path, i, old, now)
			}
			oldLine, _ := before.ext.LineAt(record.Section, record.InsnOffset)
			nowLine, _ := p.ext.LineAt(moved.Section, moved.InsnOffset)
			oldLine.InsnOffset, nowLine.InsnOffset = 0, 0
			if oldLine != nowLine {
				t.Errorf("%s: record %d of line %d is of line %d now", path, i, oldLine.Line, nowLine.Line)
			}
		}
	}
}

// Every entry of a table of jumps leads to the instruction that it led to, or to
// what was put in front of it.
func TestTablesFollow(t *testing.T) {
	for _, path := range []string{"testdata/gotox-el.o", "testdata/gotox-eb.o"} {
		before, p := read(t, path), read(t, path)
		p.replace(t, pad(p.Object, rand.New(rand.NewSource(1))).in)
		old, now := casesOf(before), casesOf(p)
		if len(old) != 3*16 || !slices.Equal(old, now) {
			t.Errorf("%s:\n%v, want\n%v", path, now, old)
		}
	}
}

// casesOf returns, for each entry of .jumptables, the number that the code there
// multiplies with; 0 if it jumps away first.
func casesOf(p parsed) []int32 {
	insns := decode(p.Order, p.Section("xdp").Data)
	var cases []int32
	for table := p.Section(".jumptables").Data; len(table) >= 8; table = table[8:] {
		at := p.Order.Uint64(table) / 8
		for insns[at].opcode != mulImm && (insns[at] == nop || insns[at].opcode&7 != 5) {
			at++
		}
		if insns[at].opcode == mulImm {
			cases = append(cases, insns[at].imm)
		} else {
			cases = append(cases, 0)
		}
	}
	return cases
}

// Without records of any kind, and without BTF.
func TestWithoutBTF(t *testing.T) {
	for _, path := range fixtures(t) {
		p := read(t, path)
		_, err := p.Remove(func(s *elfobj.Section) bool { return strings.HasPrefix(s.Name, ".BTF") })
		if err != nil {
			t.Fatal(err)
		}
		p.ext = nil
		want := withoutDWARF(t, p.Object).Bytes()
		padding := pad(p.Object, rand.New(rand.NewSource(2)))
		p.replace(t, padding.in)
		p.replace(t, padding.out)
		if !bytes.Equal(p.Bytes(), want) {
			t.Errorf("%s: another object came back", path)
		}
	}
}

// A .BTF.ext that is there has to be given.
func TestExtMissing(t *testing.T) {
	p := read(t, "testdata/subprogs-el.o")
	other := read(t, "testdata/callbacks-el.o")
	padding := pad(p.Object, rand.New(rand.NewSource(3)))
	for _, ext := range []*btfraw.Ext{nil, other.ext} {
		if err := code.Replace(p.Object, ext, padding.in); err == nil {
			t.Error("no error")
		}
	}
}

// Where clang makes the same instructions for both byte orders, so does Replace.
func TestByteOrders(t *testing.T) {
	compared := 0
	for _, path := range fixtures(t) {
		base, little := strings.CutSuffix(path, "-el.o")
		if _, err := os.Stat(base + "-eb.o"); !little || err != nil {
			continue
		}
		el, eb := read(t, base+"-el.o"), read(t, base+"-eb.o")
		if !sameCode(el.Object, eb.Object) {
			continue
		}
		compared++
		for _, p := range []parsed{el, eb} {
			p.replace(t, pad(p.Object, rand.New(rand.NewSource(4))).in)
		}
		if !sameCode(el.Object, eb.Object) {
			t.Errorf("%s: byte orders differ", base)
		}
	}
	if compared < 5 {
		t.Errorf("compared %d objects", compared)
	}
}

func sameCode(a, b *elfobj.Object) bool {
	return slices.EqualFunc(codeSections(a), codeSections(b), func(a1, b1 *elfobj.Section) bool {
		return slices.Equal(decode(a.Order, a1.Data), decode(b.Order, b1.Data))
	})
}

// As long as nothing moves, DWARF stays and no other byte changes.
func TestInPlace(t *testing.T) {
	for _, path := range fixtures(t) {
		p := read(t, path)
		want := p.Clone()
		replacements := make(map[string][]code.Replacement)
		for _, section := range codeSections(p.Object) {
			last := len(section.Data)/8 - 1
			changed := encode(p.Order, set(5))
			copy(want.Section(section.Name).Data[last*8:], changed)
			replacements[section.Name] = []code.Replacement{{Slot: last, Code: changed}}
		}
		p.replace(t, replacements)
		if !bytes.Equal(p.Bytes(), want.Bytes()) {
			t.Errorf("%s: other bytes changed", path)
		}
	}
}

// Sections that are held on to stay the object's.
func TestSectionsStay(t *testing.T) {
	p := read(t, "../../testdata/programs/fields-el.o")
	ext, xdp, debug := p.Section(".BTF.ext"), p.Section("xdp"), p.Section(".debug_info")
	p.replace(t, pad(p.Object, rand.New(rand.NewSource(5))).in)
	if p.Section(".BTF.ext") != ext || p.Section("xdp") != xdp {
		t.Error("other sections")
	}
	if debug == nil || p.Section(".debug_info") != nil {
		t.Error("DWARF stays")
	}
}

// A jump that does not reach is named by the line it is on.
func TestReachSource(t *testing.T) {
	p := read(t, "testdata/subprogs-el.o")
	before := p.Bytes()
	xdp := p.Section("xdp")
	far := code.Replacement{Slot: 10, Code: bytes.Repeat(encode(p.Order, nop), 40000)} // behind the bounds check
	err := code.Replace(p.Object, p.ext, map[string][]code.Replacement{"xdp": {far}})
	var at *code.Error
	if !errors.As(err, &at) {
		t.Fatalf("%v", err)
	}
	if i := decode(p.Order, xdp.Data)[at.Slot]; i.opcode&7 != 5 && i.opcode&7 != 6 {
		t.Errorf("no jump: %+v", i)
	}
	for _, part := range []string{"internal/code/testdata/", "section xdp", "function sum", "does not reach"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	if !bytes.Equal(p.Bytes(), before) {
		t.Error("the object changed")
	}
}

func countGotox(p parsed) (count int) {
	for _, section := range codeSections(p.Object) {
		for _, i := range decode(p.Order, section.Data) {
			if i.opcode == opGotox {
				count++
			}
		}
	}
	return count
}

// middleSets are objects by compilers and for instruction sets between the oldest and
// the newest.
var middleSets = regexp.MustCompile(`-clang(14-v[23]|16|19|22-v[123])`)

// Debian's LLVM finds nothing wrong with what comes out. What it looks at, sections and
// tables, is the same whatever the instruction set: the oldest and the newest will do.
func TestLLVM(t *testing.T) {
	netlab.NeedTools(t, "llvm-readelf-19", "llvm-objdump-19", "llvm-strip-19")
	directory := t.TempDir()
	for _, path := range fixtures(t) {
		if middleSets.MatchString(path) {
			continue
		}
		p := read(t, path)
		p.replace(t, pad(p.Object, rand.New(rand.NewSource(6))).in)
		for _, section := range p.Sections {
			if strings.Contains(section.Name, "debug") {
				t.Errorf("%s: section %s is left", path, section)
			}
		}
		object := filepath.Join(directory, filepath.Base(path))
		if err := os.WriteFile(object, p.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, arguments := range [][]string{
			{"llvm-readelf-19", "--all", object},
			{"llvm-objdump-19", "--disassemble", "--reloc", "--source", "--line-numbers", object},
			{"llvm-strip-19", "-g", "-o", os.DevNull, object},
		} {
			var complaints bytes.Buffer
			command := exec.Command(arguments[0], arguments[1:]...)
			command.Stderr = &complaints
			out, err := command.Output()
			if err != nil || complaints.Len() > 0 {
				t.Errorf("%s: %s: %v: %s", path, arguments[0], err, &complaints)
			}
			if unknown := bytes.Count(out, []byte("<unknown>")); unknown > 0 && unknown != countGotox(p) { // newer than LLVM 19
				t.Errorf("%s: %s: unknown instruction", path, arguments[0])
			}
		}
	}
}

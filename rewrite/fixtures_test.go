package rewrite_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/bpf"
	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// TestMain runs the tests with memory to spare: many keep what others use again, and
// all of that would be looked at each time garbage is collected.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(3 << 30)
	os.Exit(m.Run())
}

const testdata = "../testdata"

// named lists the objects of a directory of testdata by name, such as
// "fields-clang14-v2-el".
func named(tb testing.TB, directory string) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(testdata, directory, "*-e[lb].o"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no objects in %s: %v", directory, err)
	}
	for i, path := range paths {
		paths[i] = strings.TrimSuffix(filepath.Base(path), ".o")
	}
	return paths
}

// readProgram returns a program object of testdata.
func readProgram(tb testing.TB, name string) []byte {
	tb.Helper()
	return readFile(tb, objectPath("programs", name))
}

// examples is what the names of programs and layouts of bpf/examples start with.
const examples = "examples/"

// objectPath returns the path of an object in a directory of testdata, or of an example.
func objectPath(directory, name string) string {
	if example, is := strings.CutPrefix(name, examples); is {
		return filepath.Join("../bpf/examples", example+".o")
	}
	return filepath.Join(testdata, directory, name+".o")
}

// readLayout returns a layout of testdata by its object's name.
func readLayout(tb testing.TB, name string) *reloc.Layout {
	tb.Helper()
	return parseLayout(tb, name, readFile(tb, objectPath("layouts", name)))
}

// parseLayout returns the layout in the BTF of an object, named without its
// byte order.
func parseLayout(tb testing.TB, name string, object []byte) *reloc.Layout {
	tb.Helper()
	layout, err := reloc.NewLayout(name[:len(name)-len("-el")], sectionData(tb, object, ".BTF"), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return layout
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func parseELF(tb testing.TB, object []byte) *elf.File {
	tb.Helper()
	file, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

func sectionData(tb testing.TB, object []byte, name string) []byte {
	tb.Helper()
	section := parseELF(tb, object).Section(name)
	if section == nil {
		tb.Fatalf("no section %s", name)
	}
	data, err := section.Data()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// pair is a program and a layout of testdata, or both of the examples, by their objects'
// names.
type pair struct{ program, layout string }

var (
	compilerMatrix = regexp.MustCompile(`-clang\d+-v\d-`)
	matrixLayouts  = []string{"nested", "narrow", "sparse"}
)

// pairs lists every program with every layout of its byte order, and the examples with
// theirs. What other compilers made of a program is paired with a few layouts only.
func pairs(tb testing.TB) []pair {
	tb.Helper()
	var all []pair
	layouts := named(tb, "layouts")
	for _, program := range named(tb, "programs") {
		endian := program[len(program)-len("-el"):]
		for _, layout := range layouts {
			shape, matches := strings.CutSuffix(layout, endian)
			if matches && paired(program, shape) {
				all = append(all, pair{program, layout})
			}
		}
	}
	return append(all, examplePairs(tb)...)
}

// examplePairs lists every example with every NIC of the examples.
func examplePairs(tb testing.TB) (all []pair) {
	tb.Helper()
	sources, err := filepath.Glob("../bpf/examples/*.c")
	if err != nil || len(sources) == 0 {
		tb.Fatalf("no examples: %v", err)
	}
	isNIC := func(source string) bool { return strings.HasPrefix(filepath.Base(source), "nic_") }
	for _, source := range sources {
		for _, nic := range sources {
			if isNIC(source) || !isNIC(nic) {
				continue
			}
			for _, endian := range []string{"-el", "-eb"} {
				name := func(source string) string { return examples + strings.TrimSuffix(filepath.Base(source), ".c") + endian }
				all = append(all, pair{name(source), name(nic)})
			}
		}
	}
	return all
}

// paired reports whether a program and a layout are compared with golden files.
func paired(program, shape string) bool {
	if source := kernelSource(program); isSpecial(source) || isSpecial(shape) {
		return madeForEachOther(source, shape)
	}
	return !compilerMatrix.MatchString(program) || slices.Contains(matrixLayouts, shape)
}

// specialLayouts are the layouts of programs that are made for one, by program.
var specialLayouts = map[string]string{
	"copies":    "copies",
	"entries":   "own",
	"follow":    "own",
	"follow_tc": "own",
	"nests":     "nests",
	"own":       "own",
	"parts":     "parts",
	"paths":     "paths",
	"shapes":    "shapes",
}

// isSpecial reports whether a program or a layout is in specialLayouts.
func isSpecial(name string) bool { return specialLayouts[name] != "" }

// madeForEachOther reports whether a program and a layout are a pair of
// specialLayouts, or neither is in there.
func madeForEachOther(program, layout string) bool {
	if isSpecial(program) || isSpecial(layout) {
		return specialLayouts[program] == layout
	}
	return true
}

// everyType covers the md_csum_status and md_absent of the program kinds too.
var everyType = rewrite.Options{Types: []string{"md_*"}}

// options returns what a program is rewritten with unless a test says
// otherwise.
func (p pair) options() rewrite.Options {
	if strings.HasPrefix(p.program, "kinds-") {
		return everyType
	}
	return rewrite.Options{}
}

// rewritten is what a pair was rewritten to. Several tests have it: none changes it.
type rewritten struct {
	pair
	in, out []byte
	report  *rewrite.Report
}

// outcome is a rewritten pair, or why it is refused.
type outcome struct {
	sync.Once
	rewritten
	err error
}

// outcomes are those that a test has asked for, by pair.
var outcomes sync.Map

// rewrite rewrites a pair, once for all tests.
func (p pair) rewrite(tb testing.TB) *outcome {
	tb.Helper()
	known, _ := outcomes.LoadOrStore(p, new(outcome))
	o := known.(*outcome)
	o.Do(func() {
		o.pair, o.in = p, readProgram(tb, p.program)
		o.out, o.report, o.err = rewrite.Rewrite(o.in, readLayout(tb, p.layout), p.options())
	})
	return o
}

// eachRewritten runs a test on each pair that is not refused. Several that do so run
// at the same time.
func eachRewritten(t *testing.T, test func(*testing.T, rewritten)) {
	t.Parallel()
	for _, p := range pairs(t) {
		o := p.rewrite(t)
		if o.err != nil {
			continue // TestGolden knows which, and why
		}
		t.Run(p.program+"/"+p.layout, func(t *testing.T) { test(t, o.rewritten) })
	}
}

// eachRewrittenBy is eachRewritten with other options.
func eachRewrittenBy(t *testing.T, by func(rewrite.Options) rewrite.Options, test func(*testing.T, rewritten)) {
	t.Parallel()
	for _, p := range pairs(t) {
		in := readProgram(t, p.program)
		out, report, err := rewrite.Rewrite(in, readLayout(t, p.layout), by(p.options()))
		if err != nil {
			continue // TestGolden knows which, and why
		}
		t.Run(p.program+"/"+p.layout, func(t *testing.T) { test(t, rewritten{p, in, out, report}) })
	}
}

// eachAnswered is eachRewritten for the programs as they are once it is answered where
// descriptors come from: what they become then is told of these.
func eachAnswered(t *testing.T, test func(*testing.T, rewritten)) {
	eachRewritten(t, func(t *testing.T, r rewritten) {
		in, err := rewrite.FromArea(r.in, readLayout(t, r.layout), r.options())
		if err != nil {
			t.Fatal(err)
		}
		out, report, err := rewrite.Rewrite(in, readLayout(t, r.layout), rewrite.TellsAll(r.options()))
		if err != nil {
			t.Fatal(err)
		}
		test(t, rewritten{r.pair, in, out, report})
	})
}

// eachMoved is eachAnswered without paths.c, where code is not only moved but
// copied: TestSplit of internal/code and TestOracleLibbpfPrograms follow that.
func eachMoved(t *testing.T, test func(*testing.T, rewritten)) {
	eachAnswered(t, func(t *testing.T, r rewritten) {
		if !strings.HasPrefix(r.program, "paths-") {
			test(t, r)
		}
	})
}

// byteOrderOf returns the byte order of a clang target: "el" or "eb".
func byteOrderOf(endian string) binary.ByteOrder {
	if endian == "eb" {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// instructions are some as an edit has them that replaces or makes one on its own.
func instructions(insns ...asm.Instruction) rewrite.Instructions {
	items := make(rewrite.Instructions, len(insns))
	for i, ins := range insns {
		items[i].Instruction = ins
		if insn.IsMemory(ins) {
			items[i].Kind = insn.Field
		}
	}
	return items
}

// plain returns instructions without what each is there for.
func plain(items []insn.Item) []asm.Instruction {
	insns := make([]asm.Instruction, len(items))
	for i, item := range items {
		insns[i] = item.Instruction
	}
	return insns
}

// modelOf returns the functions of an object, without its source lines.
func modelOf(t *testing.T, object []byte) *bpf.Object {
	t.Helper()
	file, err := elfobj.Parse(object)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := reloc.ReadObject(object)
	if err != nil {
		t.Fatal(err)
	}
	return bpf.New(file, nil, recorded)
}

// withoutFunctions returns an object in which functions have no symbols any more: what
// nothing else refers to of these is code that no loader loads, and that Rewrite takes
// out. Each section of code needs a function that stays.
func withoutFunctions(object []byte, unwanted func(name string) bool) ([]byte, error) {
	file, err := elfobj.Parse(object)
	if err != nil {
		return nil, err
	}
	for i, symbol := range file.Symbols {
		if elf.ST_TYPE(symbol.Info) != elf.STT_FUNC || !unwanted(symbol.Name) {
			continue
		}
		symbol.Info = elf.ST_INFO(elf.STB_LOCAL, elf.STT_NOTYPE)
		if err := file.SetSymbol(i, symbol); err != nil {
			return nil, err
		}
	}
	return file.Bytes(), nil
}

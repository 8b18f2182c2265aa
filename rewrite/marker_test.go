package rewrite_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/internal/insn"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// markerQuestion is what md_desc() of md_desc.h asks before anything else.
const markerQuestion = "bpf_core_type_exists(struct xdp_load_source)"

// markerTested finds a question to the layout right behind the test of md. clang compiles it
// along with the two ways to md, and other code is left when one of them is taken out.
var markerTested = regexp.MustCompile(`md (&&|\|\|) !?bpf_core_field_exists`)

// markerSources are the programs that are compiled with and without the question: all
// that are checked in and use md_desc() of md_desc.h, as their only header of ours.
func markerSources(t *testing.T) (sources []string) {
	t.Helper()
	for _, directory := range []string{"../bpf/examples", "../testdata/programs"} {
		paths, err := filepath.Glob(filepath.Join(directory, "*.c"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			source := string(readFile(t, path))
			if markerTested.MatchString(source) || strings.Contains(source, "md_meta.h") {
				continue
			}
			if strings.Contains(source, "md_desc(ctx)") && !strings.Contains(source, "define md_desc(") {
				sources = append(sources, path)
			}
		}
	}
	if len(sources) < 10 {
		t.Fatalf("only %d programs use md_desc(): %v", len(sources), sources)
	}
	return sources
}

// markerHeaders returns the directories of the header, and of one without the question.
func markerHeaders(t *testing.T) (with, without string) {
	t.Helper()
	header := string(readFile(t, "../bpf/md_desc.h"))
	if strings.Count(header, markerQuestion) != 1 {
		t.Fatalf("md_desc.h does not ask %s once", markerQuestion)
	}
	without = t.TempDir()
	err := os.WriteFile(filepath.Join(without, "md_desc.h"), []byte(strings.Replace(header, markerQuestion, "0", 1)), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return "../bpf", without
}

func markerCompile(t *testing.T, by pairCompiler, endian, source, headers string) []byte {
	t.Helper()
	triple, err := exec.Command("gcc", "-print-multiarch").Output()
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(t.TempDir(), "program.o")
	out, err := exec.Command(fmt.Sprintf("clang-%d", by.version), "-O2", "-g", "-target", "bpf"+endian, "-mcpu="+by.cpu, "-w",
		"-isystem", "/usr/include/"+strings.TrimSpace(string(triple)), "-I"+headers, "-c", source, "-o", object).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return readFile(t, object)
}

// A program that asks where its descriptors come from is, for the metadata area, the
// program that does not ask: instruction for instruction, in its edits and refusals.
func TestMarkerLeavesNoTrace(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-14", "clang-16", "clang-19", "clang-22")
	with, without := markerHeaders(t)
	for _, source := range markerSources(t) {
		t.Run(strings.TrimSuffix(filepath.Base(source), ".c"), func(t *testing.T) {
			t.Parallel()
			for _, by := range markerCompilers {
				for _, endian := range []string{"el", "eb"} {
					m := markerPair{by, markerCompile(t, by, endian, source, with), markerCompile(t, by, endian, source, without)}
					t.Run(by.String()+"-"+endian, func(t *testing.T) { m.check(t, markerLayout(t, source, endian)) })
				}
			}
		})
	}
}

var markerCompilers = []pairCompiler{
	{14, "v1"}, {14, "v3"}, {16, "v2"}, {16, "v3"}, {19, "v1"}, {19, "v3"}, {19, "v4"}, {22, "v2"}, {22, "v4"},
}

// markerLayout returns the layout that a program is rewritten for.
func markerLayout(t *testing.T, source, endian string) *reloc.Layout {
	name := strings.TrimSuffix(filepath.Base(source), ".c")
	if special := specialLayouts[name]; special != "" {
		return readLayout(t, special+"-"+endian)
	}
	return readLayout(t, "nested-"+endian)
}

// markerPair is one program, compiled with and without the question.
type markerPair struct {
	by            pairCompiler
	with, without []byte
}

func (m *markerPair) check(t *testing.T, layout *reloc.Layout) {
	with, report, err := rewrite.Rewrite(m.with, layout, rewrite.Options{})
	without, wanted, wantedErr := rewrite.Rewrite(m.without, layout, rewrite.Options{})
	if err != nil || wantedErr != nil {
		if fmt.Sprint(err) != fmt.Sprint(wantedErr) || !errors.Is(err, rewrite.ErrRefused) {
			t.Errorf("with the question: %v\nwithout: %v", err, wantedErr)
		}
		return
	}
	got, want := markerFunctions(t, with), markerFunctions(t, without)
	if len(got) != len(want) {
		t.Fatalf("%d functions instead of %d", len(got), len(want))
	}
	for name, code := range want {
		gotOf, wantOf := markerCounts(t, got[name], layout), markerCounts(t, code, layout)
		more := len(got[name])/reloc.InstructionSize - len(code)/reloc.InstructionSize
		if more > 0 && more <= m.mayHaveMore(name) || maps.Equal(gotOf, wantOf) {
			continue
		}
		t.Errorf("%s, %d instructions more with the question:\n%s\nwithout:\n%s", name, more,
			markerListing(t, got[name], layout), markerListing(t, code, layout))
	}
	if got, want := markerAccesses(report), markerAccesses(wanted); !maps.Equal(got, want) {
		t.Errorf("the report tells of %v instead of %v", got, want)
	}
}

// markerAccesses returns what a report tells of, by function.
func markerAccesses(report *rewrite.Report) map[string]bool {
	accesses := make(map[string]bool)
	for _, edit := range report.Edits {
		accesses[fmt.Sprint(edit.Access.Program, " ", edit.Access.Kind, " ", edit.Access.Path)] = true
	}
	return accesses
}

// mayHaveMore returns how many instructions a function may have that it would not have
// without the question: clang compiles the code around two ways to a descriptor, of which
// one is taken out afterwards.
func (m *markerPair) mayHaveMore(function string) int {
	switch {
	case function == "xdp/kinds": // asks the layout for everything before it tests md
		return 2
	case function == "xdp/two_variables": // loads ctx->data_meta itself, which clang did once
		return 2
	case m.by.version > 14:
		return 0
	}
	// Before clang 16 "if (md)" is a jump, as the address of an empty area might be zero
	// to it.
	switch function {
	case "xdp/counted": // where it needs the address for nothing else
		return 2
	case "xdp/beside_packet", "xdp/in_struct": // which load ctx->data themselves
		return 2
	case "xdp/found_anew": // which calls md_desc() twice
		return 2
	case "xdp/mixed": // whose guard clang puts behind the rest
		return 2
	}
	return 1
}

// markerCounts counts the instructions of each kind, as clang may choose other registers
// and another order.
func markerCounts(t *testing.T, code []byte, layout *reloc.Layout) map[string]int {
	counts := make(map[string]int)
	for _, ins := range markerInstructions(t, code, layout) {
		if ins.OpCode.Class().IsJump() || ins.OpCode.IsDWordLoad() {
			ins.Offset, ins.Constant = 0, 0 // distances
		}
		counts[fmt.Sprint(ins.OpCode, ins.Offset, ins.Constant)]++
	}
	return counts
}

// markerFunctions returns the code of each function of an object, by section and name.
func markerFunctions(t *testing.T, object []byte) map[string][]byte {
	t.Helper()
	obj, err := elfobj.Parse(object)
	if err != nil {
		t.Fatal(err)
	}
	functions := make(map[string][]byte)
	for _, section := range obj.Sections {
		if section.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		for _, symbol := range obj.Functions(section) {
			functions[section.Name+"/"+symbol.Name] = section.Data[symbol.Value:][:symbol.Size]
		}
	}
	return functions
}

func markerInstructions(t *testing.T, code []byte, layout *reloc.Layout) (instructions asm.Instructions) {
	t.Helper()
	for at := uint64(0); at < uint64(len(code)); {
		ins, err := insn.ToAsm(code[at:], layout.ByteOrder())
		if err != nil {
			t.Fatal(err)
		}
		instructions = append(instructions, ins)
		at += uint64(ins.Size())
	}
	return instructions
}

func markerListing(t *testing.T, code []byte, layout *reloc.Layout) string {
	t.Helper()
	var b strings.Builder
	for _, ins := range markerInstructions(t, code, layout) {
		fmt.Fprintln(&b, insn.Spell(ins))
	}
	return b.String()
}

// For a driver, the guard of the metadata area leaves no trace.
func TestMarkerForDriver(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-14", "clang-16", "clang-19", "clang-22")
	with, _ := markerHeaders(t)
	for _, source := range []string{"../bpf/examples/balance.c", "../testdata/programs/fields.c", "../testdata/programs/subprog.c"} {
		for _, by := range markerCompilers {
			for _, endian := range []string{"el", "eb"} {
				t.Run(filepath.Base(source)+"-"+by.String()+"-"+endian, func(t *testing.T) {
					object, err := rewrite.FromDriver(markerCompile(t, by, endian, source, with), readLayout(t, "exact-"+endian))
					if err != nil {
						t.Fatal(err)
					}
					checkFromDriver(t, object)
				})
			}
		}
	}
}

func checkFromDriver(t *testing.T, object []byte) {
	t.Helper()
	accesses, err := reloc.Read(object)
	if err != nil {
		t.Fatal(err)
	}
	loads := 0
	for i := range accesses {
		access := &accesses[i]
		switch {
		case access.IsMarker() && access.Kind == reloc.ByteOffset:
			loads++
		case access.IsMarker() || access.Kind == reloc.TypeSize:
			t.Errorf("%s of %s is left in %s", access.Kind, access.Path, access.Program)
		}
	}
	if loads == 0 {
		t.Error("no load of the descriptor is left")
	}
	obj, err := elfobj.Parse(object)
	if err != nil {
		t.Fatal(err)
	}
	for name, code := range markerFunctions(t, object) {
		for at := 0; at < len(code); at += reloc.InstructionSize {
			ins := insn.Read(code[at:], obj.Order)
			if ins.Class() == insn.ClassLDX && ins.Width() == 4 && ins.Off == 8 && ins.Src == 1 {
				t.Errorf("%s loads ctx->data_meta", name)
			}
		}
	}
}

// markerSource is a program whose question no analysis of one function answers: it depends
// on what another one returns.
const markerSource = `
	#include <linux/bpf.h>
	#include "md_desc.h"
	static __attribute__((noinline)) int asked(void) { return bpf_core_type_exists(struct xdp_load_source); }
	SEC("xdp") int program(struct xdp_md *ctx)
	{
		struct md_desc *md = md_desc(ctx);

		if (asked())
			return *(__u32 *)((struct xdp_load_source *)(void *)ctx)->desc;
		return md ? md->hash : 0;
	}`

// A question that is not understood stays, with its answer. Neither it nor the load behind
// it is told of, or marked: the object is rewritten once.
func TestMarkerThatStays(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	source := filepath.Join(t.TempDir(), "program.c")
	if err := os.WriteFile(source, []byte(markerSource), 0o600); err != nil {
		t.Fatal(err)
	}
	object := markerCompile(t, pairCompiler{19, "v3"}, "el", source, "../bpf")
	layout := readLayout(t, "nested-el")
	out, report, err := rewrite.Rewrite(object, layout, rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"program type_size struct md_desc": true, "program byte_off md->hash": true}
	if got := markerAccesses(report); !maps.Equal(got, want) {
		t.Errorf("the report tells of %v", got)
	}
	if left, err := reloc.Read(out); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	code := markerListing(t, markerFunctions(t, out)[".text/asked"], layout)
	if !strings.Contains(code, "0 = 0\n") {
		t.Errorf("the answer is another:\n%s", code)
	}
	if code := markerListing(t, markerFunctions(t, out)["xdp/program"], layout); !strings.Contains(code, "call 0xbad2310") {
		t.Errorf("the load is not poisoned:\n%s", code)
	}
	again, report, err := rewrite.Rewrite(out, layout, rewrite.Options{})
	if err != nil || !bytes.Equal(again, out) || !report.Rewritten {
		t.Errorf("rewritten again it is another object, or refused: %v", err)
	}
}

// What md_desc() asks has the same answer whatever is chosen with the descriptor, and is
// left to the loader, who gives it, too, if the descriptor is. The name is nobody's to
// choose.
func TestMarkerIsChosenWithDescriptor(t *testing.T) {
	object, layout := readProgram(t, "fields-el"), readLayout(t, "exact-el")
	want, _, err := rewrite.Rewrite(object, layout, rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, glob := range []string{"md_*", "*"} {
		if got, _, err := rewrite.Rewrite(object, layout, rewrite.Options{Types: []string{glob}}); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: another object, or %v", glob, err)
		}
	}
	if _, _, err := rewrite.Rewrite(object, layout, rewrite.Options{Types: []string{reloc.Marker}}); !errors.Is(err, rewrite.ErrNoSuchRoot) {
		t.Errorf("the struct is a root type to choose: %v", err)
	}
	mixed := readProgram(t, "mixed-el")
	kernel := layoutOfC(t, "struct net_device { int before, ifindex; unsigned mtu; } device;")
	out, _, err := rewrite.Rewrite(mixed, kernel, rewrite.Options{Types: []string{"net_device"}})
	if err != nil {
		t.Fatal(err)
	}
	left, err := reloc.Read(out)
	if err != nil || !slices.ContainsFunc(left, func(access reloc.Access) bool { return access.IsMarker() }) {
		t.Errorf("the question is gone: %v", err)
	}
}

// A layout that has been compiled with md_desc.h defines the struct, too.
func TestMarkerInLayout(t *testing.T) {
	object := readProgram(t, "fields-el")
	plain := layoutOfC(t, "struct md_desc { __u32 mark, hash; } layout;")
	with := layoutOfC(t, "struct md_desc { __u32 mark, hash; } layout; struct xdp_load_source { void *desc; } source;")
	want, _, err := rewrite.Rewrite(object, plain, rewrite.Options{Functions: func(string) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := rewrite.Rewrite(object, with, rewrite.Options{Functions: func(string) bool { return false }})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("another object, or %v", err)
	}
}

func layoutOfC(t *testing.T, c string) *reloc.Layout {
	t.Helper()
	needTools(t, "gcc", "clang-19")
	return parseLayout(t, "layout-el", costCompile(t, "clang-19", "#include <linux/types.h>\n"+c, "el", "v3"))
}

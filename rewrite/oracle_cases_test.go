package rewrite_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// subject is an object and a layout that an oracle is asked about.
type subject struct {
	name         string
	object       []byte
	layoutObject []byte
	order        binary.ByteOrder
	ours         *ourOutcome
}

// ourOutcome is what Rewrite makes of a subject, once for all oracles.
type ourOutcome struct {
	sync.Once
	layout *reloc.Layout
	object []byte
	report *rewrite.Report
	err    error
}

func newSubject(t *testing.T, name string, object, layoutObject []byte) subject {
	t.Helper()
	return subject{name, object, layoutObject, parseELF(t, object).ByteOrder, new(ourOutcome)}
}

// knownSubjects has what subjects has returned, by byte order.
var knownSubjects = struct {
	sync.Mutex
	of map[string][]subject
}{of: make(map[string][]subject)}

// subjects returns every program of testdata with every layout of a byte order,
// and the shapes of access that these leave out.
func subjects(t *testing.T, endian string) []subject {
	t.Helper()
	needTools(t, "gcc", "clang-14", "clang-19")
	knownSubjects.Lock()
	defer knownSubjects.Unlock()
	if knownSubjects.of[endian] == nil {
		knownSubjects.of[endian] = newSubjects(t, endian)
	}
	return knownSubjects.of[endian]
}

func newSubjects(t *testing.T, endian string) []subject {
	t.Helper()
	var all []subject
	add := func(program, layout string) {
		all = append(all, newSubject(t, program+" for "+layout,
			readFile(t, testdata+"/"+program+".o"), readFile(t, testdata+"/"+layout+".o")))
	}
	for _, program := range named(t, "programs") {
		if source := kernelSource(program); source == "entries" || source == "own" {
			continue // libbpf loads no static programs, and takes own copies for what is in the layout
		}
		for _, layout := range named(t, "layouts") {
			if strings.HasSuffix(program, endian) && strings.HasSuffix(layout, endian) {
				add("programs/"+program, "layouts/"+layout)
			}
		}
	}
	add("invalid/refused-"+endian, "invalid/refused_layout-"+endian)

	partial := compileBPF(t, "clang-19", "partial_layout", endian, "v3")
	all = append(all, newSubject(t, "fields for partial_layout", readProgram(t, "fields-"+endian), partial))

	layout := compileBPF(t, "clang-19", "shapes_layout", endian, "v3")
	for _, name := range []string{"shapes", "impossible"} {
		for _, cpu := range []string{"v2", "v3", "v4"} {
			all = append(all, newSubject(t, name+"-"+cpu, compileBPF(t, "clang-19", name, endian, cpu), layout))
		}
	}
	all = append(all, newSubject(t, "types", compileBPF(t, "clang-19", "types", endian, "v3"), compileBPF(t, "clang-19", "types_layout", endian, "v3")))
	all = append(all, newSubject(t, "enum", compileBPF(t, "clang-14", "enum", endian, "v3"), layout))
	return all
}

func needTools(t *testing.T, tools ...string) {
	t.Helper()
	netlab.NeedTools(t, tools...)
}

// compileBPF compiles a source in testdata/oracle.
func compileBPF(t *testing.T, compiler, name, endian, cpu string) []byte {
	t.Helper()
	triple, err := exec.Command("gcc", "-print-multiarch").Output()
	if err != nil {
		t.Fatal(err)
	}
	object, source := filepath.Join(t.TempDir(), name+".o"), dependency(t, "testdata/oracle/"+name+".c")
	dependency(t, "testdata/oracle/types.h")
	out, err := exec.Command(compiler, "-O2", "-g", "-target", "bpf"+endian, "-mcpu="+cpu,
		"-Wall", "-Werror", "-isystem", "/usr/include/"+strings.TrimSpace(string(triple)), "-I../bpf",
		"-c", source, "-o", object).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return readFile(t, object)
}

// dependency returns the path of a file that other programs read: when it
// changes, go test has to run the test again.
func dependency(t *testing.T, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// verdict is what becomes of an access: instructions, or a refusal.
type verdict struct {
	insns   rewrite.Instructions
	others  []rewrite.Patch // to loads and stores that the access leads to
	note    string
	refusal string
}

func (v verdict) String() string {
	if v.insns == nil {
		return "refused: " + v.refusal
	}
	said := v.insns.String()
	for _, patch := range v.others {
		said += fmt.Sprintf(", and %s for %s", patch.After, patch.Before)
	}
	return said
}

// equal reports whether both come to the same, the instructions that either
// changes besides included.
func (v verdict) equal(other verdict) bool {
	mine, others := slices.Clone(v.insns), slices.Clone(other.insns)
	for _, patch := range v.others {
		mine, others = append(mine, patch.After...), append(others, patch.Before...)
	}
	for _, patch := range other.others {
		mine, others = append(mine, patch.Before...), append(others, patch.After...)
	}
	return (v.insns == nil) == (other.insns == nil) && slices.Equal(plain(mine), plain(others))
}

// comparison is an access and what two make of it.
type comparison struct {
	access       reloc.Access
	resolution   reloc.Resolution
	unresolved   error // set if there is no resolution
	before       asm.Instruction
	order        binary.ByteOrder
	ours, theirs verdict
}

// compareVerdicts returns the accesses that we have a verdict on.
func compareVerdicts(t *testing.T, s subject, ours, theirs map[int]verdict) []comparison {
	t.Helper()
	accesses, err := reloc.Read(s.object)
	if err != nil {
		t.Fatal(err)
	}
	layout := parseLayout(t, "layout-el", s.layoutObject)
	var both []comparison
	code := make(map[string][]byte) // by section
	for _, access := range accesses {
		our, ok := ours[access.Record]
		if !ok {
			continue // another access is why the object is refused
		}
		their, ok := theirs[access.Record]
		if !ok {
			t.Fatalf("%s: no verdict on %s of %s (%s)", s.name, access.Kind, access.Path, access.Source)
		}
		c := comparison{access: access, order: s.order, ours: our, theirs: their}
		c.resolution, c.unresolved = access.Resolve(layout)
		if code[access.Section] == nil {
			code[access.Section] = sectionData(t, s.object, access.Section)
		}
		c.before = decodeAll(t, code[access.Section][access.Insn*reloc.InstructionSize:], s.order, 1)[0]
		both = append(both, c)
	}
	return both
}

// ourVerdicts returns what Rewrite does with each access by its record, and the
// rewritten object unless it is refused.
func ourVerdicts(t *testing.T, s subject) (map[int]verdict, *rewrite.Report, []byte) {
	t.Helper()
	s.ours.Do(func() {
		s.ours.layout = parseLayout(t, "layout-el", s.layoutObject)
		s.ours.object, s.ours.report, s.ours.err = rewrite.Rewrite(s.object, s.ours.layout, rewrite.Options{Types: []string{"*"}})
	})
	report, err := s.ours.report, s.ours.err
	verdicts := make(map[int]verdict)
	var refused *rewrite.RefusedError
	switch {
	case err == nil:
		addEdits(verdicts, report.Edits)
	case errors.As(err, &refused):
		addEdits(verdicts, refused.Edits)
		for _, r := range refused.Refusals {
			verdicts[r.Access.Record] = verdict{refusal: r.Reason}
		}
	default:
		addErrors(t, verdicts, s, s.ours.layout, err)
	}
	return verdicts, report, s.ours.object
}

func addEdits(verdicts map[int]verdict, edits []rewrite.Edit) {
	for _, edit := range edits {
		verdicts[edit.Access.Record] = verdict{insns: edit.After, others: edit.Others, note: edit.Note}
	}
}

// addErrors finds out which accesses an error is about that refuses all.
func addErrors(t *testing.T, verdicts map[int]verdict, s subject, layout *reloc.Layout, refusal error) {
	t.Helper()
	accesses, err := reloc.Read(s.object)
	if err != nil {
		t.Fatal(err)
	}
	for _, access := range accesses {
		if access.Kind == reloc.LocalTypeID {
			continue // not for Rewrite to answer
		}
		if errors.Is(refusal, rewrite.ErrNoDescriptor) {
			verdicts[access.Record] = verdict{refusal: refusal.Error()}
		} else if _, err := access.Resolve(layout); err != nil {
			verdicts[access.Record] = verdict{refusal: err.Error()}
		}
	}
}

// decodeAll reads instructions, at most n of them unless n is negative.
func decodeAll(t *testing.T, code []byte, order binary.ByteOrder, n int) asm.Instructions {
	t.Helper()
	var insns asm.Instructions
	for len(code) > 0 && len(insns) != n {
		var ins asm.Instruction
		if err := ins.Unmarshal(strings.NewReader(string(code)), order, "linux"); err != nil {
			t.Fatal(err)
		}
		insns = append(insns, ins)
		code = code[ins.Size():]
	}
	return insns
}

// String says where the access is and what it is about, with both verdicts.
func (c *comparison) String() string {
	return fmt.Sprintf("%s of %s (%s): %s\n in the program: %s\n in the layout:  %s\n ours:   %s\n theirs: %s",
		c.access.Kind, c.access.Path, c.access.Source, instructions(c.before),
		c.access.Local.String(), c.resolution.String(), c.ours, c.theirs)
}

package rewrite_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/performance"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// benchFields are fields of a program and what the layouts have in their place:
// the same somewhere else, and what takes a sequence.
var benchFields = []struct{ local, moved, converted costField }{
	{costField{typ: "__u32", size: 4}, costField{typ: "__u32", size: 4}, costField{typ: "__be32", size: 4, order: "be"}},
	{costField{typ: "__u64", size: 8}, costField{typ: "__u64", size: 8}, costField{typ: "__s16", size: 2, signed: true}},
	{costField{typ: "__s32", size: 4, signed: true}, costField{typ: "__s32", size: 4, signed: true}, costField{typ: "__u32", size: 4, bit: 6, bits: 20}},
	{costField{typ: "__be16", size: 2, order: "be"}, costField{typ: "__be16", size: 2, order: "be"}, costField{typ: "__u32", size: 4, bit: 5, bits: 9}},
}

// benchObject is a program with so many accesses, and layouts for it.
type benchObject struct {
	object           []byte
	moved, converted *reloc.Layout
	nic              []byte // the object that converted is of
}

// perProgram is how many accesses one program has: a bit more than any real one.
const perProgram = 50

func newBenchObject(b testing.TB, accesses int) benchObject {
	b.Helper()
	return newBenchPrograms(b, accesses, perProgram)
}

// newBenchPrograms is newBenchObject with so many accesses in each program.
func newBenchPrograms(b testing.TB, accesses, perProgram int) benchObject {
	b.Helper()
	var program, moved, converted strings.Builder
	for _, c := range []*strings.Builder{&program, &moved, &converted} {
		c.WriteString("#include \"cost.h\"\n")
	}
	for i, f := range benchFields {
		fmt.Fprintf(&program, "struct md_%d { %s } __attribute__((preserve_access_index));\n", i, f.local.declare())
		fmt.Fprintf(&moved, "struct md_%d { __u64 before; %s } layout_%d;\n", i, f.moved.declare(), i)
		fmt.Fprintf(&converted, "struct md_%d { __u64 before; %s } layout_%d;\n", i, f.converted.declare(), i)
	}
	for first := 0; first < accesses; first += perProgram {
		fmt.Fprintf(&program, "PROGRAM(access_%d, void,", first)
		for i := first; i < min(first+perProgram, accesses); i++ {
			field := i % len(benchFields)
			f := benchFields[field].local
			format := "%[2]s = ((struct md_%[1]d *)md)->f;"
			if i/len(benchFields)%3 == 0 {
				format = "((struct md_%[1]d *)md)->f = %[3]s;"
			}
			fmt.Fprintf(&program, format+" asm volatile(\"\" ::: \"memory\");\n", field, f.variable("out"), f.variable("in"))
		}
		fmt.Fprintf(&program, ")\n")
	}
	compile := func(source string) []byte { return costCompile(b, "clang-19", source, "el", "v3") }
	nic := compile(converted.String())
	return benchObject{compile(program.String()), parseLayout(b, "layout-el", compile(moved.String())), parseLayout(b, "layout-el", nic), nic}
}

// BenchmarkRewrite rewrites objects of several sizes. The time of an access must not
// depend on how many others there are. In a "moved" layout each field is at
// another offset, in a "converted" one each takes a sequence.
func BenchmarkRewrite(b *testing.B) {
	for _, accesses := range []int{1_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(accesses), func(b *testing.B) {
			o := newBenchObject(b, accesses)
			b.Run("moved", func(b *testing.B) { o.rewrite(b, o.moved, accesses) })
			b.Run("converted", func(b *testing.B) { o.rewrite(b, o.converted, accesses) })
		})
	}
}

func (o *benchObject) rewrite(b *testing.B, layout *reloc.Layout, accesses int) {
	b.ReportAllocs()
	b.SetBytes(int64(len(o.object)))
	edits := 0
	for b.Loop() {
		_, report, err := rewrite.Rewrite(o.object, layout, rewrite.Options{Types: []string{"md_*"}})
		if err != nil {
			b.Fatal(err)
		}
		edits += len(report.Edits)
	}
	if edits != b.N*accesses {
		b.Fatalf("%d edits of %d accesses", edits/b.N, accesses)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(edits), "ns/access")
}

// grown are the sizes that BenchmarkGrowth compares, each with the one before.
var grown = []int{100, 1_000, 100_000}

// BenchmarkGrowth says how the time for an access, and for a layout, grows with their
// number: not at all, if it is linear.
func BenchmarkGrowth(b *testing.B) {
	var rows []performance.Row
	var before performance.Median
	for i, accesses := range grown {
		o := newBenchObject(b, accesses)
		each := rounds(b, accesses, func() error {
			_, _, err := rewrite.Rewrite(o.object, o.converted, rewrite.Options{Types: []string{"md_*"}})
			return err
		})
		if i > 0 {
			rows = append(rows, performance.NewRow(fmt.Sprintf("growth/accesses/%d", accesses), each, before, "ns/access", leastGrowth))
		}
		before = each
		if accesses == 100_000 {
			rows = append(rows, o.memory(b))
		}
	}
	o := newBenchObject(b, 100)
	layout := sectionData(b, costCompile(b, "clang-19", "#include \"cost.h\"\nstruct md_0 { __u64 before; __u32 f; } layout_0;\n", "el", "v3"), ".BTF")
	forLayouts := func(layouts int) performance.Median {
		return rounds(b, layouts, func() error {
			for range layouts {
				parsed, err := reloc.NewLayout("layout", layout, nil)
				if err != nil {
					return err
				}
				if _, _, err := rewrite.Rewrite(o.object, parsed, rewrite.Options{Types: []string{"md_0"}}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	rows = append(rows, performance.NewRow("growth/layouts/1000", forLayouts(1000), forLayouts(10), "ns/layout", leastGrowth))
	rows = append(rows, programGrowth(b), typeGrowth(b))
	for _, row := range rows {
		fmt.Printf("%s: %.0f %s, before %.0f: %.2f\n", row.Name, row.Of, row.Unit, row.Against, row.Ratio)
	}
	writeRows(b, rows)
	for b.Loop() { // it was measured above
	}
}

// mostMemory is what the command is meant to take, in MiB, for an object of 100,000 accesses.
const mostMemory = 130

// memory compares what the command takes for an object of 100,000 accesses with that.
func (o *benchObject) memory(b *testing.B) performance.Row {
	dir := b.TempDir()
	files := map[string][]byte{"prog.o": o.object, "nic.o": o.nic}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	command := filepath.Join(dir, "xdp-load")
	if output, err := exec.Command("go", "build", "-o", command, "../cmd/xdp-load").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, output)
	}
	var most []float64
	for range 5 {
		cmd := exec.Command(command, "rewrite", "--type", "md_*", "--layout", "nic.o", "prog.o", "-o", "new.o")
		cmd.Dir = dir
		most = append(most, mostResident(b, cmd))
	}
	row := performance.NewRow("growth/memory/100000", performance.MedianOf(most), performance.Median{Median: mostMemory}, "MiB", 1)
	if !row.Holds {
		row.Reason = "when all is planned, half of what is in use is the report, which whoever asks gets, a quarter what is known of the functions, and a tenth the object and its copy"
	}
	return row
}

// mostResident runs a command, and returns how much memory it had at most, in MiB. What wait4(2)
// says is no less than this process has: Go starts others in its memory.
func mostResident(b *testing.B, cmd *exec.Cmd) (most float64) {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				b.Fatal(err)
			}
			return most
		case <-time.After(time.Millisecond):
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) // it may have ended
		if _, line, found := bytes.Cut(status, []byte("VmHWM:")); found && isExecuted(status) {
			var kib float64
			fmt.Sscan(string(line), &kib)
			most = max(most, kib/1024)
		}
	}
}

// isExecuted reports whether a process is what was started, and not this one's copy any more.
func isExecuted(status []byte) bool { return bytes.HasPrefix(status, []byte("Name:\txdp-load\n")) }

// programGrowth is about the time for a program with four accesses.
func programGrowth(b *testing.B) performance.Row {
	each := func(programs int) performance.Median {
		o := newBenchPrograms(b, programs*len(benchFields), len(benchFields))
		return rounds(b, programs, func() error {
			_, _, err := rewrite.Rewrite(o.object, o.converted, rewrite.Options{Types: []string{"md_*"}})
			return err
		})
	}
	return performance.NewRow("growth/programs/500", each(500), each(10), "ns/program", leastGrowth)
}

// typeGrowth is about the time for a type of a layout: of the running kernel, and of one with
// a thousand structs.
func typeGrowth(b *testing.B) performance.Row {
	const device = "struct net_device { %sint ifindex; unsigned int mtu; } %s;\n"
	program := costCompile(b, "clang-19", "#include \"cost.h\"\n"+fmt.Sprintf(device, "", "__attribute__((preserve_access_index))")+
		"PROGRAM(device, void, out_unsigned = ((struct net_device *)md)->ifindex + ((struct net_device *)md)->mtu;)\n", "el", "v3")
	var structs strings.Builder
	fmt.Fprintf(&structs, device, "long before; ", "layout")
	for i := range 1000 {
		fmt.Fprintf(&structs, "struct other_%[1]d { long a; struct other_%[1]d *b; } layout_%[1]d;\n", i)
	}
	few := sectionData(b, costCompile(b, "clang-19", structs.String(), "el", "v3"), ".BTF")
	all := readFile(b, "/sys/kernel/btf/vmlinux")
	each := func(layout []byte) performance.Median {
		return rounds(b, typesIn(b, layout), func() error {
			parsed, err := reloc.NewLayout("layout", layout, nil)
			if err != nil {
				return err
			}
			_, _, err = rewrite.Rewrite(program, parsed, rewrite.Options{Types: []string{"net_device"}})
			return err
		})
	}
	return performance.NewRow("growth/types/vmlinux", each(all), each(few), "ns/type", leastGrowth)
}

// typesIn returns how many types there are in BTF.
func typesIn(b *testing.B, raw []byte) (types int) {
	b.Helper()
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		b.Fatal(err)
	}
	for _, err := range spec.All() {
		if err != nil {
			b.Fatal(err)
		}
		types++
	}
	return types
}

// leastGrowth is how much of its speed growth may leave: the caches are what it takes away.
const leastGrowth = 0.7

// rounds runs fn several times, and returns the nanoseconds for one of so many that it does
// at a time.
func rounds(b *testing.B, many int, fn func() error) performance.Median {
	b.Helper()
	times := make([]float64, max(1, min(5, 300_000/many)))
	for round := range times {
		runtime.GC()
		again := max(1, 1000/many)
		start := time.Now()
		for range again {
			if err := fn(); err != nil {
				b.Fatal(err)
			}
		}
		times[round] = float64(time.Since(start).Nanoseconds()) / float64(again*many)
	}
	return performance.MedianOf(times)
}

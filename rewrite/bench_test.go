package rewrite_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

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
}

// perProgram is how many accesses one program has: a bit more than any real one.
const perProgram = 50

func newBenchObject(b testing.TB, accesses int) benchObject {
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
	layout := func(source string) *reloc.Layout {
		return parseLayout(b, "layout-el", costCompile(b, "clang-19", source, "el", "v3"))
	}
	return benchObject{costCompile(b, "clang-19", program.String(), "el", "v3"), layout(moved.String()), layout(converted.String())}
}

// BenchmarkRewrite rewrites objects of two sizes. The time of an access must not
// depend on how many others there are. In a "moved" layout each field is at
// another offset, in a "converted" one each takes a sequence.
func BenchmarkRewrite(b *testing.B) {
	for _, accesses := range []int{1_000, 10_000} {
		o := newBenchObject(b, accesses)
		for _, bench := range []struct {
			name   string
			layout *reloc.Layout
		}{{"moved", o.moved}, {"converted", o.converted}} {
			b.Run(fmt.Sprintf("%s/%d", bench.name, accesses), func(b *testing.B) { o.rewrite(b, bench.layout, accesses) })
		}
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

// What rewriting an object with 10,000 accesses allocates in all is bounded.
func TestRewriteMemory(t *testing.T) {
	needTools(t, "gcc", "clang-19")
	const accesses, bound = 10_000, 64 << 20
	o := newBenchObject(t, accesses)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, report, err := rewrite.Rewrite(o.object, o.converted, rewrite.Options{Types: []string{"md_*"}})
	runtime.ReadMemStats(&after)
	if err != nil || len(report.Edits) != accesses {
		t.Fatal(err)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > bound {
		t.Errorf("%d bytes for %d accesses, more than %d", allocated, accesses, bound)
	}
}

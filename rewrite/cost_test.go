package rewrite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"

	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/reloc"
	"github.com/xdp-load/xdp-load/rewrite"
)

// costField is how a program or a layout declares a field.
type costField struct {
	typ    string // as C spells it
	size   int    // of the type in bytes
	signed bool
	order  string // "be" or "le", empty for the machine's own
	bit    int    // where a bit-field starts
	bits   int    // its width, 0 for a plain field
}

// costFields are the fields that each is accessed as each other: every integer,
// bool, and bit-fields that lie in one byte and in several, fill bytes and don't,
// and need each width of load.
var costFields = []costField{
	{typ: "__u8", size: 1},
	{typ: "__u16", size: 2},
	{typ: "__u32", size: 4},
	{typ: "__u64", size: 8},
	{typ: "__s8", size: 1, signed: true},
	{typ: "__s16", size: 2, signed: true},
	{typ: "__s32", size: 4, signed: true},
	{typ: "__s64", size: 8, signed: true},
	{typ: "__be16", size: 2, order: "be"},
	{typ: "__be32", size: 4, order: "be"},
	{typ: "__be64", size: 8, order: "be"},
	{typ: "__le32", size: 4, order: "le"},
	{typ: "bool", size: 1},
	{typ: "__u32", size: 4, bit: 0, bits: 1},
	{typ: "__u32", size: 4, bit: 5, bits: 3},
	{typ: "__u32", size: 4, bit: 6, bits: 20},
	{typ: "__u64", size: 8, bit: 5, bits: 33},
	{typ: "__s32", size: 4, bit: 2, bits: 5, signed: true},
	{typ: "__s32", size: 4, bit: 16, bits: 16, signed: true},
}

// String names the field as the tables do: "__u32", "__s32:5 at bit 2".
func (f costField) String() string {
	if f.bits == 0 {
		return f.typ
	}
	return fmt.Sprintf("%s:%d at bit %d", f.typ, f.bits, f.bit)
}

// declare declares the field f of a struct.
func (f costField) declare() string {
	if f.bits == 0 {
		return f.typ + " f;"
	}
	lead := ""
	if f.bit > 0 {
		lead = fmt.Sprintf("%s lead : %d; ", f.typ, f.bit)
	}
	return fmt.Sprintf("%s%s f : %d;", lead, f.typ, f.bits)
}

// width is how many bits of a number the field holds.
func (f costField) width() int {
	if f.bits > 0 {
		return f.bits
	}
	return f.size * 8
}

// costMachine is the byte order that an object's suffix means.
var costMachine = map[string]string{"el": "le", "eb": "be"}

// inOrder converts a number of the machine to the field's byte order or back.
func (f costField) inOrder(value, endian string) string {
	if f.order == "" || f.order == costMachine[endian] {
		return value
	}
	return fmt.Sprintf("__builtin_bswap%d(%s)", f.size*8, value)
}

// variable returns one of the global variables, by the sign of the number.
func (f costField) variable(direction string) string {
	if f.signed {
		return direction + "_signed"
	}
	return direction + "_unsigned"
}

// costShape is a field of a program and what the layout has in its place.
type costShape struct{ local, target costField }

func (s costShape) String() string { return fmt.Sprintf("%s for %s", s.local, s.target) }

// costUse is what a program does to the field.
type costUse string

const (
	costLoad  costUse = "load"
	costStore costUse = "store"
	costSmall costUse = "constant" // store a small one
	costLarge costUse = "large"    // store one with as many bits as the field
)

var costUses = []costUse{costLoad, costStore, costSmall, costLarge}

// costConstant is cut to what the field holds.
const costConstant = 0x1234567890abcdef

// value is what is stored.
func (u costUse) value(local costField, endian string) string {
	switch u {
	case costSmall:
		return local.inOrder("5", endian)
	case costLarge:
		if local.typ == "bool" {
			return "0"
		}
		if local.bits > 0 {
			return fmt.Sprint(costConstant & (1<<(local.width()-1) - 1))
		}
		return fmt.Sprintf("(%s)%#xULL", local.typ, uint64(costConstant))
	}
	return local.variable("in")
}

// costProgramName names a program by the number of its field or shape.
func costProgramName(use costUse, number int) string { return fmt.Sprintf("%s_%d", use, number) }

// costRecorded is the source as xdp-load takes it: a struct for each field, which is
// rewritten for each layout.
func costRecorded(endian string) string {
	return costSource(func(c *strings.Builder, i int, local costField) {
		fmt.Fprintf(c, "struct md_%d { __u64 before; %s } __attribute__((preserve_access_index));\n", i, local.declare())
		for _, use := range costUses {
			body := fmt.Sprintf("md->f = %s;", use.value(local, endian))
			if use == costLoad {
				body = fmt.Sprintf("%s = md->f;", local.variable("out"))
			}
			fmt.Fprintf(c, "PROGRAM(%s, struct md_%d, %s)\n", costProgramName(use, i), i, body)
		}
	})
}

// costFixed is the source for one layout alone, which has a target in the place of
// every field: what a programmer writes who has the target's header, and wants the
// number as the type that the program has. It defines the layout, too.
func costFixed(target costField, endian string) string {
	return costSource(func(c *strings.Builder, i int, local costField) {
		s := costShape{local, target}
		fmt.Fprintf(c, "struct md_%d { __u32 before; __u32 more[3]; %s } layout_%d;\n", i, target.declare(), i)
		fmt.Fprintf(c, "struct local_%d { %s };\n", i, local.declare())
		for _, use := range costUses {
			local := fmt.Sprintf("struct local_%d local = {}; local.f = ", i)
			body := local + use.value(s.local, endian) + "; md->f = " + s.convert(s.local, s.target, "local.f", endian) + ";"
			if use == costLoad {
				body = local + s.convert(s.target, s.local, "md->f", endian) + "; " + s.local.variable("out") + " = local.f;"
			}
			fmt.Fprintf(c, "PROGRAM(%s, struct md_%d, %s)\n", costProgramName(use, i), i, body)
		}
	})
}

// convert spells the conversion of a value from one field's type to another's.
func (s costShape) convert(from, to costField, value, endian string) string {
	if from.order == to.order && from.size == to.size {
		return value
	}
	return to.inOrder(from.inOrder(value, endian), endian)
}

// costSource writes programs for each field that a program may have.
func costSource(write func(c *strings.Builder, i int, local costField)) string {
	var c strings.Builder
	c.WriteString("#include \"cost.h\"\n")
	for i, local := range costFields {
		write(&c, i, local)
	}
	return c.String()
}

// costShapes are all pairs of fields.
func costShapes() []costShape {
	var shapes []costShape
	for _, local := range costFields {
		for _, target := range costFields {
			shapes = append(shapes, costShape{local, target})
		}
	}
	return shapes
}

// costCompilation is what costCompile compiles.
type costCompilation struct{ compiler, source, endian, cpu string }

// costCompiled has what was compiled, by costCompilation, as functions that return it:
// many tests have the same layouts.
var costCompiled sync.Map

// costCompile compiles a source, without anything of the machine in the object.
func costCompile(t testing.TB, compiler, source, endian, cpu string) []byte {
	t.Helper()
	object, err := costTryCompile(t, compiler, source, endian, cpu)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// errUnrecorded is why clang compiles nothing: there is a bit-field that it can't record
// the access to.
var errUnrecorded = errors.New("clang can't record an access to a bit-field")

// costTryCompile is costCompile for what may be more than clang can record.
func costTryCompile(t testing.TB, compiler, source, endian, cpu string) ([]byte, error) {
	t.Helper()
	from := costCompilation{compiler, source, endian, cpu}
	once, _ := costCompiled.LoadOrStore(from, sync.OnceValues(func() ([]byte, error) { return from.compile(t.TempDir()) }))
	object, err := once.(func() ([]byte, error))()
	return bytes.Clone(object), err
}

// compile runs the compiler. dir is for its files.
func (from costCompilation) compile(dir string) ([]byte, error) {
	path, object := filepath.Join(dir, "cost.c"), filepath.Join(dir, "cost.o")
	if err := os.WriteFile(path, []byte(from.source), 0o600); err != nil {
		return nil, err
	}
	args := []string{"-O2", "-g", "-target", "bpf" + from.endian, "-mcpu=" + from.cpu, "-w", "-fno-crash-diagnostics", "-Itestdata/cost", "-I../testdata/programs", "-I."}
	for _, asm := range debianHeaders {
		args = append(args, "-isystem", filepath.Dir(asm))
	}
	out, err := exec.Command(from.compiler, append(args, "-c", path, "-o", object)...).CombinedOutput()
	if bytes.Contains(out, []byte("Unsupported field expression")) {
		return nil, errUnrecorded
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %.2000s\n%.2000s", err, out, from.source)
	}
	return os.ReadFile(object)
}

// costFunctions returns the code of each function of an object.
func costFunctions(t *testing.T, object []byte) map[string][]byte {
	t.Helper()
	obj, err := elfobj.Parse(object)
	if err != nil {
		t.Fatal(err)
	}
	section := obj.Section("xdp")
	functions := make(map[string][]byte)
	for _, symbol := range obj.Functions(section) {
		functions[symbol.Name] = section.Data[symbol.Value:][:symbol.Size]
	}
	return functions
}

// costObject is all programs for one machine: as clang compiles them with
// records, as they are rewritten, and as clang compiles them for the layouts.
type costObject struct {
	endian                string
	shapes                []costShape
	compiled, ours, clang map[string][]byte
	edits                 map[string][]rewrite.Edit // by program
}

func newCostObject(t *testing.T, compiler, endian, cpu string) *costObject {
	t.Helper()
	o := &costObject{
		endian: endian, shapes: costShapes(), edits: make(map[string][]rewrite.Edit),
		compiled: make(map[string][]byte), ours: make(map[string][]byte), clang: make(map[string][]byte),
	}
	recorded := costCompile(t, compiler, costRecorded(endian), endian, cpu)
	for _, target := range costFields {
		fixed := costCompile(t, compiler, costFixed(target, endian), endian, cpu)
		out, report, err := rewrite.Rewrite(recorded, parseLayout(t, "cost-"+endian, fixed), rewrite.Options{Types: []string{"md_*"}})
		if err != nil {
			t.Fatal(err)
		}
		o.add(target, report.Edits, costFunctions(t, recorded), costFunctions(t, out), costFunctions(t, fixed))
	}
	return o
}

// add adds what became of the programs for a layout.
func (o *costObject) add(target costField, edits []rewrite.Edit, compiled, ours, clang map[string][]byte) {
	for i, local := range costFields {
		shape := slices.Index(o.shapes, costShape{local, target})
		for _, use := range costUses {
			program, name := costProgramName(use, shape), costProgramName(use, i)
			o.compiled[program], o.ours[program], o.clang[program] = compiled[name], ours[name], clang[name]
			for _, edit := range edits {
				if edit.Access.Program == name {
					o.edits[program] = append(o.edits[program], edit)
				}
			}
		}
	}
}

// more returns by how many instructions a rewritten program is longer than what
// clang makes for the layout. LDDW counts as two, as the kernel counts it.
func (o *costObject) more(program string) int {
	return (len(o.ours[program]) - len(o.clang[program])) / reloc.InstructionSize
}

// compare shows a program in all three forms.
func (o *costObject) compare(t *testing.T, program string) string {
	return fmt.Sprintf("\tcompiled:\n%s\trewritten:\n%s\tclang, for the layout alone:\n%s",
		o.listing(t, o.compiled[program]), o.listing(t, o.ours[program]), o.listing(t, o.clang[program]))
}

func (o *costObject) listing(t *testing.T, code []byte) string {
	t.Helper()
	var order binary.ByteOrder = binary.LittleEndian
	if o.endian == "eb" {
		order = binary.BigEndian
	}
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(code), order, "linux")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, ins := range insns {
		fmt.Fprintf(&b, "\t\t%s\n", instructions(ins))
	}
	return b.String()
}

// costException is a group of shapes that may take more instructions than clang
// needs for the layout alone, and how many at most.
type costException struct {
	reason  string
	most    int
	applies func(use costUse, s costShape) bool
}

// costExceptions are all of them. In each, the program has instructions of its own
// that clang would not have made for the layout.
var costExceptions = []costException{
	{"a bit-field that fills bytes is stored, and the layout has the same: clang adds its offset to the address in the program, and no sequence takes its place", 2,
		func(use costUse, s costShape) bool {
			return use != costLoad && s.local == s.target && s.local.bits > 0 && s.local.bits%8 == 0 && s.local.bit%8 == 0
		}},
}

// costTally counts the shapes of one machine.
type costTally struct {
	fewer, same, more map[costUse]int
	shapes, most      []int // by exception: how many, and the most instructions
}

// TestCost checks that a rewritten program has no more instructions than the
// same source has that is compiled for the layout's own header. Run it with -v
// to see how many have fewer, and what the exceptions are.
func TestCost(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19", "clang-22")
	used := make([]atomic.Bool, len(costExceptions))
	t.Run("machines", func(t *testing.T) {
		for _, machine := range []struct{ compiler, endian, cpu string }{
			{"clang-19", "el", "v3"}, {"clang-19", "el", "v4"}, {"clang-19", "eb", "v3"},
			{"clang-22", "el", "v3"}, {"clang-22", "el", "v4"}, {"clang-22", "eb", "v3"},
		} {
			t.Run(machine.compiler+"-"+machine.endian+"-"+machine.cpu, func(t *testing.T) {
				t.Parallel()
				for i, most := range newCostObject(t, machine.compiler, machine.endian, machine.cpu).check(t).most {
					if most == costExceptions[i].most {
						used[i].Store(true)
					}
				}
			})
		}
	})
	for i := range used {
		if e := costExceptions[i]; !used[i].Load() {
			t.Errorf("no shape takes %d more: %s", e.most, e.reason)
		}
	}
}

func (o *costObject) check(t *testing.T) *costTally {
	t.Helper()
	tally := &costTally{
		fewer: make(map[costUse]int), same: make(map[costUse]int), more: make(map[costUse]int),
		shapes: make([]int, len(costExceptions)), most: make([]int, len(costExceptions)),
	}
	for i, shape := range o.shapes {
		for _, use := range costUses {
			program := costProgramName(use, i)
			if !tally.add(use, shape, o.more(program)) {
				t.Errorf("%s, %s: %d instructions more than for the layout alone\n%s", use, shape, o.more(program), o.compare(t, program))
			}
		}
	}
	t.Logf("Shapes with fewer instructions than for the layout alone, as many, and more:\n%s", tally)
	return tally
}

// add returns false for a shape that is too expensive.
func (c *costTally) add(use costUse, shape costShape, more int) bool {
	switch {
	case more < 0:
		c.fewer[use]++
	case more == 0:
		c.same[use]++
	default:
		c.more[use]++
		e := slices.IndexFunc(costExceptions, func(e costException) bool { return more <= e.most && e.applies(use, shape) })
		if e < 0 {
			return false
		}
		c.shapes[e]++
		c.most[e] = max(c.most[e], more)
	}
	return true
}

func (c *costTally) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tfewer\tsame\tmore\t")
	for _, use := range costUses {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t\n", use, c.fewer[use], c.same[use], c.more[use])
	}
	w.Flush()
	for i, e := range costExceptions {
		fmt.Fprintf(&b, "%d shapes, up to %d more: %s\n", c.shapes[i], c.most[i], e.reason)
	}
	return b.String()
}

const accessShapes = "../docs/access-shapes.md"

// shapeTables are the tables of docs/access-shapes.md: the fields of the program
// and what the layout has, as costField.String spells them.
var shapeTables = map[string][][2]string{
	"byte order": {
		{"__u32", "__be32"}, {"__be32", "__u32"}, {"__u16", "__be16"}, {"__u64", "__be64"}, {"__be32", "__le32"},
		{"__be16", "__be32"}, {"__be32", "__be16"}, {"__u16", "__be32"}, {"__u64", "__be16"}, {"__u8", "__be16"}, {"__s64", "__be64"}, {"__s32", "__be32"},
	},
	"width and sign": {
		{"__u32", "__u16"}, {"__u16", "__u32"}, {"__u64", "__u32"}, {"__u32", "__s32"}, {"__s32", "__u32"},
		{"__u32", "__s16"}, {"__u64", "__s32"}, {"__u16", "__s8"}, {"__s64", "__s32"}, {"__s32", "__s16"}, {"__s32", "__u16"}, {"__s16", "__s64"},
	},
	"bool": {
		{"bool", "__u32"}, {"__u32", "bool"}, {"bool", "__be16"}, {"bool", "__u32:3 at bit 5"}, {"bool", "__u32:1 at bit 0"},
	},
	"plain onto bits": {
		{"__u32", "__u32:1 at bit 0"}, {"__u32", "__u32:3 at bit 5"}, {"__u32", "__u32:20 at bit 6"}, {"__u64", "__u64:33 at bit 5"},
		{"__u16", "__u32:20 at bit 6"}, {"__u32", "__s32:5 at bit 2"}, {"__s32", "__s32:5 at bit 2"}, {"__s64", "__s32:16 at bit 16"}, {"__be16", "__u32:3 at bit 5"}, {"__be32", "__u32:20 at bit 6"},
	},
	"bits": {
		{"__u32:3 at bit 5", "__u8"}, {"__u32:20 at bit 6", "__u64"}, {"__s32:5 at bit 2", "__s8"}, {"__u32:20 at bit 6", "__be32"},
		{"__u32:3 at bit 5", "__u32:20 at bit 6"}, {"__u32:20 at bit 6", "__u32:3 at bit 5"}, {"__s32:5 at bit 2", "__u32:3 at bit 5"},
	},
}

var shapeTable = regexp.MustCompile(`(?s)<!-- table: ([a-z ]+) -->\n.*?<!-- end of table -->\n`)

// The tables in docs/access-shapes.md are what real programs are rewritten to.
// -update makes them anew.
func TestAccessShapes(t *testing.T) {
	t.Parallel()
	needTools(t, "gcc", "clang-19")
	object := newCostObject(t, "clang-19", "el", "v3")
	doc := string(readFile(t, accessShapes))
	seen := 0
	made := shapeTable.ReplaceAllStringFunc(doc, func(table string) string {
		name := shapeTable.FindStringSubmatch(table)[1]
		seen++
		lines := ""
		if name == "expressions" {
			lines = bitTable(t)
		} else {
			lines = object.table(t, shapeTables[name])
		}
		return fmt.Sprintf("<!-- table: %s -->\n%s<!-- end of table -->\n", name, lines)
	})
	if seen != len(shapeTables)+1 {
		t.Errorf("%d tables in %s instead of %d", seen, accessShapes, len(shapeTables)+1)
	}
	if *update {
		if err := os.WriteFile(accessShapes, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(doc, made); diff != "" {
		t.Errorf("%s is not up to date, -update writes it anew:\n%s", accessShapes, diff)
	}
}

// table has a line for each shape: what a read and a write of the field become.
func (o *costObject) table(t *testing.T, shapes [][2]string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| program | layout | read | written |\n|---|---|---|---|\n")
	for _, names := range shapes {
		i := slices.IndexFunc(o.shapes, func(s costShape) bool { return s.local.String() == names[0] && s.target.String() == names[1] })
		if i < 0 {
			t.Fatalf("no shape %s", names)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", names[0], names[1],
			spellEdits(o.edits[costProgramName(costLoad, i)]), spellEdits(o.edits[costProgramName(costStore, i)]))
	}
	return b.String()
}

// spellEdits spells what the accesses of a program become.
func spellEdits(edits []rewrite.Edit) string {
	var spelled []string
	for _, edit := range edits {
		cell := fmt.Sprintf("`%s`", edit.After)
		var removed rewrite.Instructions
		for _, other := range edit.Others {
			if len(other.After) > 0 {
				cell += fmt.Sprintf(", with `%s` for `%s`", other.After, other.Before)
				continue
			}
			removed = append(removed, other.Before...)
		}
		if len(removed) > 0 {
			cell += fmt.Sprintf(", without `%s`", removed)
		}
		spelled = append(spelled, cell)
	}
	return strings.ReplaceAll(strings.Join(spelled, " … "), "|", `\|`)
}

// Every reason for a refusal in the code is in docs/errors.md, word for
// word, with "…" for what differs.
func TestEveryRefusalIsDocumented(t *testing.T) {
	const errorsDoc = "../docs/errors.md"
	doc := string(readFile(t, errorsDoc))
	reasons := refusalReasons(t)
	if len(reasons) < 20 {
		t.Errorf("only %d reasons found in the code", len(reasons))
	}
	for _, reason := range reasons {
		if !strings.Contains(doc, "`"+reason+"`") {
			t.Errorf("%s lacks `%s`", errorsDoc, reason)
		}
	}
}

var formatVerb = regexp.MustCompile(`%[a-z]`)

// refusalReasons returns the formats that refuse.Because is called with in this package
// and in that of conversions.
func refusalReasons(t *testing.T) []string {
	t.Helper()
	sources, err := filepath.Glob("*.go")
	conversions, otherErr := filepath.Glob("../internal/convert/*.go")
	if err != nil || otherErr != nil {
		t.Fatal(err, otherErr)
	}
	sources = append(sources, conversions...)
	var reasons []string
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			if isBecause(call.Fun) {
				reasons = append(reasons, refusalReason(t, call.Args[1:]))
			}
			return true
		})
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// isBecause reports whether an expression is refuse.Because.
func isBecause(function ast.Expr) bool {
	selector, ok := function.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := selector.X.(*ast.Ident)
	return ok && from.Name == "refuse" && selector.Sel.Name == "Because"
}

// refusalReason takes the format, and an argument that is a literal for the
// first verb.
func refusalReason(t *testing.T, args []ast.Expr) string {
	t.Helper()
	const differs = "%s: %s in the program, %s in the layout"
	format := differs
	if literal, ok := args[0].(*ast.BasicLit); ok {
		format = unquote(t, literal)
	} else if name, ok := args[0].(*ast.Ident); !ok || name.Name != "differs" {
		t.Fatalf("refuse is called with %v for its format", args[0])
	}
	if len(args) > 1 {
		if literal, ok := args[1].(*ast.BasicLit); ok {
			format = strings.Replace(format, "%s", unquote(t, literal), 1)
		}
	}
	return formatVerb.ReplaceAllString(format, "…")
}

func unquote(t *testing.T, literal *ast.BasicLit) string {
	t.Helper()
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

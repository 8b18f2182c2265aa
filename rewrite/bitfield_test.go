package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/rewrite"
)

// bitExpression is what a function does with a bit-field f of a struct, with
// another one g, and with a number x.
type bitExpression struct {
	name   string
	body   string
	stores string // the fields that it assigns

	readsBack bool // what it assigned
}

// bitExpressions are how C programs use bit-fields without a macro.
var bitExpressions = []bitExpression{
	{"read", "return md->f;", "", false},
	{"plus", "return md->f + 1;", "", false},
	{"minus", "return x - md->f;", "", false},
	{"times", "return md->f * 3;", "", false},
	{"negative", "return md->f < 0;", "", false},
	{"greater", "return md->f > 2 ? 4 : x;", "", false},
	{"below", "return md->f < (__s32)x;", "", false},
	{"equal", "if (md->f == 3) return x; return 8;", "", false},
	{"not", "return !md->f;", "", false},
	{"inverse", "return ~md->f;", "", false},
	{"choice", "return md->f ? x : 7;", "", false},
	{"as_u8", "return (__u8)md->f;", "", false},
	{"as_s8", "return (__s8)md->f;", "", false},
	{"as_u16", "return (__u16)md->f;", "", false},
	{"left", "return md->f << 2;", "", false},
	{"right", "return md->f >> 2;", "", false},
	{"masked", "return md->f & 6;", "", false},
	{"bit", "if (md->f & 2) return x; return 1;", "", false},
	{"high", "return (__u8)(md->f >> 8);", "", false},
	{"cases", "switch (md->f) { case 0: return 9; case 1: return x; case 2: return x + 3; case 5: return 12; case 6: return x * 5; } return 1;", "", false},
	{"index", "__u64 of[4] = {x, x + 3, x * 3, 7}; return of[md->f & 3];", "", false},
	{"sum", "return md->f + md->g;", "", false},
	{"difference", "return md->f - md->g;", "", false},
	{"same", "return md->f == md->g;", "", false},
	{"less", "if (md->f < md->g) return x; return 2;", "", false},
	{"both", "return md->f & md->g;", "", false},
	{"either", "return md->f | md->g;", "", false},
	{"all", "return md->f && md->g;", "", false},
	{"any", "return md->f || md->g;", "", false},
	{"which", "return x & 1 ? md->f : md->g;", "", false},

	{"assign", "md->f = x; return 0;", "f", false},
	{"zero", "md->f = 0; return 0;", "f", false},
	{"constant", "md->f = 5; return 0;", "f", false},
	{"ones", "md->f = -1; return 0;", "f", false},
	{"result", "return md->f = x;", "f", true},
	{"increment", "md->f++; return 0;", "f", false},
	{"decrement", "return md->f--;", "f", false},
	{"add", "md->f = md->f + x; return 0;", "f", false},
	{"subtract", "return md->f -= x;", "f", true},
	{"set_bit", "md->f |= 4; return 0;", "f", false},
	{"clear_bit", "md->f &= ~1; return 0;", "f", false},
	{"flip_bit", "md->f ^= 1; return 0;", "f", false},
	{"invert", "md->f = ~md->f; return 0;", "f", false},
	{"doubled", "md->f <<= 1; return md->f;", "f", true},
	{"copy", "md->f = md->g; return 0;", "f", false},
	{"copy_sum", "md->f = md->g + x; return md->f;", "f", true},
	{"swap", "__u64 t = md->f; md->f = md->g; md->g = t; return t;", "fg", false},
	{"two", "md->f = x; md->g = x >> 3; return 0;", "fg", false},
	{"twice", "md->f = x; x += md->f; md->f = x; return x;", "f", true},
	{"truth", "md->f = md->g > 2; return 0;", "f", false},
}

// bitStruct is a struct of the program, in C, what f and g are in it, and the same
// struct in a layout.
type bitStruct struct {
	name, members, attribute string
	f, g                     string
	layout                   string
}

// bitSource returns functions that do everything with the fields of a struct, as
// the attribute says: recorded, or not.
func bitSource(structs []bitStruct, recorded bool) string {
	var b strings.Builder
	fmt.Fprintln(&b, `#include "cost.h"`)
	for i := range structs {
		structs[i].write(&b, recorded)
	}
	return b.String()
}

func (s *bitStruct) write(b *strings.Builder, recorded bool) {
	attribute := s.attribute
	if recorded {
		attribute += " __attribute__((preserve_access_index))"
	}
	fmt.Fprintf(b, "struct %s { %s }%s;\n", s.name, s.members, attribute)
	for _, e := range bitExpressions {
		function := s.name + "_" + e.name
		body := strings.NewReplacer("md->f", "md->"+s.f, "md->g", "md->"+s.g).Replace(e.body)
		fmt.Fprintf(b, "static __attribute__((noinline)) __u64 do_%s(struct %s *md, __u64 x) { %s }\n", function, s.name, body)
		fmt.Fprintf(b, "PROGRAM(%s, struct %s, out_unsigned = do_%s(md, in_unsigned);)\n", function, s.name, function)
	}
}

// bitFunctions returns the code of the functions of an object that work on structs.
func bitFunctions(t *testing.T, object []byte) map[string][]byte {
	t.Helper()
	obj, err := elfobj.Parse(object)
	if err != nil {
		t.Fatal(err)
	}
	functions := make(map[string][]byte)
	text := obj.Section(".text")
	for _, symbol := range obj.Functions(text) {
		functions[symbol.Name] = text.Data[symbol.Value:][:symbol.Size]
	}
	return functions
}

func bitType(t *testing.T, types *btf.Spec, name string) btf.Type {
	t.Helper()
	typ, err := types.AnyTypeByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// bitTableStruct is the struct of the table in docs/access-shapes.md.
var bitTableStruct = bitStruct{name: "bits0", members: "__u32 a : 3; __u32 f : 12; __u32 g : 5;", f: "f", g: "g"}

// bitTable has a line for each expression: what its accesses become.
func bitTable(t *testing.T) string {
	t.Helper()
	object := costCompile(t, "clang-19", bitSource([]bitStruct{bitTableStruct}, true), "el", "v3")
	layout := costCompile(t, "clang-19", "#include <linux/types.h>\nstruct bits0 { __u16 f; __u32 : 4; __u32 g : 5; } layout;", "el", "v3")
	_, report, err := rewrite.Rewrite(object, parseLayout(t, "bits", layout), rewrite.Options{Types: []string{"bits*"}})
	if err != nil {
		t.Fatal(err)
	}
	edits := make(map[string][]rewrite.Edit)
	for _, edit := range report.Edits {
		edits[edit.Access.Program] = append(edits[edit.Access.Program], edit)
	}
	var b strings.Builder
	b.WriteString("| program | accesses |\n|---|---|\n")
	for _, e := range bitExpressions {
		accesses := spellEdits(edits["do_bits0_"+e.name])
		if accesses == "" {
			accesses = "none, the result is a constant"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(e.body, "|", `\|`), accesses)
	}
	return b.String()
}

package nic_test

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/nic"
	"github.com/xdp-load/xdp-load/reloc"
)

var headerCount = flag.Int("header.count", 200, "how many random layouts are written as C")

// What is compiled from the header of a layout is the same layout: each one of testdata,
// in both byte orders.
func TestHeader(t *testing.T) {
	netlab.NeedTools(t, "clang-19", "gcc")
	files, err := filepath.Glob("../testdata/layouts/*.o")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	examples, err := filepath.Glob("../bpf/examples/nic_*.o")
	if err != nil || len(examples) == 0 {
		t.Fatal(examples, err)
	}
	for _, file := range append(files, examples...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			layout, err := nic.OpenLayout(file, "")
			if err != nil {
				t.Fatal(err)
			}
			header, err := nic.Header(layout, file)
			if strings.HasPrefix(filepath.Base(file), "none-") {
				if !errors.Is(err, nic.ErrNoDescriptor) {
					t.Fatal(header, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantSameLayout(t, layout, header)

			// For user space, which reads the area by AF_XDP: every assertion holds, but
			// that about the byte order if it is another machine's.
			path := write(t, "md_desc.h", []byte(header))
			cmd := exec.Command("gcc", "-std=gnu11", "-Wall", "-Werror", "-x", "c", "-fsyntax-only", "-")
			cmd.Stdin = strings.NewReader("#include \"" + path + "\"\n")
			out, err := cmd.CombinedOutput()
			isHere := layout.ByteOrder().Uint16([]byte{0, 1}) == binary.NativeEndian.Uint16([]byte{0, 1})
			if isHere && err != nil || !isHere && (strings.Count(string(out), "error:") != 1 || !strings.Contains(string(out), `"byte order"`)) {
				t.Errorf("gcc: %v\n%s\n%s", err, out, header)
			}
		})
	}
}

// The same of random layouts: structs and unions in each other, with and without names,
// packed and aligned, bit-fields of every type, arrays, enumerations of every size.
func TestHeaderRandom(t *testing.T) {
	netlab.NeedTools(t, "clang-19")
	const atOnce = 100 // one struct md_desc in so many flavours
	for seed := range uint64((*headerCount + atOnce - 1) / atOnce) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			target := []string{"bpfel", "bpfeb"}[seed%2]
			g := &cGenerator{Rand: rand.New(rand.NewPCG(seed, 0))}
			layout := compileLayout(t, g.layout(atOnce), target)
			header, err := nic.Header(layout, "random")
			if err != nil {
				t.Fatal(err)
			}
			wantSameLayout(t, layout, header)
		})
	}
}

// A definition has no attribute and no padding that C does without.
func TestHeaderIsPlain(t *testing.T) {
	netlab.NeedTools(t, "clang-19")
	for source, want := range map[string]string{
		"struct md_desc { __u32 a : 20, b : 12; bool c; __u64 d; };": `
struct md_desc {
	__u32 a : 20;  /* bit 0 */
	__u32 b : 12;  /* bit 20 */
	_Bool c;       /* 4 */
	               /* 5 unused */
	__u64 d;       /* 8 */
};
`,
		"struct md_desc { __u16 a; __u32 b; } __attribute__((packed));": `
struct md_desc {
	__u16 a;  /* 0 */
	__u32 b;  /* 2 */
} __attribute__((packed));
`,
		"struct md_desc { __u8 a; __u8 : 8; __u16 b : 3; __u16 : 0; __u16 c[]; };": `
struct md_desc {
	__u8 a;             /* 0 */
	unsigned char : 8;  /* 1 unused */
	__u16 b : 3;        /* bit 16 */
	                    /* bit 19 unused */
	__u16 c[0];         /* 4 */
};
`,
		"struct md_desc { __u32 a; __u32 : 32; __u32 b; __u16 : 16; __u16 c; };": `
struct md_desc {
	__u32 a;              /* 0 */
	unsigned int : 32;    /* 4 unused */
	__u32 b;              /* 8 */
	unsigned short : 16;  /* 12 unused */
	__u16 c;              /* 14 */
};
`,
		"struct md_desc { union { __u8 a[3]; } __attribute__((aligned(2))) b; };": `
struct md_desc {
	union {             /* 0 */
		__u8 a[3];  /* 0 */
	} __attribute__((aligned(2))) b;
};
`,
	} {
		header, err := nic.Header(compileLayout(t, "#include <linux/types.h>\n#include <stdbool.h>\n"+source+"\nstruct md_desc layout;\n", "bpf"), "plain")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(header, want) {
			t.Errorf("%s\n%s\ninstead of%s", source, header, want)
		}
	}
}

// What no random layout has.
func TestHeaderStrange(t *testing.T) {
	netlab.NeedTools(t, "clang-19")
	for name, source := range map[string]string{
		"pointed to before":     "struct tag { int a; }; struct md_desc { struct tag *p; struct tag t; struct md_desc *self; struct md_desc **list[2]; };",
		"pointed to after":      "struct tag { int a; }; struct md_desc { struct tag t; const struct tag *const p; union nowhere *u; };",
		"anonymous behind":      "struct md_desc { struct { int a; } *p; enum { A } *e; void *v; int (*f)(int); int (*array)[3]; };",
		"of a type":             "struct md_desc { enum a : int { A } a; enum b : signed char { B = 1 } b; enum c : unsigned short { C = 1 } c; enum d : long long { D = 1 } d : 40; };",
		"enumeration twice":     "typedef int md_desc_enum1; struct md_desc { enum { A, B } a, b; struct { enum { C } x, y; } c, d; md_desc_enum1 e; };",
		"own types of a name":   "typedef unsigned char __u32; typedef __u32 __be32; struct md_desc { __u32 a; __be32 b; };",
		"bool of the kernel's":  "typedef _Bool bool; struct md_desc { bool a; bool b : 1; const bool c[2]; };",
		"chain of typedefs":     "typedef unsigned int __u32; typedef __u32 u32; typedef const u32 stamp_t; typedef stamp_t pair[2]; struct md_desc { volatile pair p; u32 q; };",
		"nothing but room":      "struct md_desc { int : 32; long long : 5; };",
		"nothing at all":        "struct md_desc { };",
		"of a shared type":      "struct in { char a, b; }; typedef struct in in_t; struct md_desc { in_t a; struct in b; struct { in_t c; } d[2]; };",
		"no alignment to go by": "struct md_desc { unsigned char a : 5, b : 5; };",
		"packed bytes":          "struct md_desc { unsigned char a : 5, b : 5; } __attribute__((packed));",
	} {
		t.Run(name, func(t *testing.T) {
			layout := compileLayout(t, source+"\nstruct md_desc layout;\n", "bpf")
			header, err := nic.Header(layout, name)
			if err != nil {
				t.Fatal(err)
			}
			wantSameLayout(t, layout, header)
		})
	}
}

func TestHeaderRefuses(t *testing.T) {
	const size, hash = 8, "hash"
	u32 := &btf.Int{Name: "unsigned int", Size: 4}
	s := func(members ...btf.Member) *btf.Struct {
		return &btf.Struct{Name: "md_desc", Size: size, Members: members}
	}
	enum := func(name string) *btf.Enum {
		return &btf.Enum{Name: name, Size: 4, Values: []btf.EnumValue{{Name: "TCP", Value: 6}}}
	}
	for name, test := range map[string]struct {
		descriptor *btf.Struct
		want       string
	}{
		"overlap":     {s(btf.Member{Name: "a", Type: u32}, btf.Member{Name: "b", Type: u32, Offset: 16}), "struct md_desc: member b is at bit 16, where another one is: C has no such struct"},
		"half a byte": {s(btf.Member{Name: "a", Type: u32, Offset: 4}), "struct md_desc: member a is at bit 4, and no bit-field: C has no such struct"},
		"too short":   {s(btf.Member{Name: "a", Type: u32, Offset: 48}), "struct md_desc: it has 8 bytes, and its members end at bit 80: C has no such struct"},
		"odd number":  {s(btf.Member{Name: hash, Type: &btf.Int{Name: "u24", Size: 3}}), "u24 has 3 bytes: C has no such number"},
		"name":        {s(btf.Member{Name: "hash::<u32>", Type: u32}), `"hash::<u32>" is no name in C`},
		"keyword":     {s(btf.Member{Name: "default", Type: u32}), `"default" is no name in C`},
		"function":    {s(btf.Member{Name: hash, Type: &btf.Fwd{Name: "x"}}), "struct x: C has no member of this type"},
		"enumerators": {s(btf.Member{Name: "a", Type: enum("x")}, btf.Member{Name: "b", Type: enum("y"), Offset: 32}), "TCP is in enum x and enum y: C has no two enumerators of a name"},
		"no values":   {s(btf.Member{Name: hash, Type: &btf.Enum{Name: "x", Size: 4}}), "enum x: it has no enumerators"},
		"two of a name": {s(btf.Member{Name: "a", Type: &btf.Typedef{Name: "u", Type: u32}},
			btf.Member{Name: "b", Type: &btf.Typedef{Name: "u", Type: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}}, Offset: 32}), "there are different types u: C has one of a name"},
		"bit-field":     {s(btf.Member{Name: "a", Type: &btf.Float{Name: "float", Size: 4}, BitfieldSize: 8}), "struct md_desc: bit-field a is of type float: C has no such bit-field"},
		"long":          {s(btf.Member{Name: "a", Type: u32, BitfieldSize: 33}), "bit-field a has 33 bits, and its type 32: C has no such bit-field"},
		"long bool":     {s(btf.Member{Name: "a", Type: &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}, BitfieldSize: 2}), "bit-field a has 2 bits, and its type 1: C has no such bit-field"},
		"long in union": {s(btf.Member{Name: "a", Type: &btf.Union{Name: "x", Size: 8, Members: []btf.Member{{Name: "b", Type: u32, BitfieldSize: 33}}}}), "union x: bit-field b has 33 bits, and its type 32: C has no such bit-field"},
		"in a union":    {s(btf.Member{Name: "a", Type: &btf.Union{Name: "x", Size: 8, Members: []btf.Member{{Name: "b", Type: u32, Offset: 8}}}}), "member b is at bit 8: C has no such union"},
		"no name":       {s(btf.Member{Type: u32}), "a member of type unsigned int has no name: C has no such member"},
		"itself":        {s(btf.Member{Name: "a", Type: structs(130, u32)}), "it contains itself, or too many others in each other"},
		"large":         {s(btf.Member{Name: "a", Type: &btf.Struct{Name: "x", Size: 1<<16 + 1}}), "struct x has more than 65536 bytes, which no packet has in front of it"},
		"many empty":    {s(btf.Member{Name: "a", Type: pairs(17)}), "it is made of more types than its bytes explain"},
		"union":         {s(btf.Member{Name: "a", Type: &btf.Union{Name: "x", Size: 17, Members: []btf.Member{{Name: "b", Type: u32}}}}), "union x: it has 17 bytes, and its longest member 32 bits: C has no such union"},
	} {
		t.Run(name, func(t *testing.T) {
			builder, err := btf.NewBuilder([]btf.Type{test.descriptor}, nil)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := builder.Marshal(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			layout, err := reloc.NewLayout("made", raw, nil)
			if err != nil {
				t.Fatal(err)
			}
			header, err := nic.Header(layout, "")
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "layout made: ") {
				t.Errorf("%v\nlacks %q\n%s", err, test.want, header)
			}
		})
	}
}

// pairs returns a struct of two structs of two structs, and so on, with nothing in them.
func pairs(depth int) *btf.Struct {
	if depth == 0 {
		return new(btf.Struct)
	}
	return &btf.Struct{Members: []btf.Member{{Name: "a", Type: pairs(depth - 1)}, {Name: "b", Type: pairs(depth - 1)}}}
}

// wantSameLayout compiles a header and compares the descriptors in its BTF.
func wantSameLayout(t *testing.T, layout *reloc.Layout, header string) {
	t.Helper()
	descriptors, err := layout.Structs(reloc.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	source := header
	for i, descriptor := range descriptors {
		source += fmt.Sprintf("struct %s layout_%d;\n", descriptor.Name, i)
	}
	target := map[string]string{little.String(): "bpfel", big.String(): "bpfeb"}[layout.ByteOrder().String()]
	compiled, err := compileLayout(t, source, target).Structs(reloc.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	if len(compiled) != len(descriptors) {
		t.Fatalf("%d descriptors instead of %d\n%s", len(compiled), len(descriptors), header)
	}
	for i := range compiled {
		if why := difference(descriptors[i], compiled[i]); why != "" {
			t.Errorf("%s\n%s", why, header)
		}
	}
}

// compileLayout compiles C without any warning, and returns the layout in it.
func compileLayout(t *testing.T, source, target string) *reloc.Layout {
	t.Helper()
	file, err := elf.Open(compileObject(t, source, target))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	types, err := file.Section(".BTF").Data()
	if err != nil {
		t.Fatal(err)
	}
	layout, err := reloc.NewLayout("compiled", types, nil)
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// compileObject compiles C and returns the object's path.
func compileObject(t *testing.T, source, target string) string {
	t.Helper()
	object := filepath.Join(t.TempDir(), "object.o")
	args := []string{"-O2", "-g", "-Wall", "-Werror", "-target", target, "-x", "c", "-c", "-", "-o", object}
	asm, err := filepath.Glob("/usr/include/*/asm") // of Debian
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range asm {
		args = append(args, "-I", filepath.Dir(dir))
	}
	cmd := exec.Command("clang-19", args...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, source)
	}
	return object
}

// runTool runs a command, and returns what it complains of.
func runTool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// difference says what is different of two types, by all that BTF has of them but the names
// of numbers and what is behind pointers.
func difference(a, b btf.Type) string {
	if why := differentChain(a, b); why != "" {
		return why
	}
	a, b = btf.UnderlyingType(a), btf.UnderlyingType(b)
	differ := func(what string, a, b any) string { return fmt.Sprintf("%s: %v instead of %v", what, b, a) }
	name := reloc.TypeString(a)
	if fmt.Sprintf("%T", a) != fmt.Sprintf("%T", b) {
		return differ(name, a, b)
	}
	sizeA, errA := btf.Sizeof(a)
	sizeB, errB := btf.Sizeof(b)
	if _, isNumber := a.(*btf.Int); sizeA != sizeB || errA != nil || errB != nil || !isNumber && a.TypeName() != b.TypeName() {
		return differ(name, a, b)
	}
	switch a := a.(type) {
	case *btf.Int:
		if b := b.(*btf.Int); a.Encoding != b.Encoding {
			return differ(name, a.Encoding, b.Encoding)
		}
	case *btf.Enum:
		if b := b.(*btf.Enum); a.Signed != b.Signed || !slices.Equal(a.Values, b.Values) {
			return differ(name, a.Values, b.Values)
		}
	case *btf.Array:
		if b := b.(*btf.Array); a.Nelems != b.Nelems {
			return differ(name, a.Nelems, b.Nelems)
		}
		return difference(a.Type, b.(*btf.Array).Type)
	case *btf.Struct:
		return differentMembers(name, a.Members, b.(*btf.Struct).Members)
	case *btf.Union:
		return differentMembers(name, a.Members, b.(*btf.Union).Members)
	}
	return ""
}

func differentMembers(name string, a, b []btf.Member) string {
	if len(a) != len(b) {
		return fmt.Sprintf("%s: %d members instead of %d", name, len(b), len(a))
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Offset != b[i].Offset || a[i].BitfieldSize != b[i].BitfieldSize {
			return fmt.Sprintf("%s: %+v instead of %+v", name, b[i], a[i])
		}
		if why := difference(a[i].Type, b[i].Type); why != "" {
			return fmt.Sprintf("%s: %s: %s", name, a[i].Name, why)
		}
	}
	return ""
}

// differentChain compares typedefs and qualifiers. "bool" is written as _Bool, and an
// anonymous enumeration that is used several times has a typedef.
func differentChain(a, b btf.Type) string {
	chain := func(typ btf.Type) (names []string) {
		for {
			switch t := typ.(type) {
			case *btf.Typedef:
				if t.Name != "bool" && !strings.HasPrefix(t.Name, "md_desc_enum") {
					names = append(names, t.Name)
				}
				typ = t.Type
			case *btf.Const:
				names = append(names, "const")
				typ = t.Type
			case *btf.Volatile:
				names = append(names, "volatile")
				typ = t.Type
			case *btf.Restrict:
				names = append(names, "restrict")
				typ = t.Type
			default:
				return names
			}
		}
	}
	if of, instead := chain(a), chain(b); !slices.Equal(of, instead) {
		return fmt.Sprintf("%v instead of %v", instead, of)
	}
	return ""
}

// cGenerator makes up layouts.
type cGenerator struct {
	*rand.Rand
	before strings.Builder // definitions that come before the one under way
	names  int
}

func (g *cGenerator) layout(flavours int) string {
	var structs strings.Builder
	for i := range flavours {
		body := g.record(3)
		fmt.Fprintf(&structs, "%sstruct md_desc___r%d {\n%s}%s;\nstruct md_desc___r%[2]d layout_%[2]d;\n", g.before.String(), i, body, g.attribute())
		g.before.Reset()
	}
	return "#include <linux/types.h>\n#include <stdbool.h>\ntypedef int (*handler)(int);\n" + structs.String()
}

func (g *cGenerator) name(prefix string) string {
	g.names++
	return fmt.Sprintf("%s%d", prefix, g.names)
}

func pick[T any](g *cGenerator, from ...T) T { return from[g.IntN(len(from))] }

func (g *cGenerator) attribute() string {
	return pick(g, "", "", "", " __attribute__((packed))", " __attribute__((packed))", fmt.Sprintf(" __attribute__((aligned(%d)))", 1<<g.IntN(5)))
}

func (g *cGenerator) record(depth int) string {
	var b strings.Builder
	for range 1 + g.IntN(9) {
		b.WriteString("\t" + g.member(depth) + ";\n")
	}
	return b.String()
}

func (g *cGenerator) member(depth int) string {
	name := g.name("m")
	switch kind := g.IntN(12); {
	case kind < 3:
		typ, bits := g.bitfield()
		width := 1 + g.IntN(bits)
		return pick(g, fmt.Sprintf("%s %s : %d", typ, name, width), fmt.Sprintf("%s %s : %d", typ, name, width),
			fmt.Sprintf("%s : %d", typ, width), fmt.Sprintf("%s : 0", typ))
	case kind < 5 && depth > 0:
		keyword := pick(g, "struct", "struct", "union")
		return fmt.Sprintf("%s {\n%s}%s %s", keyword, g.record(depth-1), g.attribute(), pick(g, "", name, name+", "+name+"b", name+g.dimensions()))
	case kind < 6 && depth > 0:
		typ := g.named(depth - 1)
		return fmt.Sprintf("%s %s%s", typ, name, pick(g, "", g.dimensions()))
	case kind < 7:
		return g.enum("") + " " + pick(g, name, name+", "+name+"b", name+"[2]")
	}
	return g.qualifiers() + g.scalar() + " " + name + pick(g, "", "", g.dimensions(), fmt.Sprintf(" __attribute__((aligned(%d)))", 1<<g.IntN(5)))
}

func (g *cGenerator) qualifiers() string {
	return pick(g, "", "", "", "const ", "volatile ", "const volatile ")
}

func (g *cGenerator) dimensions() string {
	return pick(g, fmt.Sprintf("[%d]", g.IntN(5)), fmt.Sprintf("[%d][%d]", 1+g.IntN(3), 1+g.IntN(3)))
}

func (g *cGenerator) bitfield() (typ string, bits int) {
	bits = pick(g, 8, 16, 32, 64)
	switch g.IntN(6) {
	case 0:
		return "bool", 1
	case 1:
		return g.enum(""), 2
	}
	return pick(g, fmt.Sprintf("__u%d", bits), fmt.Sprintf("__s%d", bits)), bits
}

func (g *cGenerator) scalar() string {
	switch g.IntN(12) {
	case 0:
		return g.named(-1)
	case 1:
		return pick(g, "void *", "struct elsewhere *", "char *const", "int *__restrict", "__be32 *", "handler")
	}
	return pick(g, "__u8", "__u16", "__u32", "__u64", "__s8", "__s16", "__s32", "__s64", "__be16", "__be32", "__be64", "__le16", "__le32", "__le64",
		"__sum16", "__wsum", "bool", "char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned int", "long", "unsigned long",
		"long long", "unsigned long long", "float", "double", "__int128", "unsigned __int128")
}

// named defines a type that has a name, and returns it.
func (g *cGenerator) named(depth int) string {
	name := g.name("t")
	if depth < 0 {
		if g.IntN(2) == 0 {
			fmt.Fprintf(&g.before, "%s;\n", g.enum(name))
			return "enum " + name
		}
		of := pick(g, "__u32", "__be16", "int", "const unsigned long", "bool")
		fmt.Fprintf(&g.before, "typedef %s %s%s;\n", of, name, pick(g, "", "", "[2]"))
		return name
	}
	keyword := pick(g, "struct", "struct", "union")
	body := g.record(depth)
	if g.IntN(2) == 0 {
		fmt.Fprintf(&g.before, "%s %s {\n%s}%s;\n", keyword, name, body, g.attribute())
		return keyword + " " + name
	}
	fmt.Fprintf(&g.before, "typedef %s {\n%s}%s %s;\n", keyword, body, g.attribute(), name)
	return name
}

func (g *cGenerator) enum(name string) string {
	type shape struct{ values, attribute string }
	s := pick(g, shape{"= 0", ""}, shape{"= -3", ""}, shape{"= 200", " __attribute__((packed))"}, shape{"= -200", " __attribute__((packed))"},
		shape{"= 1", " __attribute__((mode(HI)))"}, shape{"= 2", " __attribute__((mode(DI)))"}, shape{"= 0x80000000", ""},
		shape{"= 0x123456789a", ""}, shape{"= -0x123456789a", ""}, shape{"= 0xffffffffffffffff", ""}, shape{"= -0x7fffffffffffffff - 1", ""})
	first, second := g.name("E"), g.name("E")
	return fmt.Sprintf("enum %s { %s = 1, %s %s }%s", name, first, second, s.values, s.attribute)
}

// structs returns structs of one member in each other.
func structs(deep int, of btf.Type) btf.Type {
	for i := range deep {
		of = &btf.Struct{Name: fmt.Sprintf("s%d", i), Size: 4, Members: []btf.Member{{Name: "a", Type: of}}}
	}
	return of
}

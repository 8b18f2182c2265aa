package rewrite_test

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/xdp-load/xdp-load/internal/elfobj"
	"github.com/xdp-load/xdp-load/rewrite"
)

// What is refused where accessors need ctx, as those of contextSource, or what was computed when
// the program started, as those of startSource.
var neededRefused = []struct{ name, source, context, start string }{
	{"five arguments", `
static NOINLINE __u32 f(struct md_desc *md, long a, long b, long c, long d)
{
	packets += a + b * 2 + c * 3 + d * 5;
	return md->mark; /* refused */
}
` + driverProgram + `
	check(MARK, f(md, packets, packets + 1, packets + 2, packets + 3));` + driverEnd,
		"what computes it needs ctx, and the function is called without, and with five arguments already: call md_desc(ctx) in the function",
		"it is computed when the program starts, and the function is called without, and with five arguments already: give the function fewer arguments"},
	{"recursion", `
static NOINLINE __u32 f(struct md_desc *md, long n)
{
	packets += n;
	if (n > 1)
		return f(md, n - 1) + f(md, n / 2);
	return md->mark;
}
` + driverProgram + `
	check(MARK, f(md, packets));` + driverEnd,
		"the function gets the descriptor in too many ways to follow, or calls itself",
		"the function gets the descriptor in too many ways to follow, or calls itself"},
	{"stack", driverProgram + `
	__u8 own[510];

	asm volatile("" : : "r"(own) : "memory");
	bpf_get_prandom_u32();
	check(MARK, md->mark);` + driverEnd,
		"what computes it needs ctx, and there is no room for that on the stack",
		"it is computed when the program starts, and there is no room for that on the stack"},
	{"loop", driverProgram + `
	asm volatile("if r0 == 0x4d4d goto +0");
	bpf_get_prandom_u32();
	check(MARK, md->mark);` + driverEnd,
		"what computes it needs ctx, which the function would keep before anything else, and a loop leads back to its start",
		"it is computed when the program starts, which the function would keep before anything else, and a loop leads back to its start"},
	{"callback", `
static long each(__u32 i, void *p)
{
	struct md_desc **at = p;

	packets += (*at)->mark; /* refused */
	return 0;
}
` + driverProgram + `
	struct md_desc *at = md;
	__u8 own[500];

	asm volatile("" : : "r"(own) : "memory");
	bpf_loop(2, each, &at, 0);` + driverEnd,
		"what computes it needs ctx, which the function does not have wherever it is called",
		"it is computed when the program starts, and nothing leads there from the function wherever it is called: read the field in the program"},
	{"global function", `
NOINLINE __u32 f(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? md->mark : 0; /* refused */
}
` + driverProgram + `
	check(MARK, f(ctx));` + driverEnd,
		"", // it has ctx
		"it is computed when the program starts, and a global function gets no more than it is declared with: make the function static"},
}

func TestDriverNeededRefused(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{"context": contextSource, "start": startSource} {
		accessors := resolvedAccessors(t, name+".o", costCompile(t, "clang-19", source, "el", "v3"), "")
		for _, test := range neededRefused {
			want := test.context
			if name == "start" {
				want = test.start
			}
			t.Run(name+"/"+test.name, func(t *testing.T) { checkDriverRefused(t, accessors, test.source, want) })
		}
	}
}

// checkDriverRefused wants a program to be refused for a reason, or not at all.
func checkDriverRefused(t *testing.T, accessors *rewrite.Accessors, source, want string) {
	object := leadToStart(costCompile(t, "clang-19", driverHeader+source, "el", "v3"))
	_, _, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{accessors}, rewrite.Options{})
	if want == "" {
		if err != nil {
			t.Error(explained(err))
		}
		return
	}
	var refused *rewrite.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(explained(err), want) {
		t.Errorf("not refused for %q, but:\n%s", want, explained(err))
	}
}

// leadToStart has jumps that compare with 0x4d4d lead to where the program starts, which those
// of compilers never do.
func leadToStart(object []byte) []byte {
	obj, err := elfobj.Parse(object)
	if err != nil {
		return object
	}
	code := obj.Section("xdp").Data
	for at := 0; at < len(code); at += 8 {
		if code[at] == 0x15 && binary.LittleEndian.Uint32(code[at+4:]) == 0x4d4d {
			binary.LittleEndian.PutUint16(code[at+2:], uint16(-(at/8 + 1)))
		}
	}
	return obj.Bytes()
}

// Programs for which none of the accessors are have no fields.
func TestDriverContextUnknown(t *testing.T) {
	t.Parallel()
	object := costCompile(t, "clang-19", driverHeader+driverProgram+`check(MARK, md->mark);`+driverEnd+`
SEC("tc") int other(struct __sk_buff *ctx)
{
	struct md_desc *md = md_desc((struct xdp_md *)ctx);

	return md ? md->hash : 0; /* refused */
}
`, "el", "v3")
	_, _, err := rewrite.RewriteForDriver(object, []*rewrite.Accessors{driverAccessors(t, "veth", "")}, rewrite.Options{})
	const want = "md->hash: veth has no accessors for such a program: read it in a program of another kind"
	if !errors.Is(err, rewrite.ErrRefused) || !strings.Contains(explained(err), want) {
		t.Errorf("not refused for %q, but:\n%s", want, explained(err))
	}
}

// What compilers don't make is refused: a function that nothing tells the start of, or with an
// instruction that there is none of.
func TestRefusedChanged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		source, want string
		change       func(*testing.T, *elfobj.Object)
	}{
		"no symbol": {"out_unsigned = read((void *)(long)in_unsigned);", "md->f: nothing tells what its pointer points at, as no symbol says where the function starts",
			func(t *testing.T, obj *elfobj.Object) {
				at := slices.IndexFunc(obj.Symbols, func(s elf.Symbol) bool { return s.Name == "read" })
				symbol := obj.Symbols[at]
				symbol.Info = elf.ST_INFO(elf.STB_LOCAL, elf.STT_NOTYPE)
				if err := obj.SetSymbol(at, symbol); err != nil {
					t.Fatal(err)
				}
			}},
		"not understood": {`__u64 n = 0; asm volatile(".8byte 0xff" : "+r"(n)); out_unsigned = n; struct md_other *other = (void *)md; other->f = in_unsigned;`,
			"it takes more instructions in this layout, and the function is not understood: ", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needTools(t, "gcc", "clang-19")
			const declared = "#include \"cost.h\"\n#define PAI __attribute__((preserve_access_index))\nstruct md_desc { %[1]s } %[2]s; struct md_other { %[1]s } %[3]s;\n"
			raw := costCompile(t, "clang-19", fmt.Sprintf(declared, "__u32 f;", "PAI", "PAI")+
				"static __attribute__((noinline, unused)) __u64 read(struct md_desc *md) { out_signed++; return md->f; }\n"+
				"PROGRAM(refused, struct md_desc, "+test.source+")", "el", "v3")
			obj, err := elfobj.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				test.change(t, obj)
			}
			nic := parseLayout(t, "nic", costCompile(t, "clang-19", fmt.Sprintf(declared, "__u32 other; __be32 f;", "layout", "other"), "el", "v3"))
			_, _, err = rewrite.Rewrite(obj.Bytes(), nic, rewrite.Options{Types: []string{"md_*"}})
			if err == nil {
				t.Fatalf("not refused for %q", test.want)
			}
			if !errors.Is(err, rewrite.ErrRefused) || !strings.Contains(explained(err), test.want) {
				t.Errorf("not refused for %q, but:\n%s", test.want, explained(err))
			}
		})
	}
}

package rewrite_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// twin is C in two forms: what is checked, which reads the descriptor, and what it is
// compared with, which reads variables.
type twin struct{ real, plain string }

func same(format string, args ...any) twin {
	text := fmt.Sprintf(format, args...)
	return twin{text, text}
}

// with puts twins into a text, one for each %s.
func with(format string, twins ...twin) twin {
	var reals, plains []any
	for _, t := range twins {
		reals, plains = append(reals, t.real), append(plains, t.plain)
	}
	return twin{fmt.Sprintf(format, reals...), fmt.Sprintf(format, plains...)}
}

func (t *twin) add(other twin) {
	t.real += other.real
	t.plain += other.plain
}

// randomHeader goes in front of random programs, behind driverHeader or strangeTCHeader.
const randomHeader = `
struct md_desc___wide { __u64 mark, hash, vlan_tci, hash_type; } __ref;
struct md_desc___narrow { __u8 mark; __u16 hash; __u8 vlan_tci; __u16 hash_type; } __ref;
struct md_desc___signed { __s64 mark; __s32 hash; __s8 vlan_tci; __s32 hash_type; } __ref;

struct plain {
	__u64 rx_timestamp;
	__u32 hash, hash_type, csum, csum_status, mark;
	__u16 vlan_tci, vlan_proto;
};

#define barrier_var(var) asm volatile("" : "+r"(var))
#define barrier() asm volatile("" ::: "memory")

volatile struct plain plain;
volatile __u64 in[8] = { 3, 0x123456789abcdef, 1, 77, 0xffffffff, 0x80, 12, 5 };
volatile __u64 bad[64];

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} nowhere SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} cells SEC(".maps");
`

// randomField is a field, and as what else flavours have it.
type randomField struct {
	name    string
	bytes   int
	flavour map[string]string // the type in each
}

var randomFields = []randomField{
	{"mark", 4, map[string]string{"wide": "__u64", "narrow": "__u8", "signed": "__s64"}},
	{"hash", 4, map[string]string{"wide": "__u64", "narrow": "__u16", "signed": "__s32"}},
	{"vlan_tci", 2, map[string]string{"wide": "__u64", "narrow": "__u8", "signed": "__s8"}},
	{"hash_type", 4, map[string]string{"wide": "__u64", "narrow": "__u16", "signed": "__s32"}},
	{"vlan_proto", 2, nil},
	{"csum_status", 4, nil},
	{"csum", 4, nil},
	{"rx_timestamp", 8, nil},
}

// driverGenerator makes programs that read a driver's descriptor.
type driverGenerator struct {
	*rand.Rand
	tc     bool
	number int

	functions twin // of the program so far
	named     int

	variables int  // v0 and so on, in the function that is being made
	depth     int  // of statements
	loops     int  // around the statement
	hasCtx    bool // the function has
	inside    bool // of a subprogram or callback
	md        string
	kept      bool // there is a copy
}

func (g *driverGenerator) one(of ...string) string { return of[g.IntN(len(of))] }
func (g *driverGenerator) often(in int) bool       { return g.IntN(in) > 0 }

func (g *driverGenerator) variable() string { return fmt.Sprintf("v%d", g.IntN(g.variables)) }

func (g *driverGenerator) context() string {
	if g.tc {
		return "struct __sk_buff *"
	}
	return "struct xdp_md *"
}

// field is a read of a field.
func (g *driverGenerator) field() twin {
	f := randomFields[g.IntN(len(randomFields))]
	if g.often(3) {
		f = randomFields[g.IntN(3)]
	}
	switch kind := g.IntN(8); {
	case kind == 0 && f.flavour != nil:
		flavour := g.one("wide", "narrow", "signed")
		return twin{
			fmt.Sprintf("((struct md_desc___%s *)%s)->%s", flavour, g.md, f.name),
			fmt.Sprintf("((%s)plain.%s)", f.flavour[flavour], f.name),
		}
	case kind == 1:
		n := g.IntN(f.bytes)
		return twin{fmt.Sprintf("((__u8 *)&%s->%s)[%d]", g.md, f.name, n), fmt.Sprintf("((__u8)(plain.%s >> %d))", f.name, 8*n)}
	case kind == 2 && f.bytes > 2:
		n := g.IntN(f.bytes / 2)
		return twin{fmt.Sprintf("((__u16 *)&%s->%s)[%d]", g.md, f.name, n), fmt.Sprintf("((__u16)(plain.%s >> %d))", f.name, 16*n)}
	case kind == 3 && g.kept:
		return twin{"kept." + f.name, "plain." + f.name}
	}
	return twin{g.md + "->" + f.name, "plain." + f.name}
}

// value is an expression.
func (g *driverGenerator) value(depth int) twin {
	if depth <= 0 {
		switch g.IntN(6) {
		case 0:
			return same("%#x", g.Uint32()>>g.IntN(32))
		case 1:
			return same("in[%d]", g.IntN(8))
		case 2, 3:
			return same("%s", g.variable())
		}
		return g.field()
	}
	a, b := g.value(depth-1), g.value(depth-1)
	switch g.IntN(10) {
	case 0:
		return with("(%s ? %s : %s)", g.condition(), a, b)
	case 1:
		return with(fmt.Sprintf("((%s)%%s)", g.one("__u8", "__u16", "__u32", "__s32", "__s16", "__s64")), a)
	case 2:
		return with(fmt.Sprintf("((__u64)%%s %s %d)", g.one("<<", ">>"), g.IntN(40)), a)
	case 3:
		return with(fmt.Sprintf("(%%s %s %d)", g.one("%%", "/"), 1+g.IntN(100)), with("(__u64)%s", a))
	}
	return with(fmt.Sprintf("(%%s %s %%s)", g.one("+", "-", "^", "|", "&", "*")), a, b)
}

func (g *driverGenerator) condition() twin {
	switch g.IntN(4) {
	case 0:
		return with(fmt.Sprintf("((__u64)%%s & %d)", 1<<g.IntN(10)), g.field())
	case 1:
		return with(fmt.Sprintf("((__u64)%%s %s (__u64)%%s)", g.one("<", ">=", "==", ">")), g.field(), g.value(0))
	case 2:
		return with("((__s64)%s < (__s64)%s)", g.value(0), g.field())
	}
	return same("(%s & %d)", g.variable(), 1<<g.IntN(6))
}

// block is some statements.
func (g *driverGenerator) block(count int) (all twin) {
	g.depth++
	for range count {
		all.add(g.statement())
	}
	g.depth--
	return all
}

func (g *driverGenerator) statement() twin {
	v := g.variable()
	nested := g.depth < 4
	switch kind := g.IntN(26); {
	case kind < 7:
		return with(fmt.Sprintf("%s %s= %%s;\n", v, g.one("", "+", "^", "-", "*", "|")), g.value(1+g.IntN(2)))
	case kind == 7 && nested:
		return with("if (%s) {\n%s} else {\n%s}\n", g.condition(), g.block(1+g.IntN(3)), g.block(1+g.IntN(2)))
	case kind == 8 && nested:
		return with("if (%s) {\n%s}\n", g.condition(), g.block(1+g.IntN(3)))
	case kind == 9 && nested && g.loops == 0:
		return g.loop()
	case kind == 10:
		return g.chosenAddress(v)
	case kind == 11:
		return with(v+" += %s ? %s : %s;\n", g.condition(), g.field(), g.field())
	case kind == 12:
		return twin{"bpf_get_prandom_u32();\n", ""}
	case kind == 13:
		return same("barrier_var(%s);\n", v)
	case kind == 14:
		return twin{"barrier();\n", ""}
	case kind == 15 && nested:
		return g.choices(v)
	case kind == 16:
		return g.buffer(v)
	case kind == 17:
		return g.cell(v)
	case kind == 18 && g.hasCtx && !g.inside && g.loops == 0:
		return g.again()
	case kind < 22 && g.named < 4 && g.loops == 0 && !g.inside:
		return g.subprogram(v)
	case kind == 22 && g.named < 4 && g.loops == 0 && !g.inside:
		return g.callback(v)
	case kind == 23 && !g.kept && !g.inside && g.depth == 1:
		g.kept = true
		return twin{"struct md_desc kept;\nmd_desc_copy(&kept, md);\n", ""}
	case kind == 24:
		return with("__sync_fetch_and_add(&cell, (__u64)%s);\n"+v+" ^= cell;\n", g.field())
	}
	return with(v+" += %s;\n", g.field())
}

func (g *driverGenerator) loop() twin {
	g.loops++
	defer func() { g.loops-- }()
	head := fmt.Sprintf("for (int i = 0; i < %d; i++) {\n", 2+g.IntN(4))
	if g.often(2) {
		head = "_Pragma(\"clang loop unroll(disable)\")\n" + head
	}
	body := g.block(1 + g.IntN(3))
	switch g.IntN(4) {
	case 0:
		body.add(with("if (%s)\nbreak;\n", g.condition()))
	case 1:
		body = with("if (%s)\ncontinue;\n%s", g.condition(), body)
	}
	return with(head+"%sv0 += i;\n}\n", body)
}

func (g *driverGenerator) chosenAddress(v string) twin {
	a, b := g.one("mark", "hash", "csum", "hash_type"), g.one("mark", "hash", "csum_status")
	c := g.condition()
	return twin{
		fmt.Sprintf("%s ^= *(%s ? &%s->%s : &%s->%s);\n", v, c.real, g.md, a, g.md, b),
		fmt.Sprintf("%s ^= %s ? plain.%s : plain.%s;\n", v, c.plain, a, b),
	}
}

func (g *driverGenerator) choices(v string) twin {
	all := with("switch ((__u64)%s & 3) {\n", g.value(0))
	for n := range 3 {
		all.add(with(fmt.Sprintf("case %d: %s %s= %%s; break;\n", n, v, g.one("+", "^", "")), g.value(1)))
	}
	all.add(with("default: "+v+" -= %s;\n}\n", g.field()))
	return all
}

// buffer has some values on the stack.
func (g *driverGenerator) buffer(v string) twin {
	size := 1 << (1 + g.IntN(4))
	mask := size - 1
	if g.IntN(3) == 0 && g.loops == 0 {
		const filled = "{\n__u64 b[%d];\n_Pragma(\"clang loop unroll(disable)\")\nfor (int k = 0; k < %d; k++) {\nbarrier_var(%s);\nb[k] = %%s + k;\n}\n%s += b[%%s & %d];\n}\n"
		return with(fmt.Sprintf(filled, size, size, v, v, mask), g.value(0), g.field())
	}
	text := fmt.Sprintf("{\n__u64 b[%d] = { 0 };\nb[%%s & %d] = %%s;\nb[%%s & %d] ^= %%s;\n%s += b[%d] + b[%%s & %d];\n}\n", size, mask, mask, v, g.IntN(size), mask)
	return with(text, g.value(0), g.value(0), g.field(), g.value(1), g.field())
}

// cell passes a value through a map.
func (g *driverGenerator) cell(v string) twin {
	key, value := g.value(0), g.value(1)
	return twin{
		fmt.Sprintf("{\n__u32 key = %s & 3;\n__u64 *c = bpf_map_lookup_elem(&cells, &key);\nif (c) {\n*c = %s;\n%s += *c;\n}\n}\n", key.real, value.real, v),
		fmt.Sprintf("%s += %s;\n", v, value.plain),
	}
}

// again moves the packet, or not, and finds the descriptor once more.
func (g *driverGenerator) again() twin {
	moves := []string{"", "bpf_tail_call(ctx, &nowhere, 0);\n"}
	if g.tc {
		moves = append(moves, "bpf_skb_pull_data(ctx, 20);\n")
	} else {
		moves = append(moves, "if (bpf_xdp_adjust_head(ctx, 2))\nreturn 0;\n", "if (bpf_xdp_adjust_meta(ctx, -8))\nreturn 0;\n")
	}
	return twin{g.one(moves...) + "md = md_desc(ctx);\nif (!md)\nreturn 0;\n", ""}
}

// inner makes the statements of another function.
func (g *driverGenerator) inner(variables int, md string, hasCtx bool, count int) twin {
	outer := *g
	g.variables, g.md, g.hasCtx, g.inside, g.loops, g.depth, g.kept = variables, md, hasCtx, true, 0, 2, false
	body := g.block(count)
	outer.functions, outer.named = g.functions, g.named
	*g = outer
	return body
}

// subprogram calls a function of its own.
func (g *driverGenerator) subprogram(v string) twin {
	g.named++
	name := fmt.Sprintf("s%d_%d", g.number, g.named)
	most := 5
	if g.tc {
		most = 4 // and room for ctx
	}
	values := 1 + g.IntN(most-1)
	withCtx := g.IntN(3) == 0 && g.hasCtx && values < most-1
	finds := withCtx && g.IntN(2) == 0
	var parameters, arguments, plainParameters, plainArguments []string
	for n := range values {
		parameters = append(parameters, fmt.Sprintf("__u64 v%d", n))
		arguments = append(arguments, g.variable())
	}
	plainParameters, plainArguments = append(plainParameters, parameters...), append(plainArguments, arguments...)
	put := func(parameter, argument string) {
		at := g.IntN(len(parameters) + 1)
		parameters = append(parameters[:at], append([]string{parameter}, parameters[at:]...)...)
		arguments = append(arguments[:at], append([]string{argument}, arguments[at:]...)...)
	}
	if withCtx {
		put(g.context()+"ctx", "ctx")
	}
	start := ""
	if finds {
		start = "struct md_desc *md = md_desc(ctx);\nif (!md)\nreturn 0;\n"
	} else {
		put("struct md_desc *md", g.md)
	}
	body := g.inner(values, "md", withCtx, 1+g.IntN(4))
	result := "return v0"
	for n := 1; n < values; n++ {
		result += fmt.Sprintf(" * 31 + v%d", n)
	}
	g.functions.add(twin{
		fmt.Sprintf("static NOINLINE __u64 %s(%s)\n{\n__u64 cell = 0;\n%s%spackets += 0;\n%s;\n}\n", name, strings.Join(parameters, ", "), start, body.real, result),
		fmt.Sprintf("static NOINLINE __u64 r%s(%s)\n{\n__u64 cell = 0;\n%spackets += 0;\n%s;\n}\n", name, strings.Join(plainParameters, ", "), body.plain, result),
	})
	// Of a result that nobody uses clang makes whatever is in r0, an address in the stack too.
	const call = "{\n__u64 x = %s(%s);\nbarrier_var(x);\n%s += x;\n}\n"
	return twin{
		fmt.Sprintf(call, name, strings.Join(arguments, ", "), v),
		fmt.Sprintf(call, "r"+name, strings.Join(plainArguments, ", "), v),
	}
}

// callback calls bpf_loop(), with the descriptor in what the callback is given, or ctx.
func (g *driverGenerator) callback(v string) twin {
	g.named++
	name := fmt.Sprintf("c%d_%d", g.number, g.named)
	finds := g.hasCtx && g.IntN(3) == 0
	declare, find, give := "struct md_desc *md;", "", ".md = md"
	md := "d->md"
	if finds {
		declare, find, give, md = g.context()+"ctx;", "struct md_desc *md = md_desc(d->ctx);\nif (!md)\nreturn 1;\n", ".ctx = ctx", "md"
	} else if g.IntN(2) == 0 {
		find, md = "struct md_desc *md = d->md;\n", "md"
	}
	if g.md != "md" {
		give = ".md = " + g.md
	}
	order := []string{declare, "__u64 v0, v1;"}
	if g.IntN(2) == 0 {
		order[0], order[1] = order[1], order[0]
	}
	body := g.inner(2, md, false, 1+g.IntN(3))
	turns := 1 + g.IntN(4)
	g.functions.add(twin{
		fmt.Sprintf("struct %s { %s };\nstatic long %s(__u32 i, void *p)\n{\nstruct %s *d = p;\n__u64 cell = 0, v0 = d->v0, v1 = d->v1;\n%s%sd->v0 = v0 + i;\nd->v1 = v1;\nreturn 0;\n}\n",
			name, strings.Join(order, " "), name+"_f", name, find, body.real),
		fmt.Sprintf("static NOINLINE __u64 r%s(__u64 v0, __u64 v1)\n{\n_Pragma(\"clang loop unroll(disable)\")\nfor (int i = 0; i < %d; i++) {\n__u64 cell = 0;\n%sv0 += i;\n}\nreturn v0 ^ v1;\n}\n",
			name, turns, body.plain),
	})
	a, b := g.variable(), g.variable()
	return twin{
		fmt.Sprintf("{\nstruct %s d = { %s, .v0 = %s, .v1 = %s };\nbpf_loop(%d, %s_f, &d, 0);\n%s += d.v0 ^ d.v1;\n}\n", name, give, a, b, turns, name, v),
		fmt.Sprintf("%s += r%s(%s, %s);\n", v, name, a, b),
	}
}

// program makes program number n. It leaves its number in bad if it is wrong.
func (g *driverGenerator) program(n int) string {
	g.number, g.functions, g.named = n, twin{}, 0
	g.variables, g.md, g.hasCtx, g.inside, g.loops, g.depth, g.kept = 1+g.IntN(9), "md", true, false, 0, 0, false
	var start, result string
	for v := range g.variables {
		start += fmt.Sprintf("__u64 v%d = in[%d] * %d;\n", v, g.IntN(8), 1+g.IntN(1000))
		result += fmt.Sprintf(" * 31 + v%d", v)
	}
	late := g.IntN(3) == 0
	body := g.block(2 + g.IntN(7))
	find := "struct md_desc *md = md_desc(ctx);\n"
	test := "if (!md)\nreturn 0;\n"
	if late {
		test = "bpf_get_prandom_u32();\n" + test
	}
	if g.IntN(2) == 0 {
		start, find = find+start, ""
	}
	section := "xdp"
	if g.tc {
		section = "tc"
	}
	return fmt.Sprintf(`
%s%s
static NOINLINE __u64 r%d(void)
{
__u64 cell = 0;
%s%spackets += 0;
return 0%s;
}
SEC("%s") int p%d(%sctx)
{
__u64 cell = 0;
%s%s%s%s
__u64 real = 0%s;
if (real != r%d())
bad[%d]++;
seen[MARK]++;
return %s;
}
`, g.functions.real, g.functions.plain, n, strings.ReplaceAll(start, "struct md_desc *md = md_desc(ctx);\n", ""), body.plain, result,
		section, n, g.context(), start, find, test, body.real, result, n, n, map[bool]string{false: "XDP_PASS", true: "0"}[g.tc])
}

// dispatcher is the program that is attached: it goes on to another one with each packet.
func randomDispatcher(tc bool, programs []int) string {
	ctx, section := "struct xdp_md *", "xdp"
	if tc {
		ctx, section = "struct __sk_buff *", "tc"
	}
	var values []string
	for i, n := range programs {
		values = append(values, fmt.Sprintf("[%d] = (void *)&p%d", i, n))
	}
	return fmt.Sprintf(`
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, %d);
	__type(key, __u32);
	__array(values, int (%s));
} programs SEC(".maps") = { .values = { %s } };

SEC("%s") int program(%sctx)
{
	struct md_desc *md = md_desc(ctx);

	expect(ctx);
	if (!md)
		return 0;
	plain.mark = want[MARK];
	plain.hash = want[HASH];
	plain.vlan_tci = want[TCI];
	plain.vlan_proto = want[PROTO];
	plain.rx_timestamp = md->rx_timestamp;
	plain.hash_type = md->hash_type;
	plain.csum = md->csum;
	plain.csum_status = md->csum_status;
	bpf_tail_call(ctx, &programs, packets %% %d);
	wrong[MARK]++;
	return 0;
}
`, max(1, len(programs)), ctx, strings.Join(values, ", "), section, ctx, max(1, len(programs)))
}

package rewrite_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// numberAccessors compute numbers of the descriptor's address alone.
const numberAccessors = `
	#include <linux/types.h>
	#define FIELD(type, name) static __attribute__((noinline, used)) type md_field_##name(__u64 desc) { return desc; }
	static __attribute__((noinline, used)) void *md_descriptor(struct xdp_buff *xdp) { return (void *)0x1234; }
	FIELD(__u64, rx_timestamp) FIELD(__u32, hash) FIELD(__u32, hash_type) FIELD(__u32, csum) FIELD(__u32, csum_status)
	FIELD(__u16, vlan_tci) FIELD(__u16, vlan_proto) FIELD(__u32, mark)`

func accessorsOfNumbers(t *testing.T) []*rewrite.Accessors {
	accessors := &rewrite.Accessors{
		Name: "number", Object: costCompile(t, "clang-19", numberAccessors, "el", "v3"), Context: "xdp_buff",
		Descriptor: rewrite.Accessor{Function: "md_descriptor"}, Fields: make(map[string]rewrite.Accessor),
	}
	for _, field := range strings.Fields("rx_timestamp hash hash_type csum csum_status vlan_tci vlan_proto mark") {
		accessors.Fields[field] = rewrite.Accessor{Function: "md_field_" + field, From: "the descriptor's address"}
	}
	return []*rewrite.Accessors{accessors}
}

// numberProgram is a program that does something with the descriptor of a driver.
type numberProgram struct {
	source  string // functions and data before the program
	program string // what it does before it passes the packet
	whole   string // or all of the program

	line    int    // of the source that is refused, counted from that of program, or whole, as 1; 0 if it is not
	refused string // a part of the reason
	inFront bool   // the line is counted from that of source
	loads   bool   // if nothing is said, the kernel takes it
}

func (f numberProgram) C() string {
	program := `SEC("xdp") int program(struct xdp_md *ctx)
{
#line 1
` + f.program + `
	return XDP_PASS;
}`
	if f.whole != "" {
		program = "#line 1\n" + f.whole
	}
	return `
		#include <linux/bpf.h>
		#include "../../bpf/md_desc.h"
		char _license[] SEC("license") = "GPL";
		#define OPAQUE(value) asm volatile("" : "+r"(value) : : "memory")
		#define NOINLINE static __attribute__((noinline))
		struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } values SEC(".maps");
		struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u32); } programs SEC(".maps");
		__u64 in, out;
#line 1001
` + f.source + "\n" + program
}

func (f numberProgram) check(t *testing.T) {
	t.Helper()
	t.Parallel()
	netlab.NeedRoot(t)
	needTools(t, "clang-14", "clang-16", "clang-19", "clang-22")
	accessors := accessorsOfNumbers(t)
	for _, by := range strangeCompilers {
		t.Run(by.String(), func(t *testing.T) { f.checkBy(t, by, accessors) })
	}
}

func (f numberProgram) checkBy(t *testing.T, by pairCompiler, accessors []*rewrite.Accessors) {
	object := costCompile(t, fmt.Sprintf("clang-%d", by.version), f.C(), "el", by.cpu)
	rewritten, _, err := rewrite.RewriteForDriver(object, accessors, rewrite.Options{})
	var refused *rewrite.RefusedError
	switch {
	case errors.As(err, &refused) && f.line > 0:
		f.compare(t, refused)
		if rewritten, _, err = rewrite.RewriteForDriver(object, accessors, rewrite.Unjudged(rewrite.Options{})); !f.loads {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	case err != nil:
		t.Fatalf("%v\n%v", err, details(refused))
	case f.line > 0:
		t.Fatal("is not refused")
	}
	loaded, err := ebpf.NewCollection(kernelSpec(t, rewritten))
	if err != nil {
		t.Fatalf("does not load: %+v", err)
	}
	loaded.Close()
}

func details(refused *rewrite.RefusedError) string {
	if refused == nil {
		return ""
	}
	return refused.Details()
}

func (f numberProgram) compare(t *testing.T, refused *rewrite.RefusedError) {
	line := f.line
	if f.inFront {
		line += 1000
	}
	for _, refusal := range refused.Refusals {
		if strings.Contains(refusal.Reason, f.refused) && refusal.Access.Source.Line == uint32(line) {
			if len(refused.Refusals) > 1 {
				t.Logf("also refused:\n%v\n%s", refused, refused.Details())
			}
			return
		}
	}
	t.Errorf("is refused for something else:\n%v\n%s", refused, refused.Details())
}

func checkNumbers(t *testing.T, programs map[string]numberProgram) {
	for name, f := range programs {
		t.Run(name, f.check)
	}
}

const (
	getNumber  = "struct md_desc *md = md_desc(ctx);\n"
	testNumber = getNumber + "if (!md) return XDP_DROP;\n"
	mayBeNull  = "the descriptor may be NULL here, as a path leads here on which it is not tested"
)

// A descriptor that may be NULL is not read.
func TestNumberUntested(t *testing.T) {
	t.Parallel()
	checkNumbers(t, map[string]numberProgram{
		"not at all":             {program: getNumber + `out = md->hash;`, line: 2, refused: mayBeNull, loads: true},
		"on one path":            {program: getNumber + `if (in & 1 && !md) return XDP_DROP;` + "\nout = md->hash;", line: 3, refused: mayBeNull, loads: true},
		"where it is NULL":       {program: getNumber + "if (md) { out = 1; return XDP_PASS; } OPAQUE(md);\nout = md->hash;", line: 3, refused: "nowhere"},
		"another one":            {program: testNumber + "OPAQUE(ctx); struct md_desc *again = md_desc(ctx);\nout = again->hash;", line: 4, refused: mayBeNull, loads: true},
		"in a function":          {source: `NOINLINE __u64 hash(struct md_desc *md) { OPAQUE(md); return md->hash; }`, program: getNumber + `out = hash(md);`, line: 1, inFront: true, refused: mayBeNull, loads: true},
		"in a function, once":    {source: `NOINLINE __u64 hash(struct md_desc *md) { OPAQUE(md); return md->hash; }`, program: getNumber + `if (in & 1) { out = hash(md); } else if (md) { OPAQUE(md); out = hash(md) + 1; }`, line: 1, inFront: true, refused: mayBeNull, loads: true},
		"of a function":          {source: `NOINLINE struct md_desc *get(struct xdp_md *ctx) { return md_desc(ctx); }`, program: "struct md_desc *md = get(ctx);\nout = md->hash;", line: 2, refused: mayBeNull, loads: true},
		"the address of a field": {program: getNumber + "__u32 *at = in & 1 ? &md->hash : &md->mark;\nout = *at;", line: 3, refused: mayBeNull, loads: true},
		"in a callback":          {source: callbackSource("out += args->md->hash;"), program: getNumber + callbackProgram, line: 3, inFront: true, refused: mayBeNull, loads: true},
		"in a callback's other data": {source: callbackSource("out += args->md->hash;"),
			program: testNumber + callbackProgram + `struct args none = { ctx, md_desc(ctx) }; bpf_loop(4, callback, &none, 0);`, line: 3, inFront: true, refused: mayBeNull, loads: true},
		"in a function's other data": {source: functionSource,
			program: testNumber + functionProgram + `struct args none = { ctx, md_desc(ctx) }; out += read(&none);`, line: 3, inFront: true, refused: mayBeNull, loads: true},
		"in a loop that renews it":             {program: testNumber + "for (int i = 0; i < 10; i++) {\nout += md->hash;\nOPAQUE(ctx); md = md_desc(ctx);\n}", line: 4, refused: mayBeNull, loads: true},
		"kept on the stack":                    {program: "struct md_desc *volatile md = md_desc(ctx);\nbpf_ktime_get_ns();\nout = md->hash;", line: 3, refused: mayBeNull, loads: true},
		"in front of an array that is written": {program: testNumber + "struct { struct md_desc *md; __u64 all[4]; } s = { md, { in, in } }; __u64 *at = s.all; OPAQUE(at);\ns.all[(long)(in & 3) - 1] = in; OPAQUE(at);\nout = s.md->hash;", line: 5, refused: "nothing tells whether the descriptor was tested, and is still that of the packet"},
		"in an array that is written":          {program: testNumber + "__u64 all[4] = { in, (__u64)md, in, in }, *at = all; OPAQUE(at);\nall[in & 3] = in; OPAQUE(at);\nout = ((struct md_desc *)all[1])->hash;", line: 5, refused: "nothing tells whether the descriptor was tested, and is still that of the packet"},
		"tested only in a function":            {source: `NOINLINE int test(struct md_desc *md) { OPAQUE(md); return md != 0; }`, program: getNumber + "out = test(md);\nout += md->hash;", line: 3, refused: mayBeNull, loads: true},
	})
}

// callbackSource is a callback that gets ctx and the descriptor, in its third line.
func callbackSource(body string) string {
	return `struct args { struct xdp_md *ctx; struct md_desc *md; };
NOINLINE int callback(__u32 i, struct args *args) {
` + body + `
return 0; }`
}

const callbackProgram = `struct args args = { ctx, md };
bpf_loop(4, callback, &args, 0);`

const functionSource = `struct args { struct xdp_md *ctx; struct md_desc *md; };
NOINLINE __u64 read(struct args *args) { OPAQUE(args);
return args->md->hash; }`

const functionProgram = `struct args args = { ctx, md };
out = read(&args);`

const moved = "the descriptor is from before bpf_xdp_adjust_head"

// A descriptor is not read after the packet has moved.
func TestNumberMoved(t *testing.T) {
	t.Parallel()
	const move = "if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP;\n"
	checkNumbers(t, map[string]numberProgram{
		"at once":           {program: testNumber + move + `out = md->hash;`, line: 4, refused: moved, loads: true},
		"where that failed": {program: testNumber + "if (bpf_xdp_adjust_head(ctx, 4))\nout = md->hash;", line: 4, refused: moved, loads: true},
		"on one path":       {program: testNumber + "if (in & 1) {\n" + move + "}\nout = md->hash;", line: 6, refused: moved, loads: true},
		"the metadata area": {program: testNumber + "if (bpf_xdp_adjust_meta(ctx, 4)) return XDP_DROP;\nout = md->hash;", line: 4, refused: "the descriptor is from before bpf_xdp_adjust_meta", loads: true},
		"the tail":          {program: testNumber + "if (bpf_xdp_adjust_tail(ctx, -4)) return XDP_DROP;\nout = md->hash;", line: 4, refused: "the descriptor is from before bpf_xdp_adjust_tail", loads: true},
		"by a kfunc":        {source: "extern int bpf_xdp_pull_data(struct xdp_md *, __u32) __ksym __weak;", program: testNumber + "if (bpf_xdp_pull_data(ctx, 4)) return XDP_DROP;\nout = md->hash;", line: 4, refused: "the descriptor is from before bpf_xdp_pull_data", loads: true},
		"in a loop":         {program: testNumber + "for (int i = 0; i < 10; i++) {\nout += md->hash;\n" + move + "}", line: 4, refused: moved, loads: true},
		"by a function":     {source: `NOINLINE int move(struct xdp_md *ctx) { return bpf_xdp_adjust_head(ctx, 4); }`, program: testNumber + "if (move(ctx)) return XDP_DROP;\nout = md->hash;", line: 4, refused: moved, loads: true},
		"by a function of a function": {source: `NOINLINE int move(struct xdp_md *ctx) { return bpf_xdp_adjust_head(ctx, 4); }
NOINLINE int maybe(struct xdp_md *ctx) { if (in & 1) return 0; return move(ctx) + 1; }`, program: testNumber + "out = maybe(ctx);\nout = md->hash;", line: 4, refused: moved, loads: true},
		"by a global function": {source: `__attribute__((noinline)) int move(struct xdp_md *ctx) { return bpf_xdp_adjust_head(ctx, 4); }`, program: testNumber + "if (move(ctx)) return XDP_DROP;\nout = md->hash;", line: 4, refused: "the descriptor is from before the global function move", loads: true},
		"in a function":        {source: "NOINLINE __u64 hash(struct xdp_md *ctx, struct md_desc *md) {\nif (bpf_xdp_adjust_head(ctx, 4)) return 0;\nreturn md->hash; }", program: testNumber + `out = hash(ctx, md);`, line: 3, inFront: true, refused: moved, loads: true},
		"before a function":    {source: "NOINLINE __u64 hash(struct md_desc *md) { OPAQUE(md);\nreturn md->hash; }", program: testNumber + move + `out = hash(md);`, line: 2, inFront: true, refused: moved, loads: true},
		"in a callback":        {source: callbackSource("out += args->md->hash;\nbpf_xdp_adjust_head(args->ctx, 1);"), program: testNumber + callbackProgram, line: 3, inFront: true, refused: moved},
		"in a callback's other data": {source: callbackSource("out += args->md->hash;"),
			program: testNumber + callbackProgram + move + `struct args stale = { ctx, md }; bpf_loop(4, callback, &stale, 0);`, line: 3, inFront: true, refused: moved, loads: true},
		"by a callback":                {source: callbackSource("bpf_xdp_adjust_head(args->ctx, 1);"), program: testNumber + callbackProgram + "\nout = md->hash;", line: 5, refused: moved},
		"by a tail call of a function": {source: `NOINLINE int other(struct xdp_md *ctx) { bpf_tail_call(ctx, &programs, 0); return 0; }`, program: testNumber + "out = other(ctx);\nout += md->hash;", line: 4, refused: "the descriptor is from before bpf_tail_call", loads: true},
	})
}

// A descriptor is only tested, read, and passed to static functions.
func TestNumberMisused(t *testing.T) {
	t.Parallel()
	checkNumbers(t, map[string]numberProgram{
		"compared with the packet":    {program: testNumber + "if ((void *)md > (void *)(long)ctx->data) return XDP_DROP;", line: 3, refused: "the descriptor is compared with something else than NULL"},
		"its end, with the packet":    {program: testNumber + "if ((void *)md + 32 > (void *)(long)ctx->data) return XDP_DROP;", line: 3, refused: "the descriptor is computed with"},
		"compared with another":       {program: testNumber + "OPAQUE(ctx); struct md_desc *again = md_desc(ctx);\nif (again == md) out = 1;", line: 4, refused: "the descriptor is compared with something else than NULL", loads: true},
		"compared with a number":      {program: testNumber + "__u64 n = (__u64)md; OPAQUE(n);\nif (n == 77) out = 1;", line: 4, refused: "the descriptor is compared with something else than NULL", loads: true},
		"added to":                    {program: testNumber + "__u64 n = (__u64)md; OPAQUE(n);\nout = n + in;", line: 4, refused: "the descriptor is computed with", loads: true},
		"subtracted":                  {program: testNumber + "OPAQUE(ctx); struct md_desc *again = md_desc(ctx);\nout = (long)again - (long)md;", line: 4, refused: "the descriptor is computed with", loads: true},
		"hashed":                      {program: testNumber + "out = (__u64)md * 11;", line: 3, refused: "the descriptor is computed with", loads: true},
		"cut":                         {program: testNumber + "__u64 n = (__u64)md; OPAQUE(n);\nout = (__u32)n;", line: 4, loads: true},
		"kept in a map":               {program: testNumber + "__u32 key = 0; __u64 *value = bpf_map_lookup_elem(&values, &key); if (!value) return XDP_DROP;\n*value = (__u64)md;", line: 4, refused: "the descriptor's address is stored outside of the stack", loads: true},
		"kept in data":                {program: testNumber + "out = (__u64)md;", line: 3, refused: "the descriptor's address is stored outside of the stack", loads: true},
		"passed to a helper":          {program: testNumber + "bpf_csum_diff(0, 0, (void *)md, 4, 0);", line: 3, refused: "passed"},
		"in a map value on the stack": {program: testNumber + "__u32 key = 0; __u64 value = (__u64)md;\nbpf_map_update_elem(&values, &key, &value, 0);", line: 4, refused: "the descriptor's address is in memory that is passed to bpf_map_update_elem", loads: true},
		"to a global function":        {source: `__attribute__((noinline)) int take(__u64 n) { return n & 1; }`, program: testNumber + "out = take((__u64)md);", line: 3, refused: "the global function take", loads: true},
		"within, to a global function": {source: "struct pair { __u64 a, b; };\n__attribute__((noinline)) int take(struct pair *pair) { return pair ? pair->a & 1 : 0; }",
			program: testNumber + "struct pair pair = { 1, (__u64)md }; OPAQUE(ctx);\nout = take(&pair);", line: 4, refused: "the descriptor's address is in memory that is passed to the global function take"},
		"exchanged":                     {program: testNumber + "__sync_fetch_and_add(&out, (__u64)md);", line: 3, refused: "the descriptor's address goes into an atomic operation", loads: true},
		"returned":                      {whole: "SEC(\"xdp\") int program(struct xdp_md *ctx) { struct md_desc *md = md_desc(ctx);\nreturn (long)md;\n}", line: 2},
		"returned by a global function": {source: "__attribute__((noinline)) __u64 get(struct xdp_md *ctx) { \nreturn (__u64)md_desc(ctx);\n}", program: `out = get(ctx);`, line: 2, inFront: true, refused: "the descriptor's address is returned to the kernel"},
		"given to a callback":           {source: "NOINLINE int callback(__u32 i, void *md) { return 0; }", program: testNumber + "bpf_loop(4, callback, md, 0);", line: 3, refused: "passed"},
	})
}

// What the verifier takes of a pointer into the metadata area it takes of a descriptor.
func TestNumberOrdinary(t *testing.T) {
	t.Parallel()
	const again = "md = md_desc(ctx); if (!md) return XDP_DROP;\n"
	checkNumbers(t, map[string]numberProgram{
		"a test and a read":        {program: getNumber + `if (md && md->hash % 4 == 1) return XDP_DROP;`},
		"an early return":          {program: testNumber + `out = md->hash + md->mark;`},
		"an else":                  {program: getNumber + `if (!md) out = 1; else out = md->hash;`},
		"two conditions":           {program: getNumber + `if (in & 1 && md && in & 2) out = md->hash; else if (md) out = md->mark;`},
		"a choice":                 {program: getNumber + `out = md ? md->hash : 7;`},
		"many tests":               {program: getNumber + `if (md && md->hash == 1) out = 1; if (md && md->mark == 2) out = 2; if (md && md->csum == 3) out = 3;`},
		"over a call":              {program: getNumber + `__u64 now = bpf_ktime_get_ns(); if (md) out = md->rx_timestamp - now;`},
		"kept on the stack":        {program: "struct md_desc *volatile md = md_desc(ctx); struct md_desc *m = md; bpf_ktime_get_ns(); if (m) out = m->hash;"},
		"tested there":             {program: getNumber + `struct md_desc *volatile kept = md; if (!md) return XDP_DROP; out = kept->hash;`},
		"many values":              {program: testNumber + `__u64 a = bpf_ktime_get_ns(), b = bpf_ktime_get_ns(), c = bpf_ktime_get_ns(), d = bpf_ktime_get_ns(), e = bpf_ktime_get_ns(); bpf_ktime_get_ns(); out = md->hash + a * b + c * d + e; bpf_ktime_get_ns(); out += md->mark + a + b + c + d + e;`},
		"a flag":                   {program: getNumber + `int have = 0; if (md) { have = 1; out = md->mark; } bpf_ktime_get_ns(); OPAQUE(have); if (have) out += md->hash;`},
		"a number of states":       {program: getNumber + `int state = 0; if (md) { state = 1; if (md->mark) state = 2; } bpf_ktime_get_ns(); OPAQUE(state); if (state == 2) out = md->hash; else if (state) out = md->csum;`},
		"asked only sometimes":     {program: `struct md_desc *md = in & 1 ? md_desc(ctx) : 0; bpf_ktime_get_ns(); if (md) out = md->hash;`},
		"asked on two paths":       {program: `struct md_desc *md; if (in & 1) { out = 1; md = md_desc(ctx); } else { bpf_ktime_get_ns(); md = md_desc(ctx); } if (md) out = md->hash;`},
		"asked twice":              {program: testNumber + `OPAQUE(ctx); struct md_desc *other = md_desc(ctx); if (other) out = other->hash + md->mark;`},
		"asked again":              {program: testNumber + "out = md->mark; if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP;\n" + again + `out = md->hash;`},
		"asked again in a loop":    {program: testNumber + "for (int i = 0; i < 4; i++) { out += md->hash; if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP;\n" + again + `}`},
		"tested after it moved":    {program: getNumber + `if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP; if (!md) return XDP_DROP; out = 1;`},
		"moved on another path":    {program: testNumber + `if (in & 1) { bpf_xdp_adjust_head(ctx, 4); return XDP_TX; } out = md->hash;`},
		"read before it moves":     {program: getNumber + `__u32 hash = md ? md->hash : 0; if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP; out = hash;`},
		"moved if not there":       {program: getNumber + `if (!md && bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP; if (md) out = md->hash;`},
		"in a loop":                {program: testNumber + `for (int i = 0; i < 100; i++) { bpf_ktime_get_ns(); out += md->hash; }`},
		"tested in a loop":         {program: getNumber + `for (int i = 0; i < 100; i++) { bpf_ktime_get_ns(); if (md) out += md->hash; }`},
		"a tail call that fails":   {program: testNumber + `bpf_tail_call(ctx, &programs, 0); out = md->hash;`},
		"the address of a field":   {program: testNumber + `__u32 *at = in & 1 ? &md->hash : &md->mark; out = *at;`},
		"and a test of it":         {program: getNumber + `__u32 *at = md ? in & 1 ? &md->hash : &md->mark : 0; bpf_ktime_get_ns(); if (md) out = *at;`},
		"a copy":                   {program: getNumber + `struct md_desc own; if (!md) return XDP_DROP; md_desc_copy(&own, md); if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP; OPAQUE(ctx); out = own.hash + own.mark;`},
		"a map's key beside it":    {program: testNumber + `struct md_desc *volatile kept = md; __u32 key = 0; __u64 *value = bpf_map_lookup_elem(&values, &key); if (!value) return XDP_DROP; struct md_desc *m = kept; *value = m->hash;`},
		"a function":               {source: `NOINLINE __u64 hash(struct md_desc *md) { OPAQUE(md); return md->hash; }`, program: testNumber + `out = hash(md);`},
		"a function that tests":    {source: `NOINLINE __u64 hash(struct md_desc *md) { OPAQUE(md); return md ? md->hash : 0; }`, program: getNumber + `out = hash(md);`},
		"a test by a function":     {source: `NOINLINE int test(struct md_desc *md) { OPAQUE(md); return md ? 1 : 0; }`, program: getNumber + `if (test(md) == 1) out = md->hash;`},
		"a function that gets it":  {source: `NOINLINE struct md_desc *get(struct xdp_md *ctx) { return md_desc(ctx); }`, program: `struct md_desc *md = get(ctx); if (md) out = md->hash;`},
		"a function that may move": {source: `NOINLINE int maybe(struct xdp_md *ctx) { if (in & 1) return 0; bpf_xdp_adjust_head(ctx, 4); return 1; }`, program: testNumber + `if (maybe(ctx) == 0) out = md->hash;`},
		"a function of a function": {source: `NOINLINE __u64 hash(struct md_desc *md) { OPAQUE(md); return md->hash; } NOINLINE __u64 both(struct md_desc *md) { OPAQUE(md); if (!md) return 0; return hash(md) + md->mark; }`, program: getNumber + `out = both(md);`},
		"a callback's other data": {source: callbackSource("out += args->md->hash;"),
			program: testNumber + callbackProgram + `struct args more = { ctx, md }; bpf_loop(4, callback, &more, 0);`},
		"a callback's data, moved": {source: callbackSource("out += args->md->hash;"),
			program: testNumber + callbackProgram + "if (bpf_xdp_adjust_head(ctx, 4)) return XDP_DROP;\n" + again + `struct args more = { ctx, md }; bpf_loop(4, callback, &more, 0);`},
		"a function's other data":  {source: functionSource, program: testNumber + functionProgram + `struct args more = { ctx, md }; out += read(&more);`},
		"called twice":             {source: `NOINLINE __u64 hash(struct md_desc *md) { OPAQUE(md); return md ? md->hash : 0; }`, program: getNumber + `out = hash(md); if (md) out += hash(md);`},
		"a global function beside": {source: `__attribute__((noinline)) int take(__u64 n) { return n & 1; }`, program: testNumber + `out = take(in); out += md->hash;`},
		"a callback":               {source: callbackSource("out += args->md->hash;"), program: testNumber + callbackProgram + `out += md->mark;`},
		"a callback that tests":    {source: callbackSource("if (args->md) out += args->md->hash;"), program: getNumber + callbackProgram},
		"a callback that asks":     {source: callbackSource("args->md = md_desc(args->ctx); if (args->md) out += args->md->hash;"), program: getNumber + callbackProgram},
		"a struct for a function":  {source: `struct args { struct xdp_md *ctx; struct md_desc *md; }; NOINLINE __u64 hash(struct args *args) { return args->md ? args->md->hash : 0; }`, program: getNumber + `struct args args = { ctx, md }; out = hash(&args);`},
		"filled by a function":     {source: `struct args { struct xdp_md *ctx; struct md_desc *md; }; NOINLINE int fill(struct args *args) { args->md = md_desc(args->ctx); return 0; }`, program: `struct args args = { ctx, 0 }; fill(&args); if (args.md) out = args.md->hash;`},
	})
}

package rewrite_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdp-load/xdp-load/internal/interpret"
	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// ownCase is a program that is right for some layouts and refused for others.
type ownCase struct {
	source  string // functions and data before the program
	program string // what it does with md, the descriptor: sets out
	want    func(ownInput) uint64
	refused map[string]string // a part of the message, by layout: "" if it need not be refused
}

// orRight allows a refusal for all layouts, with any message.
var orRight = map[string]string{
	"own": "", "exact": "", "reordered": "", "narrow": "", "wide": "", "packed": "", "swapped": "",
	"neighbours": "", "following": "", "signs": "",
}

// mapOf declares a map of such keys and values.
func mapOf(key, value string) string {
	return fmt.Sprintf(`struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, %s); __type(value, %s); } kept SEC(".maps");`, key, value)
}

// refusedForSize wants a refusal for all layouts, with this in the message if they do
// not have the field in another size anyway.
func refusedForSize(message string) map[string]string {
	refused := refusedAs(message)
	refused["narrow"], refused["wide"] = "its address is passed", "its address is passed"
	return refused
}

// refusedAs wants a refusal for all layouts, with this in the message.
func refusedAs(message string) map[string]string {
	refused := maps.Clone(orRight)
	for name := range refused {
		refused[name] = message
	}
	return refused
}

// caseLayouts are further layouts than those in testdata, by name.
var caseLayouts = map[string]string{
	"neighbours": "struct md_desc { __u32 first; __u16 hash; __u32 mark; }",
	"following":  "struct md_desc { __u64 stamp; __u32 hash, hash_type, csum, mark; }",
	"signs":      "struct md_desc { __u32 mark; __s32 hash; }",
}

var ownCases = map[string]ownCase{
	"a default of the program's own, by a variable": {
		`static struct md_desc none = { .hash = 5, .mark = 6 };`,
		`if (in & 1) md = &none; OPAQUE(md); out = md->hash + (__u64)md->mark;`,
		func(in ownInput) uint64 {
			if in.hash&1 == 1 {
				return 11
			}
			return in.sum()
		}, orRight,
	},
	"a default, read on both paths": {
		`const volatile struct md_desc none = { .hash = 5, .mark = 6 };`,
		`const volatile struct md_desc *at = in & 1 ? &none : md; out = at->hash + (__u64)at->mark;`,
		func(in ownInput) uint64 {
			if in.hash&1 == 1 {
				return 11
			}
			return in.sum()
		}, orRight,
	},
	"one function for own copies and the descriptor": {
		`static __noinline __u64 sum_of(const struct md_desc *md) { return md->hash + (__u64)md->mark; }`,
		`struct md_desc snap = {}; snap.hash = in; OPAQUE(ctx); out = sum_of(&snap) + sum_of(md);`,
		func(in ownInput) uint64 { return in.hash + in.sum() }, orRight,
	},
	"one function that fills both": {
		`static __noinline void fill(struct md_desc *md, __u32 hash) { md->hash = hash; }`,
		`struct md_desc snap = {}; fill(&snap, in); fill(md, in); OPAQUE(ctx); out = snap.hash + (__u64)md->hash;`,
		func(in ownInput) uint64 {
			target, _ := kernelFind(in.targets, "hash")
			return in.hash + interpret.Extended(in.hash, int(target.bits), false)
		}, orRight,
	},
	"a size for both": {
		`struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");`,
		`struct md_desc *event = bpf_ringbuf_reserve(&events, bpf_core_type_size(struct md_desc), 0);
		 if (!event) return XDP_ABORTED;
		 event->hash = md->hash; event->mark = md->mark;
		 out = event->hash + (__u64)event->mark;
		 bpf_ringbuf_discard(event, 0);`,
		ownInput.sum, orRight,
	},
	"own copies on two paths": {
		`static struct md_desc global;`,
		`struct md_desc snap = {}; struct md_desc *at = in & 1 ? &snap : &global;
		 at->mark = md->mark; at->hash = md->hash; OPAQUE(at); out = at->hash + (__u64)at->mark;`,
		ownInput.sum, nil,
	},
	"a macro beside an address": {
		`static __noinline __u64 take(const __u32 *field) { return *field; }`,
		`out = take(&md->hash); out += BPF_CORE_READ_BITFIELD(md, hash);`,
		func(in ownInput) uint64 { // the macro does without the program's type
			target, _ := kernelFind(in.targets, "hash")
			return in.md("hash") + target.read(in.area)
		},
		map[string]string{"narrow": "hash", "wide": "", "swapped": "hash", "neighbours": "hash", "signs": ""},
	},
	"an address alone": {
		`static __noinline __u64 take(const __u32 *field) { return *field; }`,
		`out = take(&md->hash);`,
		func(in ownInput) uint64 { return in.md("hash") },
		map[string]string{"narrow": "hash", "wide": "", "swapped": "hash", "neighbours": "hash", "signs": ""},
	},
	"an address to write to": {
		`static __noinline void set(__u32 *field, __u32 value) { *field = value; }`,
		`set(&md->hash, in); out = md->hash;`,
		func(in ownInput) uint64 { return in.hash },
		map[string]string{"narrow": "hash", "wide": "hash", "swapped": "hash", "neighbours": "hash", "signs": ""},
	},
	"bpf_core_read": {
		``, `__u32 hash = 0; bpf_core_read(&hash, sizeof(hash), &md->hash); out = hash;`,
		func(in ownInput) uint64 { return in.md("hash") },
		map[string]string{"narrow": "hash", "wide": "", "swapped": "hash", "neighbours": "hash"},
	},
	"BPF_CORE_READ": {
		``, `out = BPF_CORE_READ(md, mark);`,
		func(in ownInput) uint64 { return in.md("mark") },
		map[string]string{"narrow": "", "wide": "", "swapped": "", "packed": "", "neighbours": ""},
	},
	"bpf_core_read of an own copy": {
		``, `struct md_desc snap = {}; struct md_desc *at = &snap; __u32 mark;
		 at->mark = md->mark; OPAQUE(at); bpf_core_read(&mark, sizeof(mark), &at->mark); out = mark;`,
		func(in ownInput) uint64 { return in.md("mark") }, nil,
	},
	"an own copy's field, by its address": {
		`static __noinline __u64 take(const __u32 *field) { return *field; }`,
		`struct md_desc snap = {}; snap.mark = md->mark; OPAQUE(ctx); out = take(&snap.mark);`,
		func(in ownInput) uint64 { return in.md("mark") }, nil,
	},
	"a field as a key": {
		`struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } flows SEC(".maps");`,
		`out = !bpf_map_lookup_elem(&flows, &md->hash);`,
		func(in ownInput) uint64 { return 1 },
		map[string]string{"narrow": "hash", "wide": "hash", "swapped": "hash", "neighbours": "hash", "signs": ""},
	},
	"a walk over neighbours": {
		``, `volatile __u32 *w = &md->hash; OPAQUE(w); for (int i = 0; i < 3; i++) out += w[i];`,
		func(in ownInput) uint64 { return in.md("hash") + in.md("hash_type") + in.md("csum") },
		map[string]string{
			"own": "hash", "exact": "", "reordered": "hash", "narrow": "hash", "wide": "hash", "packed": "hash", "swapped": "hash",
			"neighbours": "hash", "following": "", "signs": "hash",
		},
	},
	"a walk in a loop": {
		``, `volatile __u32 *w = &md->hash; for (__u64 i = 0; i < (in & 3); i++) out += w[i];`,
		func(in ownInput) uint64 {
			return []uint64{0, in.md("hash"), in.md("hash") + in.md("hash_type"), in.md("hash") + in.md("hash_type") + in.md("csum")}[in.hash&3]
		},
		map[string]string{
			"own": "hash", "exact": "", "reordered": "hash", "narrow": "hash", "wide": "hash", "packed": "hash", "swapped": "hash",
			"neighbours": "hash", "following": "", "signs": "hash",
		},
	},
	"the header's size in the guard": {
		``, `struct md_desc *again = (void *)(long)ctx->data_meta;
		 if ((void *)(again + 1) > (void *)(long)ctx->data) return XDP_PASS;
		 out = again->hash;`,
		func(in ownInput) uint64 { return in.md("hash") }, orRight,
	},
	"a size of its own for adjust_meta": {
		``, `out = md->mark; if (bpf_xdp_adjust_meta(ctx, bpf_core_type_size(struct md_desc))) return XDP_ABORTED;`,
		func(in ownInput) uint64 { return in.md("mark") }, orRight,
	},
	"a global function that takes the descriptor": {
		`__noinline int hash_of(struct md_desc *md) { if (!md) return 0; return md->hash >> 1; }`,
		`out = hash_of(md);`,
		func(in ownInput) uint64 { return in.md("hash") >> 1 },
		map[string]string{"swapped": "the kernel", "neighbours": "the kernel", "following": "the kernel", "signs": "the kernel"},
	},
	"a global function that takes a flavour": {
		`struct md_desc___short { __u16 first; } __attribute__((preserve_access_index));
		 __noinline int hash_of(struct md_desc___short *short_md)
		 { if (!short_md) return 0; return ((struct md_desc *)short_md)->hash >> 1; }`,
		`out = hash_of((void *)md);`, nil, refusedAs("the kernel lets the global function hash_of see the 2 bytes of its argument short_md"),
	},
	"a global function that takes an own copy": {
		`__noinline int mark_of(struct md_desc *md) { if (!md) return 0; return md->mark >> 1; }`,
		`struct md_desc snap = {}; snap.mark = md->mark; OPAQUE(ctx); out = mark_of(&snap);`,
		func(in ownInput) uint64 { return in.md("mark") >> 1 }, nil,
	},
	"the descriptor in a struct of the program's": {
		`struct meta { struct md_desc md; __u32 mine; } __attribute__((preserve_access_index));`,
		`struct meta *m = (void *)md; out = m->md.hash;`,
		func(in ownInput) uint64 { return in.md("hash") }, orRight,
	},
	"a copy as a whole behind a check of the program's own": {
		``, `struct md_desc snap; struct md_desc *again; OPAQUE(ctx); again = (void *)(long)ctx->data_meta;
		 if ((void *)(again + 1) > (void *)(long)ctx->data) return XDP_ABORTED;
		 snap = *again; OPAQUE(ctx); out = snap.mark;`,
		nil, refusedAs("recorded nothing"),
	},
	"a pointer that a helper reads": {
		`struct md_desc *kept;`,
		`struct md_desc *at = 0; __u32 mark = 0; bpf_probe_read_kernel(&at, sizeof(at), &kept);
		 bpf_core_read(&mark, sizeof(mark), &at->mark); out = mark;`,
		nil, refusedAs("nothing tells"),
	},
	"the descriptor, or a pointer that a helper reads": {
		`struct md_desc *kept;`,
		`struct md_desc *at = md; __u32 mark = 0; OPAQUE(at);
		 if (in & 1) bpf_probe_read_kernel(&at, sizeof(at), &kept);
		 bpf_core_read(&mark, sizeof(mark), &at->mark); out = mark;`,
		nil, refusedAs("nothing tells"),
	},
	"a field as a key and as a value": {
		mapOf("__u32", "__u32"),
		`__u32 key = 7; __u32 *found; bpf_map_update_elem(&kept, &md->hash, &md->mark, BPF_ANY);
		 bpf_map_update_elem(&kept, &key, &md->mark, BPF_ANY); key = md->hash; OPAQUE(ctx);
		 found = bpf_map_lookup_elem(&kept, &key); out = found ? *found : 1ULL << 40;`,
		func(in ownInput) uint64 { return in.md("mark") },
		map[string]string{"narrow": "", "wide": "", "swapped": "", "packed": "", "neighbours": "", "signs": ""},
	},
	"a field as a part of a key": {
		mapOf("__u64", "__u32"), `bpf_map_update_elem(&kept, &md->mark, &md->mark, BPF_ANY);`,
		nil, refusedForSize("8 bytes are passed to bpf_map_update_elem"),
	},
	"a field as a part of a value": {
		mapOf("__u32", "__u64"), `bpf_map_update_elem(&kept, &md->mark, &md->mark, BPF_ANY);`,
		nil, refusedForSize("8 bytes are passed to bpf_map_update_elem"),
	},
	"a helper fills more than a field": {
		``, `bpf_probe_read_kernel(&md->mark, 8, &in);`, nil, refusedForSize("8 bytes are passed to bpf_probe_read_kernel"),
	},
	"a helper looks at a field, and nothing tells how far": {
		``, `bpf_check_mtu(ctx, 0, &md->mark, 0, 0);`, nil, refusedForSize("nobody knows how many bytes are passed to bpf_check_mtu"),
	},
	"a field as a key of some map": {
		mapOf("__u32", "__u32") + ` static __noinline void *of(__u64 which) { return which ? &kept : (void *)which; }`,
		`void *map = of(in); if (map) { void *found = bpf_map_lookup_elem(map, &md->hash); out = !!found; }`,
		func(ownInput) uint64 { return 0 }, orRight,
	},
	"an own copy of a flavour": {
		`struct md_desc___other { __u32 hash; } __attribute__((preserve_access_index));`,
		`struct md_desc___other own = {}; struct md_desc___other *at = &own; OPAQUE(at);
		 at->hash = ((struct md_desc___other *)md)->hash; OPAQUE(at); out = at->hash;`,
		func(in ownInput) uint64 { return in.md("hash") }, nil,
	},
	"the pointer is kept and compared": {
		``, `struct md_desc *again = md_desc(ctx); if (again != md) return XDP_ABORTED; out = md->mark;`,
		func(in ownInput) uint64 { return in.md("mark") }, nil,
	},
	"a copy of a copy in a callback": {
		`static struct md_desc global; static long keep(__u32 i, struct md_desc *snap) { global = *snap; return 0; }`,
		`struct md_desc snap; md_desc_copy(&snap, md); bpf_loop(1, keep, &snap, 0); out = global.hash + (__u64)global.mark;`,
		ownInput.sum, nil,
	},
	"an own copy per element": {
		`struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, struct md_desc); } last SEC(".maps");
		 static long add(void *map, __u32 *key, struct md_desc *value, __u64 *sum) { *sum += value->mark; return 0; }`,
		`__u32 key = in & 3, zero = 0; __u64 sum = 0; struct md_desc *value = bpf_map_lookup_elem(&last, &key);
		 if (!value) return XDP_ABORTED;
		 value->mark = md->mark;
		 bpf_for_each_map_elem(&last, add, &sum, 0);
		 value->mark = 0;
		 out = sum;`,
		func(in ownInput) uint64 { return in.md("mark") }, nil,
	},
	"an array of own copies": {
		`static struct md_desc last[4];`,
		`struct md_desc *at = &last[in & 3]; at->mark = md->mark; at->hash = md->hash; OPAQUE(at);
		 out = last[in & 3].hash + (__u64)last[in & 3].mark;`,
		ownInput.sum, nil,
	},
	"an own copy behind a pointer on the stack": {
		``, `struct md_desc snap = {}; struct md_desc *volatile at = &snap; at->mark = md->mark; out = at->mark;`,
		func(in ownInput) uint64 { return in.md("mark") }, nil,
	},
	// clang's instructions access another byte than the one that the field is in:
	// they are not right as they are (BPFAbstractMemberAccess.cpp of LLVM).
	"a bit-field of an own copy": {
		`struct md_desc___bits { __u64 first; __u16 second[3]; _Bool flag : 1; } __attribute__((preserve_access_index));`,
		`struct md_desc___bits own = {}; struct md_desc___bits *at = &own; OPAQUE(at);
		 at->second[0] = in; at->flag = 1; OPAQUE(at);
		 out = at->second[0] + ((__u64)((__u8 *)at)[14] << 32) + at->flag;`,
		func(in ownInput) uint64 { return in.hash&0xffff + 1<<32 + 1 }, nil,
	},
	"a size that is added on one path only": {
		``, `__u64 size = 0; if (in & 1) { size = bpf_core_type_size(struct md_desc); OPAQUE(size); }
		 volatile __u32 *behind = (void *)md + size;
		 if ((void *)(behind + 1) > (void *)(long)ctx->data) return XDP_PASS;
		 out = *behind;`,
		nil, refusedAs("the compiler recorded nothing"),
	},
	"pointers to the descriptor, stored in a loop": {
		``, `struct md_desc *at[4];
		 _Pragma("clang loop unroll(disable)") for (int i = 0; i < 4; i++) { asm volatile(""); at[i] = md; }
		 OPAQUE(ctx); out = at[2]->mark + (__u64)at[0]->hash;`,
		ownInput.sum, nil,
	},
	"pointers to own copies, overwritten in a loop": {
		keepDescriptor, `struct md_desc snap = {}; struct kept kept[4] = {{&snap}, {&snap}, {&snap}, {&snap}};
		 _Pragma("clang loop unroll(disable)") for (int i = 0; i < 4; i++) { asm volatile(""); keep(&kept[i], md); }
		 out = kept[2].md->mark;`,
		func(in ownInput) uint64 { return in.md("mark") }, orRight,
	},
	"one function for many programs' descriptors": {
		`static __noinline __u64 sum_of(const struct md_desc *md) { return md->hash + (__u64)md->mark; }` +
			manyPrograms(`struct md_desc *md = md_desc(ctx); if (md) out += sum_of(md) * N;`),
		`out = sum_of(md);`, ownInput.sum, nil,
	},
	"one function for many programs' ctx": {
		`static __noinline void *descriptor(void *data_meta) { struct xdp_md *ctx = data_meta; return md_desc(ctx); }` +
			manyPrograms(`struct md_desc *md = descriptor(ctx); if (md) out += md->hash * N;`),
		`md = descriptor(ctx); if (!md) return XDP_ABORTED; out = md->hash + (__u64)md->mark;`, ownInput.sum, nil,
	},
	"one function for many programs' stacks": {
		keepDescriptor + manyPrograms(`struct kept kept; struct md_desc *md = md_desc(ctx); if (md) { keep(&kept, md); out += kept.md->hash * N; }`),
		`struct kept kept; keep(&kept, md); out = kept.md->hash + (__u64)kept.md->mark;`, ownInput.sum, nil,
	},
	"one function for many programs' stacks, with defaults": {
		keepDescriptor + manyPrograms(`struct md_desc none = {}; struct kept kept = {&none}; struct md_desc *md = md_desc(ctx); if (md) { keep(&kept, md); out += kept.md->hash * N; }`),
		`struct md_desc none = {}; struct kept kept = {&none}; keep(&kept, md); out = kept.md->hash;`,
		func(in ownInput) uint64 { return in.md("hash") }, orRight,
	},
	"many fields of an own copy by one load": {
		`struct md_desc___many { ` + many("__u32 fN; ") + `__u32 mark; } __attribute__((preserve_access_index));`,
		`struct md_desc___many own = {}; struct md_desc___many *at = &own; __u32 *field;
		 at->mark = md->mark; OPAQUE(at);
		 switch (in % 64 * 1000) { /* no table of jumps */` + many(`case N000: field = &at->fN; break; `) + `default: field = &at->mark; }
		 out = *field;`,
		func(in ownInput) uint64 {
			if in.hash%64 < manyTimes {
				return 0
			}
			return in.md("mark")
		}, nil,
	},
	"a field's address on the stack": {
		``, `volatile __u32 *volatile at = &md->mark; out = *at;`,
		func(in ownInput) uint64 { return in.md("mark") }, nil,
	},
}

// keepDescriptor is a function that stores the descriptor's address in its caller's stack.
const keepDescriptor = `
	struct kept { struct md_desc *md; __u64 more; };
	static __noinline void keep(struct kept *kept, struct md_desc *md) { kept->md = md; kept->more = 1; }`

// manyTimes is more than the places that the analysis tells apart, with the one in the
// program itself.
const manyTimes = 32

// many repeats C code, with a number for each N.
func many(code string) string {
	var all strings.Builder
	for n := range manyTimes {
		all.WriteString(strings.ReplaceAll(code, "N", fmt.Sprint(n)))
	}
	return all.String()
}

// manyPrograms returns programs with this body.
func manyPrograms(body string) string {
	return many("\nSEC(\"xdp\") int programN(struct xdp_md *ctx) { " + body + " return XDP_PASS; }")
}

// Programs that are right for a layout or refused for it, never wrong.
func TestKernelCases(t *testing.T) {
	netlab.NeedRoot(t)
	needTools(t, "gcc", "clang-14", "clang-19", "clang-22")
	for name, c := range ownCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, by := range []pairCompiler{{14, "v1"}, {19, "v3"}, {22, "v4"}} {
				object := costCompile(t, fmt.Sprintf("clang-%d", by.version), c.C(), "el", by.cpu)
				c.check(t, by, object)
			}
		})
	}
}

// C returns the source of a case.
func (c *ownCase) C() string {
	return `
		#include <linux/bpf.h>
		#include "../../bpf/md_desc.h"
		char _license[] SEC("license") = "Dual BSD/GPL";
		#define OPAQUE(value) asm volatile("" : "+r"(value) : : "memory")
		__u64 in, out;
		` + c.source + `
		SEC("xdp") int program(struct xdp_md *ctx)
		{
			struct md_desc *md = md_desc(ctx);

			if (!md)
				return XDP_ABORTED;
			` + c.program + `
			return XDP_PASS;
		}`
}

func (c *ownCase) check(t *testing.T, by pairCompiler, object []byte) {
	t.Helper()
	for _, name := range ownLayouts {
		c.checkLayout(t, by, object, name, readFile(t, fmt.Sprintf("%s/layouts/%s%s.o", testdata, name, kernelEndian)))
	}
	for name, source := range caseLayouts {
		c.checkLayout(t, by, object, name, costCompile(t, "clang-19", "#include <linux/types.h>\n"+source+" layout;", "el", "v3"))
	}
}

func (c *ownCase) checkLayout(t *testing.T, by pairCompiler, object []byte, name string, layout []byte) {
	t.Helper()
	rewritten, _, err := rewrite.Rewrite(object, parseLayout(t, name+kernelEndian, layout), rewrite.Options{})
	message, refusable := c.refused[name]
	if errors.Is(err, rewrite.ErrRefused) {
		if !refusable || !strings.Contains(err.Error(), message) {
			t.Errorf("%s, for %s: refused: %v, not because of %q", by, name, err, message)
		}
		return
	}
	if err != nil {
		t.Errorf("%s, for %s: %v", by, name, err)
		return
	}
	if message != "" {
		t.Errorf("%s, for %s: is not refused", by, name)
		return
	}
	loaded, err := ebpf.NewCollection(kernelSpec(t, rewritten))
	if err != nil {
		t.Errorf("%s, for %s: %v", by, name, err)
		return
	}
	defer loaded.Close()
	c.run(t, fmt.Sprintf("%s, for %s", by, name), loaded, object, layout)
}

// run compares what the program leaves in out with what it has to.
func (c *ownCase) run(t *testing.T, what string, loaded *ebpf.Collection, object, layout []byte) {
	t.Helper()
	p := &kernelPair{
		locals:  kernelFlavours(t, kernelTypes(t, object), "md_desc"),
		targets: kernelFlavours(t, kernelTypes(t, layout), "md_desc"),
	}
	size, err := btf.Sizeof(p.targets[0])
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", what))))
	for _, area := range kernelAreas(t, random, max(size, 40), 0) {
		in := ownInput{p, t, area, uint64(uint32(random.Uint64())), 0}
		kernelClear(t, loaded)
		setInput(t, loaded, "in", in.hash)
		if action, _ := kernelRun(t, loaded.Programs["program"], area); action != kernelXDPPass {
			t.Errorf("%s: returned %d", what, action)
		}
		want := c.want(in)
		if got := kernelResults(t, loaded)["out"]; got != want {
			t.Errorf("%s: %#x instead of %#x, in %#x, metadata %x", what, got, want, in.hash, area)
			return
		}
	}
}

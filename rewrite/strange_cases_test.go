package rewrite_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/rewrite"
)

// container_of of the address of a field.
const strangeContainerOf = `
	#define container_of(ptr, type, member) ((type *)((void *)(ptr) - __builtin_offsetof(type, member)))
	NOINLINE __u64 mark_of(__u32 *hash) { struct md_desc *m = container_of(hash, struct md_desc, hash); OPAQUE(m); return m->mark; }`

// The address of a field is recorded, what is subtracted from it is the program's own
// offset, and what comes then is recorded again: that is right only where the layout has
// the field where the program has it.
func TestStrangeContainerOf(t *testing.T) {
	layout := `struct md_desc { __u32 a, mark, b, hash; }`
	area := "aaaaaaaa" + "01000000" + "bbbbbbbb" + "05000000"
	t.Run("function", func(t *testing.T) {
		strangeProgram{source: strangeContainerOf, program: `out = mark_of(&md->hash);`, layout: layout, area: area, out: 1, refuse: true}.check(t)
	})
	t.Run("one function", func(t *testing.T) {
		strangeProgram{program: `__u32 *hash = &md->hash; OPAQUE(hash); struct md_desc *m = (void *)hash - __builtin_offsetof(struct md_desc, hash); out = m->mark;`,
			layout: layout, area: area, out: 1, refuse: true}.check(t)
	})
	t.Run("store", func(t *testing.T) {
		strangeProgram{program: `__u32 *hash = &md->hash; OPAQUE(hash); struct md_desc *m = (void *)hash - __builtin_offsetof(struct md_desc, hash); m->mark = 7;`,
			layout: layout, area: area, after: "aaaaaaaa" + "07000000" + "bbbbbbbb" + "05000000", refuse: true}.check(t)
	})
}

// The accesses within a nested struct are recorded. Where it is is not, if that comes
// from offsetof.
func TestStrangeNestedOffset(t *testing.T) {
	f := strangeProgram{
		types:  `struct tag { __u16 vid, prio; } PAI; struct md_desc { __u32 hash; struct tag tag; } PAI;`,
		layout: `struct md_desc { struct { __u16 vid, prio; } tag; __u32 hash; }`,
		area:   "01000200" + "aaaabbbb",
		refuse: true,
	}
	f.program, f.out = `struct tag *tag = (void *)md + __builtin_offsetof(struct md_desc, tag); OPAQUE(tag); out = tag->vid + ((__u64)md->tag.prio << 16);`, 0x20001
	t.Run("load", f.check)
	f.program, f.out = `struct tag *tag = (void *)md + __builtin_offsetof(struct md_desc, tag); OPAQUE(tag); tag->vid = 7; out = md->tag.prio;`, 2
	f.after = "07000200" + "aaaabbbb"
	t.Run("store", f.check)
	f.source = `NOINLINE __u64 vid_of(struct tag *tag) { return tag->vid; }`
	f.program, f.out, f.after = `out = vid_of((void *)md + __builtin_offsetof(struct md_desc, tag)) + md->tag.prio;`, 3, ""
	t.Run("function", f.check)
}

// What is beside a nested struct is something else in the layout.
func TestStrangeNestedWalk(t *testing.T) {
	f := strangeProgram{
		types:  `struct tag { __u16 vid, prio; } PAI; struct md_desc { struct tag inner, outer; __u32 hash; } PAI;`,
		layout: `struct tag { __u16 vid, prio; }; struct md_desc { struct tag inner; __u32 hash; struct tag outer; }`,
		area:   "01000200" + "aaaabbbb" + "03000400",
		refuse: true,
	}
	f.program, f.out = `struct tag *tag = &md->inner; OPAQUE(tag); tag += 1; out = tag->vid;`, 3
	t.Run("load", f.check)
	f.program, f.out = `struct tag *tag = &md->outer; OPAQUE(tag); tag -= 1; tag->vid = 7; out = md->hash;`, 0xbbbbaaaa
	f.after = "07000200" + "aaaabbbb" + "03000400"
	t.Run("store", f.check)
	f.source = `NOINLINE __u64 two(struct tag *tag) { return tag[0].vid + ((__u64)tag[1].vid << 16); }`
	f.program, f.out, f.after = `out = two(&md->inner);`, 0x30001, ""
	t.Run("function", f.check)
}

// The same for what is nested in a nested struct.
func TestStrangeNestedWalkDeeper(t *testing.T) {
	f := strangeProgram{
		types: `struct tag { __u16 vid, prio; } PAI; struct tags { __u32 count; struct tag inner; } PAI;
			struct md_desc { struct tags tags; struct tag beside; __u32 hash; } PAI;`,
		source: `NOINLINE __u64 two(struct tag *tag) { return tag[0].vid + ((__u64)tag[1].vid << 16); }
			NOINLINE struct tags *opaque(struct tags *tags) { OPAQUE(tags); return tags; }`,
		layout: `struct tag { __u16 vid, prio; }; struct tags { __u32 count; struct tag inner; };
			struct md_desc { struct tags tags; __u32 hash; struct tag beside; }`,
		area:    "02000000" + "01000200" + "aaaabbbb" + "03000400",
		program: `struct tags *tags = opaque(&md->tags); out = two(&tags->inner) + md->beside.prio - 4;`,
		out:     0x30001, refuse: true,
	}
	f.check(t)
}

// The size of what is nested is no place in the descriptor, though clang folds it into
// the load.
func TestStrangeNestedSize(t *testing.T) {
	f := strangeProgram{
		types:  `struct tag { __u16 vid, prio; } PAI; struct md_desc { struct tag tag; __u32 hash; } PAI;`,
		layout: `struct md_desc { struct { __u16 vid, prio; } tag; __u32 mark, hash; }`,
		area:   "01000200" + "aaaabbbb" + "05000000",
		refuse: true,
	}
	f.program, f.out = `__u32 *hash = (void *)md + bpf_core_type_size(struct tag); out = *hash + md->tag.prio;`, 7
	t.Run("nested", f.check)
}

// An own array of the nested struct has the program's size for its elements.
func TestStrangeNestedSizeOwn(t *testing.T) {
	strangeProgram{
		types:  `struct tag { __u16 vid, prio; } PAI; struct md_desc { struct tag tag; __u32 hash; } PAI;`,
		layout: `struct tag { __u32 more; __u16 vid, prio; }; struct md_desc { struct tag tag; __u32 hash; }`,
		source: `struct tag own[4];`,
		program: `struct tag *second = (void *)own + bpf_core_type_size(struct tag);
			second->vid = md->tag.vid; OPAQUE(ctx); out = ((volatile __u16 *)own)[2];`,
		area: "aaaaaaaa" + "01000200" + "05000000",
		out:  1, refuse: true,
	}.check(t)
}

// What is nested in a copy of the program's own is the program's, even if the layout has
// no such field: it is not for the loader to look for in the kernel.
func TestStrangeNestedOwn(t *testing.T) {
	// There is one of that name, with its members the other way round.
	t.Run("as in the kernel", strangeProgram{
		types: `struct vlan_hdr { __u16 h_vlan_encapsulated_proto, h_vlan_TCI; } PAI;
			struct md_desc { __u32 hash; struct vlan_hdr vlan; } PAI;`,
		source: `struct md_desc own; NOINLINE __u64 tci(struct vlan_hdr *vlan) { return vlan->h_vlan_TCI; }`,
		program: `own.hash = md->hash; own.vlan.h_vlan_encapsulated_proto = 1; own.vlan.h_vlan_TCI = 2; OPAQUE(ctx);
			out = tci(&own.vlan);`,
		layout: `struct md_desc { __u32 mark, hash; }`,
		area:   "0300000004000000", out: 2, refuse: true,
	}.check)
	// There is none of that name.
	t.Run("not in the kernel", strangeProgram{
		types:   `struct tag { __u16 vid, prio; } PAI; struct md_desc { __u32 hash; struct tag tag; } PAI;`,
		source:  `struct md_desc own; NOINLINE __u64 prio_of(struct tag *tag) { return tag->prio; }`,
		program: `own.hash = md->hash; own.tag.vid = 1; own.tag.prio = 2; OPAQUE(ctx); out = prio_of(&own.tag);`,
		layout:  `struct md_desc { __u32 mark, hash; }`,
		area:    "0300000004000000", out: 2,
	}.check)
}

// The same elsewhere is what the kernel has: it has the members the other way round.
func TestStrangeNestedElsewhere(t *testing.T) {
	strangeProgram{
		types: `struct vlan_hdr { __u16 h_vlan_encapsulated_proto, h_vlan_TCI; } PAI;
			struct md_desc { __u32 hash; struct vlan_hdr vlan; } PAI;`,
		program: `struct vlan_hdr *vlan = (void *)(long)ctx->data;
			if ((void *)vlan + 4 > (void *)(long)ctx->data_end) return XDP_ABORTED;
			__u16 *tci = &vlan->h_vlan_TCI; OPAQUE(tci);
			if (bpf_core_field_exists(md->vlan)) in = md->vlan.h_vlan_TCI;
			out = ((__u64)md->hash << 32) + ((void *)tci - (void *)vlan) + (vlan->h_vlan_encapsulated_proto & 1);`,
		layout: `struct md_desc { __u32 mark, hash; }`,
		area:   "0300000004000000", out: 0x400000000,
	}.check(t)
}

// The metadata area is passed to a helper without a record, to fill a copy of the
// program's own.
func TestStrangeProbeRead(t *testing.T) {
	f := strangeProgram{
		layout: `struct md_desc { __u32 mark, hash; __u64 more[3]; }`,
		area:   "01000000" + "02000000" + "aaaaaaaaaaaaaaaa" + "aaaaaaaaaaaaaaaa" + "aaaaaaaaaaaaaaaa",
		refuse: true,
	}
	f.source = `NOINLINE int snap(struct xdp_md *ctx, struct md_desc *own) { return bpf_probe_read_kernel(own, sizeof(*own), (void *)(long)ctx->data_meta); }`
	f.program, f.out = `struct md_desc own; out = md->mark; if (snap(ctx, &own)) return XDP_ABORTED; out += own.hash;`, 3
	t.Run("in a function", f.check)
	f.program = ""
	f.whole, f.out = `SEC("xdp") int program(struct xdp_md *ctx) { struct md_desc own; if (snap(ctx, &own)) return XDP_ABORTED; out = own.hash; return XDP_PASS; }`, 2
	t.Run("without md_desc", f.check)
}

// A dynptr of the metadata area, which Linux has from 6.18 on, is read into a copy of the
// program's own.
func TestStrangeSkbMeta(t *testing.T) {
	strangeProgram{
		source: `extern int bpf_dynptr_from_skb_meta(struct __sk_buff *, __u64, struct bpf_dynptr *) __ksym;`,
		whole: `SEC("tc") int program(struct __sk_buff *skb)
			{
				struct md_desc own;
				struct bpf_dynptr meta;

				if (bpf_dynptr_from_skb_meta(skb, 0, &meta) || bpf_dynptr_read(&own, sizeof(own), &meta, 0, 0))
					return 0;
				out = own.hash;
				return 0;
			}`,
		layout:  `struct md_desc { __u32 mark, hash; __u64 more[3]; }`,
		refused: true,
	}.check(t)
}

// What user space passes to a program by BPF_PROG_RUN is laid out as the program declares
// it, if that is a descriptor too.
func TestStrangeSyscall(t *testing.T) {
	netlab.NeedRoot(t)
	f := strangeProgram{whole: `SEC("syscall") int program(struct md_desc *own) { out = own->hash; return 0; }`}
	layout := costCompile(t, "clang-19", "#include <linux/types.h>\nstruct md_desc { __u32 mark, hash, more[6]; } layout;", "el", "v3")
	for _, by := range strangeCompilers {
		object := costCompile(t, fmt.Sprintf("clang-%d", by.version), f.C(), "el", by.cpu)
		rewritten, _, err := rewrite.Rewrite(object, parseLayout(t, "nic"+kernelEndian, layout), rewrite.Options{})
		if errors.Is(err, rewrite.ErrRefused) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		loaded := kernelLoad(t, rewritten)
		own := make([]byte, 32) // the header's struct
		binary.LittleEndian.PutUint32(own[8:], 5)
		if _, err := loaded.Programs["program"].Run(&ebpf.RunOptions{Context: own}); err != nil {
			t.Fatal(err)
		}
		if got := kernelResults(t, loaded)["out"]; got != 5 {
			t.Errorf("%s: out is %#x instead of 5", by, got)
		}
	}
}

// A pointer that was NULL on another path, or that a function returns, is the
// descriptor's.
func TestStrangeNullable(t *testing.T) {
	f := strangeProgram{layout: `struct md_desc { __u32 mark, hash, csum, pad[5]; }`,
		area: "03000000" + "04000000" + "0500000000000000000000000000000000000000" + "00000000"}
	get := `NOINLINE struct md_desc *get(struct xdp_md *ctx) { return md_desc(ctx); }`
	f.source, f.whole, f.out = get, `SEC("xdp") int program(struct xdp_md *ctx)
		{ struct md_desc *md = get(ctx); if (!md) return XDP_ABORTED; out = in & 1 ? md->hash : md->mark; return XDP_PASS; }`, 3
	t.Run("a choice of fields after a function", f.check)
	f.whole = `SEC("xdp") int program(struct xdp_md *ctx)
		{ struct md_desc *md = get(ctx); __u32 *hash; if (!md) return XDP_ABORTED; hash = &md->hash; OPAQUE(hash); out = *hash; return XDP_PASS; }`
	f.out = 4
	t.Run("an address after a function", f.check)
	f.whole = ""
	f.source, f.program, f.out = `NOINLINE struct md_desc *same(struct md_desc *md) { OPAQUE(md); return md; }`, `md = same(md); out = in & 1 ? md->hash : md->mark;`, 3
	t.Run("a function that returns its argument", f.check)
	f.source, f.program, f.out = ``, `struct md_desc *m = md; if (in & 1) { m = 0; OPAQUE(m); } if (!m) return XDP_DROP; out = in & 2 ? m->hash : m->mark;`, 3
	t.Run("NULL on another path", f.check)
	f.source, f.program, f.out = `NOINLINE __u32 *hash_of(struct md_desc *md) { return &md->hash; }`,
		`struct md_desc *m = md; if (in & 1) { m = 0; OPAQUE(m); } if (!m) return XDP_DROP; out = *hash_of(m);`, 4
	t.Run("NULL on another path, to a function", f.check)
}

// Another name for the descriptor is the descriptor.
func TestStrangeTypedef(t *testing.T) {
	f := strangeProgram{layout: `struct md_desc { __u32 mark, hash; }`, area: "0300000004000000"}
	f.source, f.program, f.out = `typedef struct md_desc desc_t;`, `desc_t *desc = md; out = desc->hash;`, 4
	t.Run("plain", f.check)
	f.source, f.program, f.out = `typedef volatile struct md_desc desc_t;`, `desc_t *desc = md; out = desc->hash;`, 4
	t.Run("volatile", f.check)
	f.source = `typedef const struct md_desc desc_t; NOINLINE __u64 sum(desc_t *desc) { return desc->hash + (__u64)desc->mark; }`
	f.program, f.out = `out = sum(md);`, 7
	t.Run("const, of a function", f.check)
	f.source, f.program, f.out = `typedef struct md_desc desc_t;`, `out = bpf_core_type_size(desc_t) + bpf_core_field_exists(((desc_t *)md)->csum);`, 8
	t.Run("questions", f.check)
}

// A recorded number that is no offset may be added to the address of a store.
func TestStrangeFoldedSize(t *testing.T) {
	t.Run("size", strangeProgram{
		source:  `__u8 record[64];`,
		program: `__u8 *at = record; *(__u32 *)at = md->hash; at += bpf_core_field_size(md->hash); *(__u16 *)at = md->vlan_tci; OPAQUE(ctx); out = *(volatile __u64 *)record;`,
		layout:  `struct md_desc { __u16 vlan_tci, pad; __u32 hash; }`,
		area:    "0300000004000000", out: 0x300000004,
	}.check)
	t.Run("enumerator", strangeProgram{
		types:   `enum kind { KIND_A = 1, KIND_B = 5 }; struct md_desc { enum kind kind; __u32 hash; } PAI;`,
		source:  `__u8 seen[16];`,
		program: `seen[bpf_core_enum_value(enum kind, KIND_B)] = md->hash; OPAQUE(ctx); out = ((volatile __u8 *)seen)[6] + (md->kind == 6);`,
		layout:  `enum kind { KIND_A = 2, KIND_B = 6 }; struct md_desc { __u32 hash; enum kind kind; }`,
		area:    "0300000006000000", out: 4,
	}.check)
}

// From the address of an element the others of its array may be refused.
func TestStrangeElement(t *testing.T) {
	f := strangeProgram{
		types:  `struct md_desc { __u32 hash, words[4]; __u8 mac[6]; } PAI;`,
		layout: `struct md_desc { __u32 words[4], hash; __u8 mac[6]; __u16 pad; }`,
		area:   "01000000" + "02000000" + "03000000" + "04000000" + "05000000" + "0a0b0c0d0e0f0000",
		refuse: true,
	}
	f.program, f.out = `__u32 two[2]; __builtin_memcpy(two, &md->words[1], sizeof(two)); OPAQUE(ctx); out = two[0] + two[1];`, 5
	t.Run("memcpy", f.check)
	f.program, f.out = `__u32 *word = &md->words[1]; OPAQUE(word); out = word[-1] + word[1];`, 4
	t.Run("neighbours", f.check)
	f.program, f.out = `out = __builtin_memcmp(&md->mac[2], &md->mac[4], 2) != 0;`, 1
	t.Run("memcmp", f.check)
}

// The probing macro for bit-fields may be refused.
func TestStrangeProbed(t *testing.T) {
	strangeProgram{
		types:   `struct md_desc { __u32 hash; __u32 kind : 3, more : 29; } PAI;`,
		program: `out = BPF_CORE_READ_BITFIELD_PROBED(md, kind);`,
		layout:  `struct md_desc { __u32 hash; __u32 kind : 3, more : 29; }`,
		area:    "0100000002000000", out: 2, refuse: true,
	}.check(t)
}

// clang makes one offset for the macro and for a direct access to a bit-field of an own
// copy, and needs another one for the latter.
func TestStrangeOwnMacroBesideBits(t *testing.T) {
	strangeProgram{
		types: `struct md_desc { __u64 a; __u16 b; __s64 bits : 39; } PAI;`,
		source: `struct memory { __u64 before[2]; struct md_desc own; __u64 after[2]; } memory_before = { .own = { .bits = 0x123456789a } };
			__u64 outs[2];`,
		program: `struct memory memory, *kept = &memory; __builtin_memcpy(kept, &memory_before, sizeof(*kept));
			struct md_desc *own = &kept->own; OPAQUE(own);
			outs[0] = own->bits; outs[1] = BPF_CORE_READ_BITFIELD(own, bits); out = outs[0] ^ outs[1] ^ md->b;`,
		layout: `struct md_desc { __u16 b; __u16 more; __u32 bits; }`,
		area:   "0100000000000000", out: 1, refuse: true,
	}.check(t)
}

// An offset is kept on the stack while the address of something else there is passed on.
func TestStrangeOffsetBehindCall(t *testing.T) {
	strangeProgram{
		types: `struct md_desc { __s32 f1; } PAI;`,
		source: `NOINLINE __u64 take(__s32 *field) { return *field; }
			struct memory { __u64 before[2]; struct md_desc own; __u64 after[2]; } memory_before = { .own = { 3 } }, memory_after;
			__u64 ins[5], outs[6];`,
		program: `struct md_desc *again = md; OPAQUE(again);
			struct memory memory, *kept = &memory; if (!kept) return XDP_PASS;
			__builtin_memcpy(kept, &memory_before, sizeof(*kept));
			struct md_desc *own = &kept->own; OPAQUE(own);
			in = 1;
			outs[0] = own->f1;
			if (bpf_core_field_exists(md->f1)) md->f1 = 5;
			outs[2] = own->f1; outs[3] = own->f1;
			outs[4] = (__s64)take(&own->f1) < (__s64)ins[4];
			out = own->f1;
			md->f1 = own->f1; OPAQUE(ctx);
			__builtin_memcpy(&memory_after, kept, sizeof(*kept));`,
		layout: `struct md_desc { __s16 pad : 6, f1 : 9; __u16 more; }`,
		area:   "3f00aaaa", out: 3, after: "ff00aaaa", refuse: true,
	}.check(t)
}

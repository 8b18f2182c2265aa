/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Descriptors that are a program's own: they are laid out as in the header,
 * whatever the layout, between words that stay as they are.
 */

#include "results.h"

/* An own copy and its neighbours. */
struct kept {
	__u64 before;
	struct md_desc md;
	__u64 after;
};

#define BEFORE	0x1111111111111111
#define AFTER	0x2222222222222222

#define COPY(name)	struct kept copy_##name

#define PROGRAM(name, ...) PROGRAM_OF(struct md_desc, name, __VA_ARGS__)

/* Keeps clang from knowing what it is. */
#define OPAQUE(value) asm volatile("" : "+r"(value) : : "memory")

__u32 in_hash, in_mark;

/* A struct on the stack, in the end as bytes in copy_NAME. */
#define ON_STACK(name, ...)						\
	COPY(name);							\
	PROGRAM(name, {							\
		struct kept kept = { .before = BEFORE, .after = AFTER };\
									\
		__VA_ARGS__						\
		__builtin_memcpy(&copy_##name, &kept, sizeof(kept));	\
	})

/* A struct that is somewhere else, with the same words around it. */
#define IN_MEMORY(name, memory, ...)					\
	COPY(name);							\
	PROGRAM(name, {							\
		struct kept *kept = memory;				\
									\
		if (!kept)						\
			return XDP_ABORTED;				\
		__builtin_memset(&kept->md, 0, sizeof(kept->md));	\
		kept->before = BEFORE;					\
		kept->after = AFTER;					\
		__VA_ARGS__						\
		__builtin_memcpy(&copy_##name, kept, sizeof(*kept));	\
	})

/* Field by field, from variables and from the descriptor. */
ON_STACK(built, {
	kept.md.hash = in_hash;
	kept.md.mark = md->mark;
})

/* Read back, too. */
__u64 got_used;
ON_STACK(used, {
	kept.md.hash = md->hash;
	kept.md.mark = md->mark + 1;
	got_used = kept.md.hash + (__u64)kept.md.mark;
})

/* Fields that a layout may not have: an own copy does. */
ON_STACK(lacking, {
	kept.md.rx_timestamp = in_hash;
	kept.md.vlan_tci = in_mark;
	kept.md.csum = 3;
})

/* All fields of the header. */
ON_STACK(all, { md_desc_copy(&kept.md, md); })

/* The packet moves, the copy stays. */
__u64 got_moved;
PROGRAM(moved, {
	struct md_desc snap;

	md_desc_copy(&snap, md);
	if (bpf_xdp_adjust_meta(ctx, 4))
		return XDP_ABORTED;
	got_moved = snap.hash + (__u64)snap.mark;
})

/* One own copy as a whole to another one. */
ON_STACK(assigned, {
	struct md_desc snap;

	md_desc_copy(&snap, md);
	OPAQUE(ctx);
	kept.md = snap;
})

/* Written out to the descriptor. */
PROGRAM(written, {
	struct md_desc new = {};

	new.hash = in_hash;
	new.mark = in_mark;
	OPAQUE(ctx);
	md->hash = new.hash;
	md->mark = new.mark;
})

/* In the memory of a caller. */
static __noinline void fill(struct md_desc *dst, const struct md_desc *md)
{
	dst->hash = md->hash;
	dst->mark = md->mark;
}

ON_STACK(filled, { fill(&kept.md, md); })

static __noinline __u64 sum_of(const struct md_desc *md)
{
	return md->hash + (__u64)md->mark;
}

__u64 got_read_there;
PROGRAM(read_there, {
	struct md_desc snap = {};

	snap.hash = in_hash;
	snap.mark = md->mark;
	got_read_there = sum_of(&snap);
})

/* A struct around both, handed to a callback. */
struct both {
	struct md_desc *md;
	struct kept kept;
};

static long keep(__u32 i, void *data)
{
	struct both *both = data;

	both->kept.md.hash = both->md->hash;
	both->kept.md.mark += both->md->mark;
	return 0;
}

COPY(called_back);
PROGRAM(called_back, {
	struct both both = { md, { .before = BEFORE, .after = AFTER } };

	bpf_loop(2, keep, &both, 0);
	__builtin_memcpy(&copy_called_back, &both.kept, sizeof(both.kept));
})

/* The macros, of a copy. */
__u64 got_macro;
PROGRAM(macro, {
	struct md_desc snap = {};
	struct md_desc *at = &snap;

	snap.mark = in_mark;
	snap.hash = md->hash;
	OPAQUE(at);
	got_macro = BPF_CORE_READ_BITFIELD(at, hash) + BPF_CORE_READ_BITFIELD(at, mark);
})

/* Map values. */
#define MAP(name, map_type)				\
	struct {					\
		__uint(type, map_type);			\
		__uint(max_entries, 1);			\
		__type(key, __u32);			\
		__type(value, struct kept);		\
	} name SEC(".maps")

MAP(flows, BPF_MAP_TYPE_ARRAY);
MAP(cpus, BPF_MAP_TYPE_PERCPU_ARRAY);
MAP(hashes, BPF_MAP_TYPE_HASH);

#define VALUE(map) bpf_map_lookup_elem(&map, &(__u32){ 0 })

IN_MEMORY(in_value, VALUE(flows), {
	kept->md.hash = md->hash;
	kept->md.mark = md->mark;
})

IN_MEMORY(in_cpu_value, VALUE(cpus), {
	kept->md.mark = md->mark;
	kept->md.hash = kept->md.mark;
})

IN_MEMORY(in_value_all, VALUE(flows), { md_desc_copy(&kept->md, md); })

/* From the stack to a map, and found there. */
__u64 got_updated;
PROGRAM(updated, {
	struct kept kept = { .before = BEFORE, .after = AFTER };
	struct kept *found;
	__u32 key = 0;

	kept.md.mark = md->mark;
	kept.md.hash = md->hash;
	if (bpf_map_update_elem(&hashes, &key, &kept, 0))
		return XDP_ABORTED;
	found = bpf_map_lookup_elem(&hashes, &key);
	if (found)
		got_updated = found->md.hash + (__u64)found->md.mark;
})

/* Counts per flow, and what was last seen of it: found by the hash. */
__u64 got_last;
PROGRAM(last_seen, {
	struct kept *flow = VALUE(flows);

	if (!flow)
		return XDP_ABORTED;
	flow->before += 1;
	got_last = flow->md.mark;
	flow->md.mark = md->mark;
	if (flow->md.mark != md->mark)
		got_last = -1;
})

/* Global data. */
struct kept in_global_kept;
static struct kept in_static_kept;

IN_MEMORY(in_global, &in_global_kept, {
	kept->md.hash = md->hash;
	kept->md.mark = md->mark;
})

IN_MEMORY(in_static, &in_static_kept, {
	kept->md.mark = md->mark;
	kept->md.hash = kept->md.mark;
})

struct md_desc plain_global;
__u64 got_plain_global;
PROGRAM(in_plain_global, {
	plain_global.hash = in_hash;
	plain_global.mark = md->mark;
	got_plain_global = plain_global.hash + (__u64)plain_global.mark;
})

const volatile struct md_desc unmarked = { .hash = 77, .mark = 0x12345678 };
__u64 got_constant;
PROGRAM(in_constant, { got_constant = unmarked.hash + (__u64)unmarked.mark + md->mark; })

/* Data with a value that is no zero. */
struct md_desc initial = { .hash = 1, .mark = 5 };
__u64 got_initial;
PROGRAM(in_data, { got_initial = initial.hash + (__u64)initial.mark + md->hash; })

/* Records that user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

PROGRAM(in_record, {
	struct kept *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return XDP_ABORTED;
	__builtin_memset(&event->md, 0, sizeof(event->md));
	event->before = BEFORE;
	event->md.hash = md->hash;
	event->md.mark = md->mark;
	event->after = AFTER;
	bpf_ringbuf_submit(event, 0);
})

/* The same with the header's struct alone. */
PROGRAM(in_plain_record, {
	struct md_desc *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return XDP_ABORTED;
	md_desc_copy(event, md);
	bpf_ringbuf_submit(event, 0);
})

/* As large as the header's struct, whatever the layout's is. */
SEC("xdp") int reserved(struct xdp_md *ctx)
{
	struct md_desc *event = bpf_ringbuf_reserve(&events, bpf_core_type_size(struct md_desc), 0);

	if (!event)
		return XDP_ABORTED;
	__builtin_memset(event, 0, sizeof(*event));
	event->hash = in_hash;
	event->mark = in_mark;
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

/* And put out from the stack. */
PROGRAM(put_out, {
	struct md_desc event;

	md_desc_copy(&event, md);
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
})

/* Two copies, old and new. */
__u64 got_difference;
PROGRAM(two_copies, {
	struct md_desc old = {}, new;

	old.mark = in_mark;
	md_desc_copy(&new, md);
	OPAQUE(ctx);
	got_difference = new.mark - (__u64)old.mark;
})

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a loader may call, and how: programs without external linkage, and
 * functions that the kernel checks by their prototypes alone.
 */

#include "results.h"

__u64 in_pick;

/* One load for two fields, in a program that no other code names. */
__u64 got_hidden;
static PROGRAM_OF(struct md_desc, hidden, {
	got_hidden = in_pick & 1 ? md->hash : md->mark;
})

__u64 got_hidden_store;
static PROGRAM_OF(struct md_desc, hidden_store, {
	*(in_pick & 1 ? &md->hash : &md->mark) = in_pick >> 8;
	got_hidden_store = 1;
})

/* Other sections of a loader's. */
__u64 got_fragmented;
SEC("xdp.frags") int fragmented(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		got_fragmented = md->hash + (__u64)md->mark;
	return XDP_PASS;
}

/*
 * Has no instruction that reads its arguments but the last one. The kernel wants
 * them all.
 */
__noinline int ignoring(struct xdp_md *ctx, __u64 one, struct xdp_md *again, __u64 value)
{
	asm volatile("" : "+r"(value) : "r"(ctx), "r"(one), "r"(again));
	return value >> 7;
}

__u64 got_ignored;
PROGRAM_OF(struct md_desc, ignored, {
	__u64 value = md->hash;

	got_ignored = (__u32)ignoring(ctx, 1, ctx, value);
})

__u64 got_ignored_store;
PROGRAM_OF(struct md_desc, ignored_store, {
	__u32 value = in_pick >> 8;

	md->mark = value;
	got_ignored_store = (__u32)ignoring(ctx, md->hash, ctx, value);
})

/* Takes the descriptor from ctx, as nobody may hand it a pointer to one. */
__noinline int hash_of(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return 0;
	return md->hash >> 1;
}

__u64 got_asked;
PROGRAM_OF(struct md_desc, asked, { got_asked = hash_of(ctx) + (__u64)md->mark; })

/* A function that only a callback's address leads to. */
static long count(__u32 i, struct xdp_md **ctx)
{
	struct md_desc *md = md_desc(*ctx);

	if (md)
		found += md->mark;
	return 0;
}

__u64 got_counted;
PROGRAM_OF(struct md_desc, counted, {
	bpf_loop(2, count, &ctx, 0);
	got_counted = found - 1;
})

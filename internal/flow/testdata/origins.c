/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Accesses whose offset clang keeps in a register. */

#include <linux/bpf.h>
#include "md_desc.h"

struct md_desc___more {
	__u32 words[8];
	__u16 small[4];
} __attribute__((preserve_access_index));

#define PROGRAM(name)							     \
	static __always_inline int name##_body(struct xdp_md *ctx,	     \
					       struct md_desc *md);	     \
	SEC("xdp") int name(struct xdp_md *ctx)				     \
	{								     \
		struct md_desc *md = md_desc(ctx);			     \
									     \
		return md ? name##_body(ctx, md) : XDP_PASS;		     \
	}								     \
	static __always_inline int name##_body(struct xdp_md *ctx,	     \
					       struct md_desc *md)

char _license[] SEC("license") = "GPL";

__u64 got;

PROGRAM(either)
{
	got = bpf_core_field_exists(md->hash) ? md->hash : md->mark;
	return XDP_PASS;
}

PROGRAM(chosen)
{
	got = ctx->rx_queue_index ? md->hash : md->mark;
	return XDP_PASS;
}

PROGRAM(chosen_of_three)
{
	switch (ctx->rx_queue_index) {
	case 0:
		got = md->hash;
		break;
	case 1:
		got = md->csum;
		break;
	default:
		got = md->mark;
	}
	return XDP_PASS;
}

PROGRAM(written)
{
	if (ctx->rx_queue_index)
		md->hash = 7;
	else
		md->mark = 7;
	return XDP_PASS;
}

PROGRAM(passed)
{
	__u32 hash;

	bpf_probe_read_kernel(&hash, sizeof(hash), &md->hash);
	got = hash;
	return XDP_PASS;
}

/* Volatile keeps the address in the stack. */
PROGRAM(spilled)
{
	__u32 *volatile where = &md->hash;

	got = bpf_ktime_get_ns();
	got += *where;
	return XDP_PASS;
}

PROGRAM(indexed)
{
	struct md_desc___more *more = (void *)md;

	got = more->words[ctx->rx_queue_index & 7];
	return XDP_PASS;
}

PROGRAM(element)
{
	struct md_desc___more *more = (void *)md;

	got = more->words[3] + more->small[2];
	return XDP_PASS;
}

PROGRAM(copied)
{
	struct md_desc___more *more = (void *)md;
	__u16 small[4];

	__builtin_memcpy(small, more->small, sizeof(small));
	got = small[0] + small[3];
	return XDP_PASS;
}

PROGRAM(kept)
{
	__u32 *where = &md->mark;

	asm volatile("" : "+r"(where));
	got = bpf_ktime_get_ns();
	got += *where;
	return XDP_PASS;
}

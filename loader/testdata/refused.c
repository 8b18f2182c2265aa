/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the verifier refuses: each program in a way of its own. */

#include <linux/bpf.h>
#include "md_desc.h"

__u64 calls;

/* Forgets to check that there is metadata at all, in a function of its own. */
static __noinline int hash_of(struct xdp_md *ctx)
{
	struct md_desc *md = (void *)(long)ctx->data_meta;

	return md->hash & 1;
}

SEC("xdp") int unchecked(struct xdp_md *ctx)
{
	calls++;
	return hash_of(ctx) ? XDP_PASS : XDP_DROP;
}

/*
 * Reads a field that the layout may lack, in a function of its own. It asks, but
 * the verifier can't follow the answer.
 */
volatile __u64 has_mark;

static __noinline int mark_of(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return 0;
	has_mark = bpf_core_field_exists(md->mark);
	return has_mark ? md->mark & 1 : 0;
}

SEC("xdp") int absent(struct xdp_md *ctx)
{
	calls++;
	return mark_of(ctx) ? XDP_PASS : XDP_DROP;
}

/* Has nothing to do with metadata. */
SEC("xdp") int beyond(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	char *data = (void *)(long)ctx->data;

	if (md && md->hash)
		calls++;
	return data[20];
}

/* Never ends, in a function of its own. */
static __noinline int wait_for(struct xdp_md *ctx)
{
	__u64 queue = ctx->rx_queue_index;

	while (queue)
		asm volatile("%0 = %0" : "+r"(queue));
	return 1;
}

SEC("xdp") int endless(struct xdp_md *ctx)
{
	calls++;
	return wait_for(ctx) ? XDP_PASS : XDP_DROP;
}

/* Ends, but the verifier gives up on its 2^18 ways to do so. */
SEC("xdp") int lengthy(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u64 sum = 0;
	int i;

	if (!md)
		return XDP_DROP;
#pragma clang loop unroll(disable)
	for (i = 0; i < 18; i++)
		if (bpf_get_prandom_u32() == md->hash)
			sum += 1 << i;
	return sum == 42 ? XDP_DROP : XDP_PASS;
}

/* Leaves more branches for later than the verifier keeps in mind. */
SEC("xdp") int branchy(struct xdp_md *ctx)
{
	int i;

	for (i = 0; i < 10000; i++)
		if (bpf_get_prandom_u32() == 7)
			calls = i;
	return XDP_PASS;
}

/* Does what compilers let programs do where these have no meaning. */
extern void __bpf_trap(void) __ksym;

struct xdp_buff {
	void *data;
} __attribute__((preserve_access_index));

SEC("xdp") int senseless(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md && md->hash == bpf_core_type_size(struct xdp_buff))
		__bpf_trap();
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

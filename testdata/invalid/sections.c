/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A function in a section of its own, as -ffunction-sections makes them. It is
 * called with more than a context, and needs its arguments after the access.
 */

#include <linux/bpf.h>
#include "md_desc.h"

static __noinline __attribute__((section(".text.keep")))
__u32 keep(struct md_desc *md, __u32 value)
{
	asm volatile("" : "+r"(value)); /* or the caller knows the result */
	md->hash = value;
	return value;
}

SEC("xdp") int sections(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? keep(md, ctx->rx_queue_index) : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

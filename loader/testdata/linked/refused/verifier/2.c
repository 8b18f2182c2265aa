/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Nobody asks whether the descriptor is there. */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_2;

static __noinline __u32 pick(struct xdp_md *ctx)
{
	struct md_desc *md = (void *)(long)ctx->data_meta;

	return md->mark;
}

SEC("xdp") int program_2(struct xdp_md *ctx)
{
	got_2 = pick(ctx);
	return XDP_PASS;
}

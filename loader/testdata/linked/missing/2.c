/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Nobody calls the helper but a function that is not chosen. */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_2;

__noinline __u32 chosen(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? md->hash : 0;
}

static __noinline __u32 helper(struct md_desc *md)
{
	return md->csum;
}

__weak __noinline __u32 also(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? helper(md) : 0;
}

SEC("xdp") int program_2(struct xdp_md *ctx)
{
	got_2 = also(ctx);
	return XDP_PASS;
}

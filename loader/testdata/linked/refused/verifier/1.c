/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_1;

static __noinline __u32 pick(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? md->hash : 0;
}

SEC("xdp") int program_1(struct xdp_md *ctx)
{
	got_1 = pick(ctx);
	return XDP_PASS;
}

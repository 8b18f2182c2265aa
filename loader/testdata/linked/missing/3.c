/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_3;

__noinline __u32 also(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? md->mark : 0;
}

SEC("xdp") int program_3(struct xdp_md *ctx)
{
	got_3 = also(ctx);
	return XDP_PASS;
}

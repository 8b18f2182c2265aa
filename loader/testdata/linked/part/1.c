/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_1;

static __noinline __u32 helper(struct md_desc *md)
{
	return md->hash;
}

SEC("xdp") int program_1(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		got_1 = helper(md);
	return XDP_PASS;
}

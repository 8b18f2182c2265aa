/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program needs what no layout has. */

#include <linux/bpf.h>
#include "md_desc.h"

struct md_desc___other {
	__u64 nowhere;
} __attribute__((preserve_access_index));

char LICENSE[] SEC("license") = "GPL";

__u64 got_2;

static __noinline __u32 helper(struct md_desc *md)
{
	return md->mark;
}

SEC("xdp") int program_2(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		got_2 = helper(md) + ((struct md_desc___other *)md)->nowhere;
	return XDP_PASS;
}

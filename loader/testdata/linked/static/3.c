/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is static elsewhere is global here: a function, a program, variables. */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_picked_3, got_step;
__u64 count, start;

__noinline __u32 pick(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? md->mark + 3 : 0;
}

SEC("xdp") int step(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_DROP;
	got_picked_3 = pick(ctx);
	count += md->vlan_tci;
	start += 5;
	got_step = count + start;
	return XDP_PASS;
}

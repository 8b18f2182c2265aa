/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_chosen_2, got_steps_2;

__hidden __noinline __u32 far(struct md_desc *md)
{
	return md->csum + md->csum_status;
}

__weak __hidden __noinline __u32 chosen(struct md_desc *md)
{
	return md->csum + 2;
}

__weak __hidden long step(__u32 index, __u64 *sum)
{
	*sum += index;
	return 0;
}

SEC("xdp") int program_2(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u64 sum = 0;

	if (!md)
		return XDP_DROP;
	got_chosen_2 = chosen(md);
	bpf_loop(5, step, &sum, 0);
	got_steps_2 = sum;
	return XDP_PASS;
}

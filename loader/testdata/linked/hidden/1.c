/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Functions that are hidden: the kernel is to verify them like static ones. Callbacks
 * have to be such, and so has what gets the descriptor of a NIC that is longer than the
 * program's.
 */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_far, got_chosen_1, got_steps_1;

__u32 far(struct md_desc *md);
long step(__u32 index, __u64 *sum);

static __noinline __u32 first_of_section(__u32 value)
{
	return value & 1 ? XDP_PASS : XDP_TX;
}

__weak __hidden __noinline __u32 chosen(struct md_desc *md)
{
	return md->csum + 1;
}

SEC("xdp") int program_1(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u64 sum = 0;

	if (!md)
		return XDP_DROP;
	got_far = far(md);
	got_chosen_1 = chosen(md);
	bpf_loop(4, step, &sum, 0);
	got_steps_1 = sum;
	return first_of_section(md->hash);
}

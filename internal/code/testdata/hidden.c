/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A function whose address is taken and that has a symbol: the relocation is
 * against that. The kernel wants callbacks to be static, as which libbpf takes
 * what is hidden; cilium/ebpf does not.
 */

#include "area.h"

__u64 got_steps;

static __noinline int unrelated(__u32 value)
{
	return value ? XDP_PASS : XDP_DROP;
}

__hidden long step(__u32 index, void *data)
{
	got_steps += index ^ 5;
	return 0;
}

SEC("xdp") int loops(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);

	if (!area)
		return XDP_PASS;
	bpf_loop(area[2] & 15, step, 0, 0);
	return unrelated(area[0]);
}

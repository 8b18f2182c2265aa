/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Variables that hold the addresses of functions. No loader makes anything of
 * them, but they are relocated: a static function's place stands in the data.
 */

#include "area.h"

__u64 got_word;

static __noinline int low(__u32 value)
{
	got_word = value & 0xffff;
	return value & 1;
}

static __noinline int high(__u32 value)
{
	got_word = value >> 16;
	return value & 2;
}

__noinline int both(__u32 value)
{
	return low(value) + high(value);
}

int (*handlers[])(__u32) SEC(".data.handlers") = { low, high, both };

SEC("xdp") int handle(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);

	if (!area)
		return XDP_PASS;
	return both(area[3]) ? XDP_PASS : XDP_TX;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* may_goto, which leaves a loop once it has gone on for too long. */

#include "area.h"

__u64 got_rounds, got_value;

SEC("xdp") int bounded(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);
	__u32 rounds = 0, limit;

	if (!area)
		return XDP_PASS;
	limit = area[0] & 1023;
	for (;;) {
		asm goto("may_goto %l[out]" :::: out);
		if (rounds >= limit)
			break;
		got_value = got_value * 7 + rounds;
		rounds++;
	}
out:
	got_rounds = rounds;
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Jumps of 32 bits, forwards and backwards, between ones of 16. -mcpu=v4. */

#include "area.h"

__u64 got_path, got_rounds;

SEC("xdp") int far(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);
	__u32 rounds = 0;

	if (!area)
		return XDP_PASS;
	if (area[0] & 1)
		asm goto("gotol %l[odd]" :::: odd);
	got_path += area[1];
again:
	if (++rounds > 7 || area[rounds & 7] & 2)
		asm goto("gotol %l[out]" :::: out);
	got_path = got_path * 3 + rounds;
	asm goto("gotol %l[again]" :::: again);
odd:
	got_path += 1000;
out:
	got_rounds = rounds;
	return XDP_PASS;
}

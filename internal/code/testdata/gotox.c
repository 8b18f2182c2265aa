/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Jumps to an address from a table, which clang 22 makes of a switch of 13 cases
 * or more for -mcpu=v4. Each case is told from the others by its constant.
 */

#include "area.h"

__u64 got_first, got_second;

#define CASE(n) case n: value = (value + area[n % WORDS]) * (1000 + n); break;
#define CASES								\
	CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)		\
	CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(15)

SEC("xdp") int first(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);
	__u64 value = 1;

	if (!area)
		return XDP_PASS;
	switch (area[0] & 15) { CASES }
	got_first = value;
	return XDP_PASS;
}

/* Two tables in one function, behind the other's. */
SEC("xdp") int second(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);
	__u64 value = 2;

	if (!area)
		return XDP_PASS;
	switch (area[1] & 15) { CASES }
	value ^= area[3];
	switch (area[2] & 15) { CASES }
	got_second = value;
	return XDP_PASS;
}

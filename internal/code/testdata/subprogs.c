/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Calls of every kind: from two programs in one section to static and global
 * functions in .text, from these to each other, forwards and backwards; loops,
 * a switch, a map and constants of 64 bits in between.
 */

#include "area.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

__u64 got_sum, got_mixed, got_kind, got_count, got_calls;

static __noinline __u64 mix(__u64 value, __u32 rounds)
{
	got_calls++;
	if (value & 1)
		return value * 0x9e3779b97f4a7c15ULL + rounds;
	return (value >> 7) ^ 0x0123456789abcdefULL;
}

__noinline int kind_of(__u32 value)
{
	switch (value & 15) {
	case 0:
		return mix(value, 3) & 0xff;
	case 1:
		return 77;
	case 4:
		got_calls += 5;
		return 12;
	case 9:
		return -4;
	case 11:
		return bpf_get_prandom_u32() ? 9 : 9;
	default:
		return value & 3;
	}
}

static __noinline __u64 twice(__u64 value)
{
	return mix(value, 1) + mix(value + 1, kind_of(value));
}

static __noinline int count(__u32 key)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &key);

	if (!n)
		return 0;
	return ++*n;
}

SEC("xdp") int sum(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);

	if (!area)
		return XDP_PASS;
	for (int i = 0; i < WORDS; i++)
		got_sum += area[i] ^ got_sum << 1;
	got_mixed = twice(got_sum);
	got_count = count(area[0] & 3);
	return XDP_PASS;
}

SEC("xdp") int classify(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);

	if (!area)
		return XDP_DROP;
	got_kind = kind_of(area[1]);
	if (got_kind > 3)
		got_kind += twice(area[2]) % 1000;
	return got_kind % 2 ? XDP_PASS : XDP_TX;
}

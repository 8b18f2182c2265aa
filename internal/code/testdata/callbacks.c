/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Static functions whose address is taken: an LDDW with a relocation against
 * .text and the function's place in the immediate.
 */

#include "area.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

__u64 got_steps, got_last, got_sum;

struct progress {
	__u64 value;
	__u32 limit;
};

static long step(__u32 index, void *data)
{
	struct progress *progress = data;

	progress->value = progress->value * 31 + index;
	got_steps++;
	return index >= progress->limit;
}

static long add(void *map, __u32 *key, __u64 *value, void *data)
{
	got_sum += *value * (*key + 1);
	return 0;
}

SEC("xdp") int loops(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);
	struct progress progress = {};

	if (!area)
		return XDP_PASS;
	progress.value = area[0];
	progress.limit = area[1] & 31;
	bpf_loop(64, step, &progress, 0);
	got_last = progress.value;
	return XDP_PASS;
}

SEC("xdp") int elements(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);

	if (!area)
		return XDP_PASS;
	for (__u32 i = 0; i < WORDS; i++) {
		__u32 key = i;
		__u64 value = area[i];

		bpf_map_update_elem(&numbers, &key, &value, 0);
	}
	bpf_for_each_map_elem(&numbers, add, 0, 0);
	return XDP_PASS;
}

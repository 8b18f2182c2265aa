/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pointers to functions in data: the slots of a map of programs, which loaders
 * fill from them, and plain variables, which are only carried along. A static
 * function's place in its section stands in the data itself.
 */

#include "area.h"

int last(struct xdp_md *ctx);
int other(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} stages SEC(".maps") = {
	.values = { [1] = (void *)&other, [2] = (void *)&last },
};

__u64 got_stage, got_word;

SEC("xdp") int first(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);

	if (!area)
		return XDP_PASS;
	got_stage = 1;
	got_word = area[1];
	bpf_tail_call(ctx, &stages, area[0] & 3);
	return XDP_DROP;
}

SEC("xdp") int other(struct xdp_md *ctx)
{
	got_stage = 2;
	bpf_tail_call(ctx, &stages, 2);
	return XDP_TX;
}

SEC("xdp") int last(struct xdp_md *ctx)
{
	__u32 *area = area_of(ctx);

	got_stage += 100;
	if (area)
		got_word += area[2];
	return XDP_PASS;
}

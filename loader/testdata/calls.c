/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls through a program array that the object fills. */

#include <linux/bpf.h>
#include "md_desc.h"

__u32 called;      /* how often the last program in line ran */
__u32 missed;      /* how often there was no program in a slot */
__u32 hash_called; /* what it read */

int first_called(struct xdp_md *ctx);
int last_called(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
#ifdef PINNED
	__uint(pinning, LIBBPF_PIN_BY_NAME);
#endif
	__array(values, int(struct xdp_md *));
} jump SEC(".maps") = {
	.values = { [0] = &first_called, [2] = &last_called },
};

SEC("xdp") int calls(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jump, 0);
	missed++;
	return XDP_PASS;
}

SEC("xdp") int first_called(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jump, 2);
	missed++;
	return XDP_PASS;
}

#ifndef LAST
#define LAST "xdp"
#endif

SEC(LAST) int last_called(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	called++;
	if (md)
		hash_called = md->hash;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

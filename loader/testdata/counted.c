/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts its packets in a map that the next program takes over, in the last program of a
 * chain once more.
 */

#include <linux/bpf.h>
#include "md_desc.h"

struct counts {
	__u64 seen;  /* by the first program */
	__u64 found; /* by the last one */
	__u64 right; /* of these, with the hash that was sent */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} counts SEC(".maps");

int last(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(struct xdp_md *));
} chain SEC(".maps") = {
	.values = { [0] = &last },
};

SEC("xdp") int counted(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct counts *count = bpf_map_lookup_elem(&counts, &zero);

	if (count)
		__sync_fetch_and_add(&count->seen, 1);
	bpf_tail_call(ctx, &chain, 0);
	return XDP_DROP;
}

SEC("xdp") int last(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 zero = 0;
	struct counts *count = bpf_map_lookup_elem(&counts, &zero);

	if (!count)
		return XDP_DROP;
	__sync_fetch_and_add(&count->found, 1);
	if (md && md->hash == 0xcafe)
		__sync_fetch_and_add(&count->right, 1);
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";

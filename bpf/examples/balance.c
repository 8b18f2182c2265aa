/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts packets by the NIC's flow hash, in four classes. A packet without
 * metadata is counted by nobody.
 */

#include <linux/bpf.h>
#include "md_desc.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("xdp") int balance(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md) {
		__u32 class = md->hash % 4;
		__u64 *n = bpf_map_lookup_elem(&packets, &class);

		if (n)
			__sync_fetch_and_add(n, 1);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

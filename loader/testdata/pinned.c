/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Has a map that is pinned by its name, which outlives the program. */

#include <linux/bpf.h>
#include "md_desc.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} last_hash SEC(".maps");

SEC("xdp") int keep_hash_of_last_packet(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 zero = 0;
	__u64 *hash = bpf_map_lookup_elem(&last_hash, &zero);

	if (md && hash)
		*hash = md->hash;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

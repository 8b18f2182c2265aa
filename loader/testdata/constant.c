/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts packets that have the hash that the loader says, by a step that it says, too. */

#include <linux/bpf.h>
#include "md_desc.h"

const volatile __u32 wanted = 0xbad;
const volatile __u64 step = 1000;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counted SEC(".maps");

SEC("xdp") int constant(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&counted, &zero);

	if (n && md && md->hash == wanted)
		__sync_fetch_and_add(n, step);
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";

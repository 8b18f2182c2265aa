/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts packets and bytes by the mark of the rule that they matched in the NIC's flow
 * table: the NIC has classified them, by whatever its rules can say. Packets without a
 * mark, and all of a NIC without marks, are under 0.
 */

#include <linux/bpf.h>
#include "md_desc.h"

struct traffic {
	__u64 packets;
	__u64 bytes;
};

/* By mark. Of more marks than there is room for, those not seen for long go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct traffic);
} marks SEC(".maps");

SEC("xdp") int talkers(struct xdp_md *ctx)
{
	__u64 bytes = ctx->data_end - ctx->data;
	struct traffic *traffic, first = {};
	struct md_desc *md = md_desc(ctx);
	__u32 mark = 0;

	if (md && bpf_core_field_exists(md->mark))
		mark = md->mark;
	traffic = bpf_map_lookup_elem(&marks, &mark);
	if (!traffic) {
		bpf_map_update_elem(&marks, &mark, &first, BPF_NOEXIST);
		traffic = bpf_map_lookup_elem(&marks, &mark);
	}
	if (traffic) {
		__sync_fetch_and_add(&traffic->packets, 1);
		__sync_fetch_and_add(&traffic->bytes, bytes);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

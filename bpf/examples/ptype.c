/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts packets and bytes by the headers that the NIC's parser has found, without
 * reading any. Of a NIC that does not tell, all are under 0.
 */

#include <linux/bpf.h>
#include "md_desc.h"

struct traffic {
	__u64 packets;
	__u64 bytes;
};

/* By bits of enum md_ptype. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MD_PTYPE_OTHER_L4 << 1);
	__type(key, __u32);
	__type(value, struct traffic);
} headers SEC(".maps");

SEC("xdp") int ptype(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	struct traffic *traffic;
	__u32 found = 0;

	if (md && bpf_core_field_exists(md->ptype))
		found = md->ptype;
	traffic = bpf_map_lookup_elem(&headers, &found);
	if (traffic) {
		__sync_fetch_and_add(&traffic->packets, 1);
		__sync_fetch_and_add(&traffic->bytes, ctx->data_end - ctx->data);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

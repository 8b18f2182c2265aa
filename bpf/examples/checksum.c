/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Drops packets whose checksum the NIC has found wrong, before anything looks at them,
 * and counts packets by what it has found.
 *
 * A NIC that does not tell the two apart says of a wrong one that it has not looked:
 * such packets pass, and the stack looks. So do all of a NIC that never tells.
 */

#include <linux/bpf.h>
#include "md_desc.h"

/* Packets, by enum md_csum_status. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MD_CSUM_BAD + 1);
	__type(key, __u32);
	__type(value, __u64);
} found SEC(".maps");

SEC("xdp") int checksum(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 status = MD_CSUM_NONE;
	__u64 *packets;

	if (md && bpf_core_field_exists(md->csum_status))
		status = md->csum_status;
	packets = bpf_map_lookup_elem(&found, &status);
	if (packets)
		__sync_fetch_and_add(packets, 1);
	return status == MD_CSUM_BAD ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

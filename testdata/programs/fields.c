/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads every field of the header. */

#include "results.h"

RESULT(__u64, rx_timestamp);
RESULT(__u64, hash);
RESULT(__u64, hash_type);
RESULT(__u64, csum);
RESULT(__u64, csum_status);
RESULT(__u64, vlan_tci);
RESULT(__u64, vlan_proto);
RESULT(__u64, mark);

SEC("xdp") int fields(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_PASS;

	found = 1;
	READ(md, rx_timestamp, rx_timestamp);
	READ(md, hash, hash);
	READ(md, hash_type, hash_type);
	READ(md, csum, csum);
	READ(md, csum_status, csum_status);
	READ(md, vlan_tci, vlan_tci);
	READ(md, vlan_proto, vlan_proto);
	READ(md, mark, mark);
	return XDP_PASS;
}

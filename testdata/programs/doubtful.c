/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Asks whether a field exists, but keeps the answer in memory that anybody may
 * write: whether the access is reached only the verifier can tell, and it says
 * that it is.
 */

#include "results.h"

volatile __u64 has_rx_timestamp;
__u64 got_rx_timestamp;

SEC("xdp") int doubtful(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_PASS;

	found = 1;
	has_rx_timestamp = bpf_core_field_exists(md->rx_timestamp);
	if (has_rx_timestamp)
		got_rx_timestamp = md->rx_timestamp;
	return XDP_PASS;
}

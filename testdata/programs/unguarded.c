/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads a field without asking whether it is there. */

#include "results.h"

__u64 got_rx_timestamp;

SEC("xdp") int unguarded(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_PASS;

	found = 1;
	got_rx_timestamp = md->rx_timestamp;
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Checks for the size of its own struct, which is compiled in: where the layout
 * has the field behind that, the access is out of bounds.
 */

#include "results.h"

RESULT(__u64, hash);

SEC("xdp") int baked(struct xdp_md *ctx)
{
	struct md_desc *md = (void *)(long)ctx->data_meta;

	if ((void *)(md + 1) > (void *)(long)ctx->data)
		return XDP_PASS;

	found = 1;
	READ(md, hash, hash);
	return XDP_PASS;
}

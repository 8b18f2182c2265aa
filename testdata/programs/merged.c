/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One field or else another: clang merges the two loads into one whose offset
 * is in a register, and the records end up on the MOVs that put it there. The
 * width of that load can't follow both.
 */

#include "results.h"

__u64 got_hash_or_mark;

SEC("xdp") int merged(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_PASS;

	found = 1;
	if (bpf_core_field_exists(md->hash))
		got_hash_or_mark = md->hash;
	else
		got_hash_or_mark = md->mark;
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes every field: the producer's side. Half of the values are variables,
 * in_*, that a test sets before the program runs; the other half are
 * constants, which -mcpu=v4 stores without a register. Constants fit in the
 * narrowest field of any layout; variables are cut off where they don't.
 */

#include "results.h"

#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>

__u64 in_rx_timestamp;
__u32 in_hash;
__u32 in_csum;
__u16 in_vlan_tci;
__u32 in_mark;

#define WRITE(md, path, value)						\
	do {								\
		if (bpf_core_field_exists((md)->path))			\
			(md)->path = (value);				\
	} while (0)

/* Into the metadata area that is there. */
SEC("xdp") int store(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_PASS;

	found = 1;
	WRITE(md, rx_timestamp, in_rx_timestamp);
	WRITE(md, hash, in_hash);
	WRITE(md, hash_type, 0x19);
	WRITE(md, csum, in_csum);
	WRITE(md, csum_status, MD_CSUM_COMPLETE);
	WRITE(md, vlan_tci, in_vlan_tci);
	WRITE(md, vlan_proto, bpf_htons(ETH_P_8021Q));
	WRITE(md, mark, in_mark);
	return XDP_PASS;
}

/* Makes the area first, as large as the layout asks for. */
SEC("xdp") int produce(struct xdp_md *ctx)
{
	struct md_desc *md;

	if (bpf_xdp_adjust_meta(ctx, -(int)bpf_core_type_size(struct md_desc)))
		return XDP_ABORTED;

	md = md_desc(ctx);
	if (!md)
		return XDP_ABORTED;

	found = 1;
	WRITE(md, hash, in_hash);
	WRITE(md, mark, 42);
	return XDP_PASS;
}

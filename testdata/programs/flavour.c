/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads fields that are not in the header, through a flavour of its own. */

#include "results.h"

typedef __u32 port_id;

struct md_desc___mine {
	port_id port;			/* behind a typedef */
	union {				/* inside an anonymous union */
		__u32 flow;
		__u8 flow_octets[4];
	};
	struct {			/* inside a nested struct */
		__u16 queue;
	} rx;
	__u32 words[4];			/* one element of an array */
	__u8 tag[8];
	__s32 skew;			/* signed, as wide in every layout */
	__u32 hash;			/* also in the header, elsewhere */
} __attribute__((preserve_access_index));

RESULT(__u64, port);
RESULT(__u64, flow);
RESULT(__u64, rx__queue);
RESULT(__u64, words__0);
RESULT(__u64, words__2);
RESULT(__u64, tag__5);
RESULT(__s64, skew);
RESULT(__u64, hash);

SEC("xdp") int flavour(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	struct md_desc___mine *mine = (struct md_desc___mine *)md;

	if (!md)
		return XDP_PASS;

	found = 1;
	READ(mine, port, port);
	READ(mine, flow, flow);
	READ(mine, rx.queue, rx__queue);
	READ(mine, words[0], words__0);
	READ(mine, words[2], words__2);
	READ(mine, tag[5], tag__5);
	READ(mine, skew, skew);
	READ(mine, hash, hash);
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The same header in a TC program. */

#include "results.h"

#include <linux/pkt_cls.h>

RESULT(__u64, hash);
RESULT(__u64, mark);

SEC("tc") int skb_fields(struct __sk_buff *skb)
{
	struct md_desc *md = md_desc(skb);

	if (!md)
		return TC_ACT_OK;

	found = 1;
	READ(md, hash, hash);
	READ(md, mark, mark);
	return TC_ACT_OK;
}

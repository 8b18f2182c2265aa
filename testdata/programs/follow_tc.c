/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The descriptor's pointer in a struct and in functions of a TC program. */

#include "results.h"

#include <linux/pkt_cls.h>

struct packet {
	struct md_desc *md;
	__u64 sum;
};

static __noinline void add_hash(struct packet *packet)
{
	packet->sum += packet->md->hash;
}

static long add_mark(__u32 i, void *data)
{
	struct packet *packet = data;

	packet->sum += packet->md->mark;
	return 0;
}

__u64 got_in_tc;
SEC("tc") int in_tc(struct __sk_buff *skb)
{
	struct packet packet = { .md = md_desc(skb) };

	if (!packet.md)
		return TC_ACT_OK;
	found = 1;
	add_hash(&packet);
	bpf_loop(2, add_mark, &packet, 0);
	got_in_tc = packet.sum;
	return TC_ACT_OK;
}

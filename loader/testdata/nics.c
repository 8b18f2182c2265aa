/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All that XDP and TC say of one packet, and what the stack has in its skb. A packet has
 * its number in its source address, behind 02:4e, in network byte order.
 */

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include "md_desc.h"
#include "kfuncs.h"

struct seen {
	struct md_desc md;
	__u32 times;	/* packets with this number */
	__u32 found;	/* those of them that had a descriptor */
	__u32 queue;
	__u32 hash;	/* of the skb, as any program of TC has it; or the kfunc's */
	__u32 hash_type;	/* the kfunc's */
	__u32 vlan;	/* tag and protocol of the skb */
};

struct numbered {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 10000);
	__type(key, __u32);
	__type(value, struct seen);
} by_xdp SEC(".maps"), by_tc SEC(".maps");

struct ethernet {
	__u8 destination[6];
	__u8 mark[2];
	__be32 number;
} __attribute__((packed));

/* The record of a packet, or NULL if it has no number. */
static __always_inline struct seen *record_of(void *map, void *data, void *data_end)
{
	struct ethernet *header = data;
	__u32 key;

	if ((void *)(header + 1) > data_end || header->mark[0] != 0x02 || header->mark[1] != 0x4e)
		return 0;
	key = bpf_ntohl(header->number);
	return bpf_map_lookup_elem(map, &key);
}

static __always_inline void record(struct seen *s, struct md_desc *md)
{
	s->times++;
	if (!md)
		return;
	s->found++;
	md_desc_copy(&s->md, md);
}

SEC("xdp") int received(struct xdp_md *ctx)
{
	struct seen *s = record_of(&by_xdp, (void *)(long)ctx->data, (void *)(long)ctx->data_end);

	if (s) {
		s->queue = ctx->rx_queue_index;
		record(s, md_desc(ctx));
	}
	return XDP_PASS;
}

/* The same, of a device that has the kfunc. */
SEC("xdp") int asked(struct xdp_md *ctx)
{
	struct seen *s = record_of(&by_xdp, (void *)(long)ctx->data, (void *)(long)ctx->data_end);
	enum xdp_rss_hash_type hash_type = 0;
	__u32 hash = 0;

	if (s) {
		s->queue = ctx->rx_queue_index;
		record(s, md_desc(ctx));
		bpf_xdp_metadata_rx_hash(ctx, &hash, &hash_type);
		s->hash = hash;
		s->hash_type = hash_type;
	}
	return XDP_PASS;
}

SEC("tc") int stacked(struct __sk_buff *skb)
{
	struct seen *s = record_of(&by_tc, (void *)(long)skb->data, (void *)(long)skb->data_end);

	if (s) {
		s->queue = skb->queue_mapping - 1;
		s->hash = skb->hash;
		s->vlan = skb->vlan_present ? skb->vlan_tci | skb->vlan_proto << 16 : 0;
		record(s, md_desc(skb));
	}
	return 0; /* TC_ACT_OK */
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What XDP and TC say of one packet, and what the stack has in its skb. A packet is UDP,
 * and says its number at the start of its payload, in network byte order.
 */

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include "md_desc.h"

struct fields {
	__u32 hash;
	__u32 mark;
	__u32 hash_type;
	__u32 csum_status;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__u32 seen;	/* packets with this number */
	__u32 found;	/* those of them that had a descriptor */
};

struct numbered {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 30000);
	__type(key, __u32);
	__type(value, struct fields);
} by_xdp SEC(".maps"), by_tc SEC(".maps"), by_stack SEC(".maps");

#define NUMBER_OFFSET (14 + 20 + 8)

/* The record of a packet, or NULL if it has no number. */
static __always_inline struct fields *record_of(void *map, void *data, void *data_end)
{
	__be32 *number = data + NUMBER_OFFSET;
	__u32 key;

	if ((void *)(number + 1) > data_end || ((__u8 *)data)[14 + 9] != 17 /* UDP */)
		return 0;
	key = bpf_ntohl(*number);
	return bpf_map_lookup_elem(map, &key);
}

static __always_inline void record(struct fields *f, struct md_desc *md)
{
	f->seen++;
	if (!md)
		return;
	f->found++;
	f->hash = md->hash;
	f->mark = md->mark;
	f->hash_type = md->hash_type;
	f->csum_status = md->csum_status;
	f->vlan_tci = md->vlan_tci;
	f->vlan_proto = md->vlan_proto;
}

SEC("xdp") int received(struct xdp_md *ctx)
{
	struct fields *f = record_of(&by_xdp, (void *)(long)ctx->data, (void *)(long)ctx->data_end);

	if (f)
		record(f, md_desc(ctx));
	return XDP_PASS;
}

SEC("tc") int stacked(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct fields *f = record_of(&by_tc, data, data_end);

	if (f)
		record(f, md_desc(skb));
	f = record_of(&by_stack, data, data_end);
	if (f) {
		f->seen++;
		f->hash = skb->hash;
		f->mark = skb->mark;
		f->vlan_tci = skb->vlan_tci;
		f->vlan_proto = skb->vlan_proto;
	}
	return 0; /* TC_ACT_OK */
}

char _license[] SEC("license") = "Dual BSD/GPL";

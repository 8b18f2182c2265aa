/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes down what it reads of each packet's metadata, for comparing with what
 * the NIC wrote. Each packet says itself where its record goes: a sequence
 * number, in network byte order, follows its Ethernet header.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include "md_desc.h"

struct record {
	__u64 rx_timestamp;	/* 0 if the NIC has no timestamps */
	__u32 hash;
	__u32 hash_type;
	__u32 mark;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__u32 seen;		/* packets with this number */
	__u32 found;		/* those of them that had metadata */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 100000);
	__type(key, __u32);
	__type(value, struct record);
} records SEC(".maps");

SEC("xdp") int record(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__be32 *number = data + sizeof(struct ethhdr);
	struct md_desc *md = md_desc(ctx);
	struct record *r;
	__u32 key;

	if ((void *)(number + 1) > data_end)
		return XDP_DROP;

	key = bpf_ntohl(*number);
	r = bpf_map_lookup_elem(&records, &key);
	if (!r)
		return XDP_DROP;

	r->seen++;
	if (!md)
		return XDP_DROP;

	r->found++;
	if (bpf_core_field_exists(md->rx_timestamp))
		r->rx_timestamp = md->rx_timestamp;
	r->hash = md->hash;
	r->hash_type = md->hash_type;
	r->mark = md->mark;
	r->vlan_tci = md->vlan_tci;
	r->vlan_proto = md->vlan_proto;
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";

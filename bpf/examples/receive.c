/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Puts what the NIC knows of each packet in front of it, as struct md_meta, and
 * redirects the packet to the AF_XDP socket of its queue. A queue without a socket
 * keeps its packets.
 */

#include <linux/bpf.h>
#include "md_desc.h"
#include "md_meta.h"

/* The sockets, by the numbers of their queues. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* The fields that the consumer asks for. The verifier drops the code of the others. */
const volatile __u8 wanted = MD_META_ALL;

/* Where consumers find the struct: enum md_meta_place. */
__u32 place;

/* Packets that there was no room in front of. They pass. */
__u64 without_room;

/* Puts the struct into the BTF, by which consumers read it. */
struct md_meta layout;

/* Of what the NIC lacks, neither the bit nor the code is left. */
static __always_inline void read_fields(struct md_meta *meta, struct md_desc *md)
{
	if (wanted & MD_META_RX_TIMESTAMP && bpf_core_field_exists(md->rx_timestamp)) {
		meta->rx_timestamp = md->rx_timestamp;
		meta->fields |= MD_META_RX_TIMESTAMP;
	}
	if (wanted & MD_META_HASH && bpf_core_field_exists(md->hash) &&
	    bpf_core_field_exists(md->hash_type)) {
		meta->hash = md->hash;
		meta->hash_type = md->hash_type;
		meta->fields |= MD_META_HASH;
	}
	if (wanted & MD_META_CSUM && bpf_core_field_exists(md->csum_status)) {
		meta->csum_status = md->csum_status;
		if (bpf_core_field_exists(md->csum))
			meta->csum = md->csum;
		meta->fields |= MD_META_CSUM;
	}
	if (wanted & MD_META_VLAN && bpf_core_field_exists(md->vlan_tci) &&
	    bpf_core_field_exists(md->vlan_proto)) {
		meta->vlan_tci = md->vlan_tci;
		meta->vlan_proto = md->vlan_proto;
		meta->fields |= MD_META_VLAN;
	}
	if (wanted & MD_META_MARK && bpf_core_field_exists(md->mark)) {
		meta->mark = md->mark;
		meta->fields |= MD_META_MARK;
	}
	if (wanted & MD_META_PTYPE && bpf_core_field_exists(md->ptype)) {
		meta->ptype = md->ptype;
		meta->fields |= MD_META_PTYPE;
	}
}

/* The socket is not told how long the area is: it is as long as the struct. */
static __always_inline long make_area(struct xdp_md *ctx)
{
	long area = (void *)(long)ctx->data - (void *)(long)ctx->data_meta;

	return bpf_xdp_adjust_meta(ctx, area - (int)sizeof(struct md_meta));
}

/*
 * Some drivers have no metadata area. There the struct becomes the start of the packet,
 * if it is not in front of others: a socket could not tell them apart.
 */
static __always_inline __u32 make_room(struct xdp_md *ctx)
{
	__u32 is = place;

	if (is != MD_META_IN_PACKET && make_area(ctx) == 0)
		is = MD_META_IN_AREA;
	else if (is != MD_META_IN_AREA && bpf_xdp_adjust_head(ctx, -(int)sizeof(struct md_meta)) == 0)
		is = MD_META_IN_PACKET;
	else
		return MD_META_NOWHERE;
	/* Not with each packet: all CPUs read it. */
	if (place != is)
		place = is;
	return is;
}

SEC("xdp") int receive(struct xdp_md *ctx)
{
	struct md_meta meta = {}, *in_front;
	__u32 queue = ctx->rx_queue_index;
	struct md_desc *md;

	if (!bpf_map_lookup_elem(&sockets, &queue))
		return XDP_PASS;

	/* All is read before the packet is moved, which takes the descriptor along. */
	md = md_desc(ctx);
	if (md)
		read_fields(&meta, md);

	switch (make_room(ctx)) {
	case MD_META_IN_AREA:
		in_front = (void *)(long)ctx->data_meta;
		if ((void *)(in_front + 1) > (void *)(long)ctx->data)
			return XDP_ABORTED;
		*in_front = meta;
		return bpf_redirect_map(&sockets, queue, XDP_PASS);
	case MD_META_IN_PACKET:
		in_front = (void *)(long)ctx->data;
		if ((void *)(in_front + 1) > (void *)(long)ctx->data_end)
			return XDP_ABORTED;
		*in_front = meta;
		return bpf_redirect_map(&sockets, queue, XDP_DROP);
	}
	__sync_fetch_and_add(&without_room, 1);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

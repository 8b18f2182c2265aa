/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __DRIVER_H__
#define __DRIVER_H__

/*
 * Records of packets. A packet is UDP, and says its number at the start of its
 * payload, in network byte order.
 */

#include "md_desc.h"
#include <bpf/bpf_endian.h>

#define MAX_PACKETS 30000

struct fields {
	__u64 rx_timestamp;
	__u32 hash;
	__u32 mark;
	__u32 hash_type;
	__u32 csum;
	__u32 csum_status;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__u32 seen;	/* packets with this number */
	__u32 found;	/* those of them that had a descriptor */
};

#define NUMBER_OFFSET (14 + 20 + 8)

/* The record of a packet, or NULL if it has no number. */
static __always_inline void *record_of(void *map, void *data, void *data_end)
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
	f->rx_timestamp = md->rx_timestamp;
	f->hash = md->hash;
	f->mark = md->mark;
	f->hash_type = md->hash_type;
	f->csum = md->csum;
	f->csum_status = md->csum_status;
	f->vlan_tci = md->vlan_tci;
	f->vlan_proto = md->vlan_proto;
}

#endif /* __DRIVER_H__ */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __SK_BUFF_H__
#define __SK_BUFF_H__

/* What a struct sk_buff says of a packet, for the files that start from one. */

#include "md_driver.h"

struct skb_shared_hwtstamps {
	__s64 hwtstamp;
} __core;

struct skb_shared_info {
	__u8 tx_flags;
	struct skb_shared_hwtstamps hwtstamps;
} __core;

/* vlan_present: before 6.2, where a tag that was taken off leaves vlan_proto */
struct sk_buff {
	unsigned char *head;
	unsigned int end;
	__u32 hash;
	__u32 csum;
	__u32 mark;
	__be16 vlan_proto;
	__u16 vlan_tci;
	__u8 l4_hash : 1;
	__u8 ip_summed : 2;
	__u8 vlan_present : 1;
} __core;

/* CHECKSUM_PARTIAL, a #define of include/linux/skbuff.h as the other CHECKSUM_* */
#define CHECKSUM_PARTIAL 3

/*
 * SKBTX_HW_TSTAMP_NETDEV: the driver (igc) has put a pointer where the stamp goes.
 * An enumerator of an enum without a name; the same in 6.1, 6.12, 6.18 and 7.3.
 */
#define SKBTX_HW_TSTAMP_NETDEV (1 << 5)

#define SKB_RX_TIMESTAMP "skb_hwtstamps(skb)->hwtstamp, if the NIC that received it made a stamp"
#define SKB_HASH "sk_buff.hash, if the NIC or a socket made one"
#define SKB_HASH_TYPE "sk_buff.l4_hash: XDP_RSS_L4 if the ports are in the hash"
#define SKB_CSUM "sk_buff.csum, if csum_status is MD_CSUM_COMPLETE"
#define SKB_CSUM_STATUS "sk_buff.ip_summed"
#define SKB_VLAN_TCI "sk_buff.vlan_tci, if there is a tag"
#define SKB_VLAN_PROTO "sk_buff.vlan_proto, if there is a tag"
#define SKB_MARK "sk_buff.mark"

/* sk_buff.end is an offset from head on every kernel of 64 bits. */
static __always_inline __u64 skb_rx_timestamp(struct sk_buff *skb)
{
	struct skb_shared_info *shared = (void *)(skb->head + skb->end);

	if (shared->tx_flags & SKBTX_HW_TSTAMP_NETDEV)
		return 0;
	return shared->hwtstamps.hwtstamp;
}

/* What veth's own kfunc says of it; of the addresses alone, nothing. */
static __always_inline __u32 skb_hash_type(struct sk_buff *skb)
{
	return md_bits(skb, l4_hash) ? MD_HASH_L4 : 0;
}

/*
 * A partial sum is one that the sender left to a NIC that never saw the packet: it
 * has been on no wire that could have damaged it.
 */
static __always_inline __u32 skb_csum_status(struct sk_buff *skb)
{
	__u32 summed = md_bits(skb, ip_summed);

	return summed == CHECKSUM_PARTIAL ? MD_CSUM_UNNECESSARY : summed;
}

static __always_inline __u32 skb_csum(struct sk_buff *skb)
{
	return skb_csum_status(skb) == MD_CSUM_COMPLETE ? skb->csum : 0;
}

static __always_inline __be16 skb_vlan_proto(struct sk_buff *skb)
{
	if (bpf_core_field_exists(skb->vlan_present) && !md_bits(skb, vlan_present))
		return 0;
	return skb->vlan_proto;
}

static __always_inline __u16 skb_vlan_tci(struct sk_buff *skb)
{
	return skb_vlan_proto(skb) ? skb->vlan_tci : 0;
}

#endif /* __SK_BUFF_H__ */

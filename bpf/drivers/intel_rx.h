/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __INTEL_RX_H__
#define __INTEL_RX_H__

/*
 * What the receive descriptors of igb, igc, ixgbe, ixgbevf and i40e have in common. Each is
 * 16 bytes, little-endian, as the NIC writes it back.
 */

#include "md_driver.h"

/*
 * What of a descriptor the stack believes is up to features of the device: a NIC goes on
 * writing all of it. They are asked for once a packet, and kept where the address of a
 * descriptor, a multiple of its size, has zeros.
 */
#define INTEL_DESC_SIZE 16
#define INTEL_RXHASH 1
#define INTEL_RXCSUM 2
#define INTEL_CTAG_RX 4

static __always_inline void *intel_keep(void *desc, __u64 features)
{
	__u64 kept = (features & MD_NETIF_F_RXHASH ? INTEL_RXHASH : 0) |
		     (features & MD_NETIF_F_RXCSUM ? INTEL_RXCSUM : 0) |
		     (features & MD_NETIF_F_HW_VLAN_CTAG_RX ? INTEL_CTAG_RX : 0);

	return (void *)((__u64)desc | kept);
}

static __always_inline bool intel_has(void *found, __u64 features)
{
	return (__u64)found & features;
}

static __always_inline void *intel_desc(void *found)
{
	return (void *)((__u64)found & ~(INTEL_DESC_SIZE - 1ULL));
}

/*
 * Some drivers count in a variable on a queue of AF_XDP's zero copy, and leave next_to_clean
 * where the poll has begun. From there on, as far as a poll goes, each buff is in the ring
 * once: one that is free again comes back at the end of the poll.
 *
 * intel_find_buff() returns its place, or INTEL_NOT_FOUND. The first pointer to a buff is at
 * buffs, each other stride bytes behind the one before.
 */
#define INTEL_BUDGET 64 /* NAPI_POLL_WEIGHT */
#define INTEL_NOT_FOUND (~0ULL)

/* start + i, counted around, without a jump: the verifier would go all ways through the loop. */
static __always_inline __u64 intel_index(__u64 start, __u64 i, __u64 count)
{
	__s64 past = start + i - count, before = past >> 63;

	asm("" : "+r"(before));
	return past + (count & before);
}

static __always_inline __u64 intel_find_buff(void *buffs, __u64 stride, __u64 start, __u64 count,
					     struct xdp_buff *xdp)
{
	__u64 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < INTEL_BUDGET; i++) {
		if (*(struct xdp_buff **)((char *)buffs + stride * intel_index(start, i, count)) == xdp)
			break;
	}
	if (i == INTEL_BUDGET)
		return INTEL_NOT_FOUND;
	asm("" : "+r"(i)); /* anew, not kept in the loop */
	return intel_index(start, i, count);
}

static __always_inline bool intel_is_zero_copy(struct xdp_rxq_info *rxq)
{
	return rxq->mem.type == bpf_core_enum_value(enum xdp_mem_type, MEM_TYPE_XSK_BUFF_POOL);
}

/*
 * The advanced descriptor, of all but i40e: pkt_info and rss, and status_error, length and
 * vlan. Halves are read as a whole: that is one load for all of it.
 */
struct intel_adv_desc {
	__le64 lower;
	__le64 upper;
};

static __always_inline __u64 intel_adv_lower(void *found)
{
	return md_le64(((struct intel_adv_desc *)intel_desc(found))->lower);
}

static __always_inline __u64 intel_adv_upper(void *found)
{
	return md_le64(((struct intel_adv_desc *)intel_desc(found))->upper);
}

/* In the lower half, the RSS type, and above it the packet type, a bit for each header. */
#define INTEL_ADV_RSS_TYPE 0xf
#define INTEL_ADV_IPV4 (0x10 | 0x20) /* without and with options */
#define INTEL_ADV_IPV6 (0x40 | 0x80) /* without and with extensions */
#define INTEL_ADV_TCP 0x100
#define INTEL_ADV_UDP 0x200
#define INTEL_ADV_SCTP 0x400
#define INTEL_ADV_IPSEC (0x1000 | 0x2000) /* ESP, AH */
#define INTEL_ADV_ETQF 0x8000 /* the rest is the number of an EtherType filter */

/* In the upper half. */
#define INTEL_ADV_EOP 0x00000002
#define INTEL_ADV_VP 0x00000008

static __always_inline __u16 intel_adv_length(__u64 upper)
{
	return upper >> 32;
}

/*
 * The first descriptor of several says nothing of the packet. There are some if the NIC
 * takes more than fits into a buffer, whatever the MTU.
 */
static __always_inline bool intel_adv_is_last(void *desc)
{
	return md_le64(((struct intel_adv_desc *)desc)->upper) & INTEL_ADV_EOP;
}

/*
 * "RSS type" of the data sheets, a number of four bits, each of which has six in a table:
 * none, TCP and IPv4, IPv4, TCP and IPv6, IPv6 with extensions, IPv6, TCP and IPv6 with
 * extensions, UDP and IPv4, UDP and IPv6, UDP and IPv6 with extensions.
 */
#define INTEL_ADV_TYPE(number, bits) ((__u64)(bits) << (6 * (number)))

#define INTEL_ADV_TYPES							\
	(INTEL_ADV_TYPE(1, MD_HASH_IPV4 | MD_HASH_TCP) |		\
	 INTEL_ADV_TYPE(2, MD_HASH_IPV4) |				\
	 INTEL_ADV_TYPE(3, MD_HASH_IPV6 | MD_HASH_TCP) |		\
	 INTEL_ADV_TYPE(4, MD_HASH_IPV6 | MD_HASH_DYNHDR) |		\
	 INTEL_ADV_TYPE(5, MD_HASH_IPV6) |				\
	 INTEL_ADV_TYPE(6, MD_HASH_IPV6 | MD_HASH_DYNHDR | MD_HASH_TCP) |\
	 INTEL_ADV_TYPE(7, MD_HASH_IPV4 | MD_HASH_UDP) |		\
	 INTEL_ADV_TYPE(8, MD_HASH_IPV6 | MD_HASH_UDP) |		\
	 INTEL_ADV_TYPE(9, MD_HASH_IPV6 | MD_HASH_DYNHDR | MD_HASH_UDP))

/* Of the others, which are reserved, 15 is what matched a filter of ixgbe's, not a hash. */
static __always_inline __u32 intel_adv_hash_type(void *found)
{
	__u32 type;

	if (!intel_has(found, INTEL_RXHASH))
		return 0;
	type = intel_adv_lower(found) & INTEL_ADV_RSS_TYPE;
	return type <= 9 ? INTEL_ADV_TYPES >> (6 * type) & 0x3f : 0;
}

static __always_inline __u32 intel_adv_hash(void *found)
{
	__u64 lower;
	__u32 type;

	if (!intel_has(found, INTEL_RXHASH))
		return 0;
	lower = intel_adv_lower(found);
	type = lower & INTEL_ADV_RSS_TYPE;
	return type && type <= 9 ? lower >> 32 : 0;
}

/* With IPv4 and IPv6 the one is in the other. */
static __always_inline __u32 intel_adv_ptype(__u64 lower)
{
	__u32 bits = 0;

	if (lower & INTEL_ADV_ETQF)
		return 0;
	if (lower & INTEL_ADV_IPV6)
		bits = lower & INTEL_ADV_IPV4 ? MD_PTYPE_IPV6 | MD_PTYPE_TUNNELLED : MD_PTYPE_IPV6;
	else if (lower & INTEL_ADV_IPV4)
		bits = MD_PTYPE_IPV4;
	return bits |
	       (lower & INTEL_ADV_TCP ? MD_PTYPE_TCP : 0) |
	       (lower & INTEL_ADV_UDP ? MD_PTYPE_UDP : 0) |
	       (lower & INTEL_ADV_SCTP ? MD_PTYPE_SCTP : 0) |
	       (lower & INTEL_ADV_IPSEC ? MD_PTYPE_OTHER_L4 : 0);
}

/* A tag that the NIC took off. */
static __always_inline bool intel_adv_has_tag(void *found, __u64 upper)
{
	return intel_has(found, INTEL_CTAG_RX) && upper & INTEL_ADV_VP;
}

static __always_inline __u16 intel_adv_tag(__u64 upper)
{
	return upper >> 48;
}

#endif /* __INTEL_RX_H__ */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __LIBIE_RX_H__
#define __LIBIE_RX_H__

#include "md_driver.h"

/*
 * The packet type of i40e and ice, as libie_rx_pt_lut[] of the kernel has it, and before
 * 6.10 a table of either driver: 22 to 87 are IPv4, 88 to 153 IPv6, in the same order.
 * Within such a block: 7 plain, 14 IP in IP, and three times 1 + 14 tunnelled by GRE or
 * UDP, with nothing, with a MAC and with a MAC and VLAN in between. Each 7 are a fragment,
 * no L4, UDP, unused, TCP, SCTP and ICMP; each 14 are 7 with IPv4 and 7 with IPv6 inside.
 */
enum libie_l4 {
	LIBIE_L4_FRAGMENT = 0,
	LIBIE_L4_NONE = 1,
	LIBIE_L4_UDP = 2,
	LIBIE_L4_TCP = 4,
	LIBIE_L4_SCTP = 5,
	LIBIE_L4_ICMP = 6,
	LIBIE_L4_UNKNOWN = 7,
};

#define LIBIE_PTYPE_IPV4 22
#define LIBIE_PTYPE_IPV6 88
#define LIBIE_PTYPE_END 154

static __always_inline bool libie_ptype_is_ipv6(__u32 ptype)
{
	return ptype >= LIBIE_PTYPE_IPV6;
}

static __always_inline __u32 libie_ptype_in_block(__u32 ptype)
{
	return ptype - (libie_ptype_is_ipv6(ptype) ? LIBIE_PTYPE_IPV6 : LIBIE_PTYPE_IPV4);
}

/* In a GRE tunnel: 0 for no IP inside, 1 to 7 for IPv4, 8 to 14 for IPv6. */
static __always_inline __u32 libie_ptype_in_gre(__u32 place)
{
	return (place - 21) % 15;
}

static __always_inline enum libie_l4 libie_ptype_l4(__u32 ptype)
{
	__u32 place, l4;

	if (ptype < LIBIE_PTYPE_IPV4 || ptype >= LIBIE_PTYPE_END)
		return LIBIE_L4_UNKNOWN;
	place = libie_ptype_in_block(ptype);
	if (place < 21)
		l4 = place % 7;
	else
		l4 = libie_ptype_in_gre(place) ? (libie_ptype_in_gre(place) - 1) % 7 : LIBIE_L4_NONE;
	return l4 == 3 ? LIBIE_L4_UNKNOWN : l4;
}

static __always_inline bool libie_ptype_is_tunnel(__u32 ptype)
{
	return libie_ptype_in_block(ptype) >= 7;
}

/* MD_PTYPE_* of the innermost IP header. */
static __always_inline __u32 libie_ptype_inner_ip(__u32 ptype)
{
	__u32 place = libie_ptype_in_block(ptype);
	__u32 inside = place < 21 ? place - 6 : libie_ptype_in_gre(place);

	if (place < 7)
		return libie_ptype_is_ipv6(ptype) ? MD_PTYPE_IPV6 : MD_PTYPE_IPV4;
	if (!inside)
		return 0;
	return inside < 8 ? MD_PTYPE_IPV4 : MD_PTYPE_IPV6;
}

/* MD_HASH_*: of the outer IP header and the L4 header, as the drivers have it. */
static __always_inline __u32 libie_hash_type(__u32 ptype)
{
	__u32 ip = libie_ptype_is_ipv6(ptype) ? MD_HASH_IPV6 : MD_HASH_IPV4;

	switch (libie_ptype_l4(ptype)) {
	case LIBIE_L4_UNKNOWN:
		return 0;
	case LIBIE_L4_UDP:
		return ip | MD_HASH_UDP;
	case LIBIE_L4_TCP:
		return ip | MD_HASH_TCP;
	case LIBIE_L4_SCTP:
		return ip | MD_HASH_SCTP;
	case LIBIE_L4_ICMP:
		return ip | MD_HASH_ICMP;
	default:
		return ip;
	}
}

/* MD_PTYPE_* */
static __always_inline __u32 libie_ptype(__u32 ptype)
{
	enum libie_l4 l4 = libie_ptype_l4(ptype);
	__u32 bits;

	if (l4 == LIBIE_L4_UNKNOWN)
		return 0;
	bits = libie_ptype_inner_ip(ptype);
	if (libie_ptype_is_tunnel(ptype))
		bits |= MD_PTYPE_TUNNELLED;

	switch (l4) {
	case LIBIE_L4_FRAGMENT:
		return bits | MD_PTYPE_FRAGMENT;
	case LIBIE_L4_UDP:
		return bits | MD_PTYPE_UDP;
	case LIBIE_L4_TCP:
		return bits | MD_PTYPE_TCP;
	case LIBIE_L4_SCTP:
		return bits | MD_PTYPE_SCTP;
	case LIBIE_L4_ICMP:
		return bits | MD_PTYPE_ICMP;
	default:
		return bits;
	}
}

#endif /* __LIBIE_RX_H__ */

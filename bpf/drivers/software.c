// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * Any driver: what can be made of the packet itself, and of the clock, for those who ask
 * for it.
 */

#include <linux/bpf.h>
#include "md_driver.h"

MD_DRIVER("software");

/* Every packet can be looked at. */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	return (void *)1;
}

MD_START_FIELD(rx_timestamp, "software: CLOCK_TAI when the program starts")
{
	return bpf_ktime_get_tai_ns();
}

#define ETH_LENGTH 14
#define VLAN_LENGTH 4
#define IPV4_LENGTH 20
#define IPV6_LENGTH 40
#define PORTS_LENGTH 4

#define VLAN_CTAG 0x8100
#define VLAN_STAG 0x88a8
#define IPV4 0x0800
#define IPV6 0x86dd
#define IPV4_FRAGMENT 0x3fff /* MF, and the offset */

#define TCP 6
#define UDP 17
#define SCTP 132

static __always_inline __u32 word(void *at)
{
	return md_be32(*(__be32 *)at);
}

static __always_inline __u16 half(void *at)
{
	return md_be16(*(__be16 *)at);
}

static __always_inline __u8 byte(void *at)
{
	return *(__u8 *)at;
}

/*
 * Where the IP header is, with up to two VLAN tags in front of it, and NULL if there is
 * none or not all of it. Its version is that of the EtherType.
 */
static __always_inline void *ip_header(void *data, void *end)
{
	__u16 proto = half(data + ETH_LENGTH - 2);

	data += ETH_LENGTH;
	if (proto == VLAN_CTAG || proto == VLAN_STAG) {
		proto = half(data + VLAN_LENGTH - 2);
		data += VLAN_LENGTH;
	}
	if (proto == VLAN_CTAG) {
		proto = half(data + VLAN_LENGTH - 2);
		data += VLAN_LENGTH;
	}
	if (proto == IPV4 && data + IPV4_LENGTH <= end && byte(data) >> 4 == 4)
		return data;
	if (proto == IPV6 && data + IPV6_LENGTH <= end && byte(data) >> 4 == 6)
		return data;
	return NULL;
}

static __always_inline bool is_ipv4(void *ip)
{
	return byte(ip) >> 4 == 4;
}

static __always_inline __u8 protocol(void *ip)
{
	return byte(ip + (is_ipv4(ip) ? 9 : 6));
}

/*
 * Which ports there are, as bits of enum xdp_rss_hash_type: none in fragments, in
 * protocols without, and behind extension headers of IPv6.
 */
static __always_inline __u32 ports_type(void *ip, void *end, void **ports)
{
	__u8 proto = protocol(ip);

	*ports = ip + IPV6_LENGTH;
	if (is_ipv4(ip)) {
		if (half(ip + 6) & IPV4_FRAGMENT)
			return 0;
		*ports = ip + (byte(ip) & 0xf) * 4;
	}
	if (*ports + PORTS_LENGTH > end)
		return 0;
	return proto == TCP ? MD_HASH_TCP : proto == UDP ? MD_HASH_UDP : proto == SCTP ? MD_HASH_SCTP : 0;
}

/* One step of the hash, which docs/accessors.md defines: the odd number is 2^64 by the golden ratio. */
static __always_inline __u64 mix(__u64 hash, __u32 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

static __always_inline __u64 mix_words(__u64 hash, void *at, int words)
{
	int i;

#pragma clang loop unroll(full)
	for (i = 0; i < words; i++)
		hash = mix(hash, word(at + 4 * i));
	return hash;
}

#define FLOW "software: addresses, ports and protocol of the packet"

MD_PACKET_FIELD(hash, FLOW, void *desc, struct xdp_buff *xdp)
{
	void *end = xdp->data_end, *ip = ip_header(xdp->data, end), *ports;
	__u64 hash = 0;

	if (!ip)
		return 0;
	if (is_ipv4(ip))
		hash = mix_words(hash, ip + 12, 2);
	else
		hash = mix_words(hash, ip + 8, 8);
	hash = mix(hash, ports_type(ip, end, &ports) ? word(ports) : 0);
	return mix(hash, protocol(ip));
}

MD_PACKET_FIELD(hash_type, FLOW, void *desc, struct xdp_buff *xdp)
{
	void *end = xdp->data_end, *ip = ip_header(xdp->data, end), *ports;

	if (!ip)
		return 0;
	return MD_HASH_SOFTWARE | (is_ipv4(ip) ? MD_HASH_IPV4 : MD_HASH_IPV6) | ports_type(ip, end, &ports);
}

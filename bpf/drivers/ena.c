// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * ena: Amazon's Elastic Network Adapter. The descriptor is the receive completion. Its
 * numbers are in the byte order of the host: the driver is for little-endian ones only.
 */

#include "md_driver.h"

MD_DRIVER("ena");
MD_LACKS(rx_timestamp, "the descriptor has none");
MD_LACKS(csum, "the descriptor has none");
MD_LACKS(vlan_tci, "the NIC leaves the tag in the packet");
MD_LACKS(vlan_proto, "the NIC leaves the tag in the packet");
MD_LACKS(mark, "the descriptor has none");

struct ena_eth_io_rx_cdesc_base {
	__u32 status;
	__u32 hash;
} __core;

struct ena_com_io_desc_addr {
	__u8 *virt_addr;
} __core;

struct ena_com_io_cq {
	struct ena_com_io_desc_addr cdesc_addr;
	__u16 q_depth;
	__u16 head;
	__u8 cdesc_entry_size_in_bytes;
} __core;

struct ena_ring {
	struct net_device *netdev;
	struct ena_com_io_cq *ena_com_io_cq;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct ena_adapter {
	struct ena_ring rx_ring[1];
} __core;

/* enum ena_eth_io_l3_proto_index and ena_eth_io_l4_proto_index */
#define ENA_IPV4 8
#define ENA_IPV6 11
#define ENA_TCP 12
#define ENA_UDP 13

/* ENA_ETH_IO_RX_CDESC_BASE_*_MASK */
#define ENA_L3_CSUM_ERR (1 << 13)
#define ENA_L4_CSUM_ERR (1 << 14)
#define ENA_IPV4_FRAG (1 << 15)
#define ENA_L4_CSUM_CHECKED (1 << 16)

/*
 * ena_com_rx_pkt() has the head of the completion queue behind the packet before the
 * program runs, in AF_XDP mode as well, which only Amazon's own build of the driver has.
 * Of a packet in several descriptors the last one describes it.
 *
 * How far the descriptors are apart is the queue's to say: that build may have the NIC
 * write longer ones, which begin with these bytes.
 */
MD_DESCRIPTOR(struct ena_eth_io_rx_cdesc_base, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct ena_ring *ring = container_of(rxq, struct ena_ring, xdp_rxq), *rings;
	struct ena_com_io_cq *cq;
	__u32 last;

	if (ring->netdev != dev)
		return NULL;
	rings = (void *)md_at(md_netdev_priv(dev), struct ena_adapter, rx_ring);
	if (md_element(rings, struct ena_ring, rxq->queue_index) != ring)
		return NULL;
	cq = ring->ena_com_io_cq;
	last = (cq->head - 1) & (cq->q_depth - 1);
	return (void *)(cq->cdesc_addr.virt_addr + last * cq->cdesc_entry_size_in_bytes);
}

static __always_inline bool ena_is_fragment(__u32 status)
{
	return status & ENA_IPV4_FRAG;
}

static __always_inline __u32 ena_l3(__u32 status)
{
	return status & 0x1f;
}

static __always_inline __u32 ena_l4(__u32 status)
{
	return status >> 8 & 0x1f;
}

static __always_inline bool ena_is_tcp_or_udp(__u32 status)
{
	return ena_l4(status) == ENA_TCP || ena_l4(status) == ENA_UDP;
}

/* ena_set_rx_hash(): of fragments and of what is neither TCP nor UDP there is none. */
static __always_inline bool ena_has_hash(__u32 status, struct xdp_buff *xdp)
{
	return ena_is_tcp_or_udp(status) && !ena_is_fragment(status) && md_netdev_has(xdp, MD_NETIF_F_RXHASH);
}

MD_FIELD(hash, "ena_eth_io_rx_cdesc_base.hash of TCP and UDP, if rxhash is on",
	 struct ena_eth_io_rx_cdesc_base *desc, struct xdp_buff *xdp)
{
	return ena_has_hash(desc->status, xdp) ? desc->hash : 0;
}

MD_FIELD(hash_type, "ena_eth_io_rx_cdesc_base.status: TCP and UDP, if rxhash is on",
	 struct ena_eth_io_rx_cdesc_base *desc, struct xdp_buff *xdp)
{
	__u32 status = desc->status, bits = 0;

	if (!ena_has_hash(status, xdp))
		return 0;
	if (ena_l3(status) == ENA_IPV4)
		bits = MD_HASH_IPV4;
	else if (ena_l3(status) == ENA_IPV6)
		bits = MD_HASH_IPV6;
	return bits | (ena_l4(status) == ENA_TCP ? MD_HASH_TCP : MD_HASH_UDP);
}

/*
 * ena_rx_checksum(), and what struct ena_eth_io_rx_cdesc_base says of its bits: an error
 * of the IPv4 header may also mean that the NIC did not look, and one of TCP or UDP means
 * what it says if the NIC did.
 */
MD_FIELD(csum_status, "ena_eth_io_rx_cdesc_base.status of TCP and UDP, if rx-checksumming is on",
	 struct ena_eth_io_rx_cdesc_base *desc, struct xdp_buff *xdp)
{
	__u32 status = desc->status;

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM) || ena_is_fragment(status))
		return MD_CSUM_NONE;
	if (ena_l3(status) == ENA_IPV4 && status & ENA_L3_CSUM_ERR)
		return MD_CSUM_NONE;
	if (!ena_is_tcp_or_udp(status) || !(status & ENA_L4_CSUM_CHECKED))
		return MD_CSUM_NONE;
	return status & ENA_L4_CSUM_ERR ? MD_CSUM_BAD : MD_CSUM_UNNECESSARY;
}

/* Of a fragment no transport header: only the first has one, and there is no telling which it is. */
MD_FIELD(ptype, "ena_eth_io_rx_cdesc_base.status", struct ena_eth_io_rx_cdesc_base *desc)
{
	__u32 status = desc->status, bits = 0;

	if (ena_l3(status) == ENA_IPV4)
		bits = MD_PTYPE_IPV4;
	else if (ena_l3(status) == ENA_IPV6)
		bits = MD_PTYPE_IPV6;
	if (ena_is_fragment(status))
		return bits | MD_PTYPE_FRAGMENT;
	if (ena_l4(status) == ENA_TCP)
		return bits | MD_PTYPE_TCP;
	return ena_l4(status) == ENA_UDP ? bits | MD_PTYPE_UDP : bits;
}

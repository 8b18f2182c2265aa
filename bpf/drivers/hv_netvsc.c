// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * hv_netvsc: the NIC of Hyper-V and Azure. The descriptor is what the host said of the
 * packet, which the driver copies out of its message: rsc_add_data().
 *
 * The driver hands the program on to the virtual function behind it, and that one's buffs
 * are its driver's.
 */

#include "md_driver.h"

MD_DRIVER("hv_netvsc");
MD_LACKS(rx_timestamp, "the host tells no time");
MD_LACKS(csum, "the host tells whether the checksum was right, but no sum");
MD_LACKS(mark, "the host tells of no rule");

struct ndis_pkt_8021q_info {
	__u32 value;
} __core;

struct ndis_tcp_ip_checksum_info {
	__u32 value;
} __core;

/* ppi_flags: since 5.19 */
struct nvsc_rsc {
	struct ndis_pkt_8021q_info vlan;
	struct ndis_tcp_ip_checksum_info csum_info;
	__u32 hash_info;
	__u8 ppi_flags;
} __core;

struct netvsc_device;

struct netvsc_channel {
	struct netvsc_device *net_device;
	struct nvsc_rsc rsc;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct netvsc_device {
	struct netvsc_channel chan_table[1];
} __core;

struct net_device_context {
	struct netvsc_device *nvdev;
} __core;

/* #defines of the driver: what of nvsc_rsc is valid */
#define NVSC_RSC_VLAN (1 << 0)
#define NVSC_RSC_CSUM_INFO (1 << 1)
#define NVSC_RSC_HASH_INFO (1 << 2)

/* The bits of ndis_tcp_ip_checksum_info.receive, in the order of a little-endian machine. */
#define NETVSC_TCP_FAILED (1 << 0)
#define NETVSC_UDP_FAILED (1 << 1)
#define NETVSC_IP_FAILED (1 << 2)
#define NETVSC_TCP_SUCCEEDED (1 << 3)
#define NETVSC_UDP_SUCCEEDED (1 << 4)
#define NETVSC_IP_SUCCEEDED (1 << 5)

MD_DESCRIPTOR(struct nvsc_rsc, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct netvsc_channel *channel = container_of(rxq, struct netvsc_channel, xdp_rxq);
	struct net_device_context *context = md_netdev_priv(rxq->dev);
	struct netvsc_device *device = context->nvdev;
	void *channels = md_at(device, struct netvsc_device, chan_table[0]);

	if (md_element(channels, struct netvsc_channel, rxq->queue_index) != channel)
		return NULL;
	if (channel->net_device != device)
		return NULL;
	return md_at(channel, struct netvsc_channel, rsc);
}

static __always_inline bool netvsc_has_hash(struct nvsc_rsc *rsc, struct xdp_buff *xdp)
{
	return rsc->ppi_flags & NVSC_RSC_HASH_INFO && md_netdev_has(xdp, MD_NETIF_F_RXHASH);
}

MD_FIELD(hash, "nvsc_rsc.hash_info, if the host made one and rxhash is on",
	 struct nvsc_rsc *rsc, struct xdp_buff *xdp)
{
	return netvsc_has_hash(rsc, xdp) ? rsc->hash_info : 0;
}

/* The host does not say what of; the driver calls it one of L4. */
MD_FIELD(hash_type, "nvsc_rsc.ppi_flags: XDP_RSS_L4, if there is a hash",
	 struct nvsc_rsc *rsc, struct xdp_buff *xdp)
{
	return netvsc_has_hash(rsc, xdp) ? MD_HASH_L4 : 0;
}

/* netvsc_alloc_recv_skb(), which does not ask what has failed. */
MD_FIELD(csum_status, "nvsc_rsc.csum_info, if the host looked and rx-checksumming is on",
	 struct nvsc_rsc *rsc, struct xdp_buff *xdp)
{
	__u32 found;

	if (!(rsc->ppi_flags & NVSC_RSC_CSUM_INFO) || !md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	found = rsc->csum_info.value;
	if (found & (NETVSC_TCP_FAILED | NETVSC_UDP_FAILED | NETVSC_IP_FAILED))
		return MD_CSUM_BAD;
	return found & (NETVSC_TCP_SUCCEEDED | NETVSC_UDP_SUCCEEDED) ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/* Of what the host has looked at a checksum. Only IPv4 has one of its own. */
MD_FIELD(ptype, "nvsc_rsc.csum_info, if the host looked", struct nvsc_rsc *rsc)
{
	__u32 found;

	if (!(rsc->ppi_flags & NVSC_RSC_CSUM_INFO))
		return 0;
	found = rsc->csum_info.value;
	return (found & (NETVSC_IP_FAILED | NETVSC_IP_SUCCEEDED) ? MD_PTYPE_IPV4 : 0) |
	       (found & (NETVSC_TCP_FAILED | NETVSC_TCP_SUCCEEDED) ? MD_PTYPE_TCP : 0) |
	       (found & (NETVSC_UDP_FAILED | NETVSC_UDP_SUCCEEDED) ? MD_PTYPE_UDP : 0);
}

/* The bits of ndis_pkt_8021q_info: 3 priority, 1 CFI, 12 VLAN ID, from the lowest. */
MD_FIELD(vlan_tci, "nvsc_rsc.vlan, if the host took a tag off", struct nvsc_rsc *rsc)
{
	__u32 tag;

	if (!(rsc->ppi_flags & NVSC_RSC_VLAN))
		return 0;
	tag = rsc->vlan.value;
	return (tag & 7) << 13 | (tag >> 3 & 1) << 12 | (tag >> 4 & 0xfff);
}

MD_FIELD(vlan_proto, "802.1Q, if the host took a tag off", struct nvsc_rsc *rsc)
{
	return rsc->ppi_flags & NVSC_RSC_VLAN ? MD_VLAN_CTAG : 0;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* ixgbevf: virtual functions of Intel 82599 to X550 and E610. The descriptor is ixgbe's. */

#include "intel_rx.h"

MD_DRIVER("ixgbevf");
MD_LACKS(rx_timestamp, "the driver has no hardware timestamps");
MD_LACKS(csum, "the NIC writes the hash in its place");
MD_LACKS(mark, "the descriptor has none");

enum ixgbe_mac_type {
	ixgbe_mac_82599_vf = 1,
};

struct ixgbe_mac_info {
	enum ixgbe_mac_type type;
} __core;

struct ixgbe_hw {
	struct ixgbe_mac_info mac;
} __core;

struct ixgbevf_ring;

struct ixgbevf_adapter {
	unsigned long active_vlans[64];
	struct ixgbevf_ring *rx_ring[8];
	struct ixgbe_hw hw;
} __core;

struct ixgbevf_ring {
	void *desc;
	__u16 next_to_clean;
	struct xdp_rxq_info xdp_rxq;
} __core;

/* IXGBE_RXD_STAT_* and IXGBE_RXDADV_ERR_* of the driver, in the upper half */
#define IXGBEVF_L4CS 0x00000020
#define IXGBEVF_IPCS 0x00000040
#define IXGBEVF_TCPE 0x40000000
#define IXGBEVF_IPE 0x80000000

/* ixgbevf_clean_rx_irq() moves next_to_clean on behind the program; there is no zero copy. */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct ixgbevf_adapter *adapter = md_netdev_priv(dev);
	struct ixgbevf_ring *ring = container_of(rxq, struct ixgbevf_ring, xdp_rxq);
	void *desc;

	if (adapter->rx_ring[rxq->queue_index] != ring)
		return NULL;
	desc = (char *)ring->desc + ring->next_to_clean * INTEL_DESC_SIZE;
	return intel_adv_is_last(desc) ? intel_keep(desc, dev->features) : NULL;
}

MD_FIELD(hash, "ixgbe_adv_rx_desc.wb.lower.hi_dword.rss, if rxhash is on", void *found)
{
	return intel_adv_hash(found);
}

MD_FIELD(hash_type, "ixgbe_adv_rx_desc.wb.lower.lo_dword.hs_rss.pkt_info, if rxhash is on", void *found)
{
	return intel_adv_hash_type(found);
}

MD_FIELD(ptype, "ixgbe_adv_rx_desc.wb.lower.lo_dword.hs_rss.pkt_info", void *found)
{
	return intel_adv_ptype(intel_adv_lower(found));
}

static __always_inline struct ixgbevf_adapter *ixgbevf_adapter(struct xdp_buff *xdp)
{
	return md_netdev_priv(xdp->rxq->dev);
}

/* What ixgbe knows of 82599, this driver does not: a UDP packet that has no sum may be called wrong. */
static __always_inline bool ixgbevf_maybe_right(void *found, struct xdp_buff *xdp)
{
	return intel_adv_lower(found) & INTEL_ADV_UDP &&
	       ixgbevf_adapter(xdp)->hw.mac.type == bpf_core_enum_value(enum ixgbe_mac_type, ixgbe_mac_82599_vf);
}

MD_FIELD(csum_status, "ixgbe_adv_rx_desc.wb.upper.status_error, if rx-checksumming is on",
	 void *found, struct xdp_buff *xdp)
{
	__u64 upper = intel_adv_upper(found);

	if (!intel_has(found, INTEL_RXCSUM))
		return MD_CSUM_NONE;
	if (upper & IXGBEVF_IPCS && upper & IXGBEVF_IPE)
		return MD_CSUM_BAD;
	if (!(upper & IXGBEVF_L4CS))
		return MD_CSUM_NONE;
	if (upper & IXGBEVF_TCPE)
		return ixgbevf_maybe_right(found, xdp) ? MD_CSUM_NONE : MD_CSUM_BAD;
	return MD_CSUM_UNNECESSARY;
}

/*
 * ixgbevf_process_skb_fields(): a tag of a VLAN that the device has not joined is not the
 * packet's, but of the port that the host has put it on.
 */
static __always_inline bool ixgbevf_has_tag(struct xdp_buff *xdp, __u64 upper)
{
	__u32 vlan = intel_adv_tag(upper) & 0xfff;

	return upper & INTEL_ADV_VP && ixgbevf_adapter(xdp)->active_vlans[vlan / 64] >> vlan % 64 & 1;
}

MD_FIELD(vlan_tci, "ixgbe_adv_rx_desc.wb.upper.vlan, if the NIC took a tag off, of a VLAN of the device",
	 void *found, struct xdp_buff *xdp)
{
	__u64 upper = intel_adv_upper(found);

	return ixgbevf_has_tag(xdp, upper) ? intel_adv_tag(upper) : 0;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if the NIC took a tag off, of a VLAN of the device",
	 void *found, struct xdp_buff *xdp)
{
	return ixgbevf_has_tag(xdp, intel_adv_upper(found)) ? MD_VLAN_CTAG : 0;
}

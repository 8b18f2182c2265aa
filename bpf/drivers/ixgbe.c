// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* ixgbe: Intel 82598 to X550 and E610. The descriptor is the advanced one. */

#include "intel_rx.h"

MD_DRIVER("ixgbe");
MD_LACKS(csum, "the NIC writes the hash in its place");
MD_LACKS(mark, "the driver does not have the NIC report which filter matched");

enum ixgbe_mac_type {
	ixgbe_mac_X550 = 4,
};

struct ixgbe_mac_info {
	enum ixgbe_mac_type type;
} __core;

struct ixgbe_hw {
	struct ixgbe_mac_info mac;
} __core;

struct ixgbe_ring;

struct ixgbe_adapter {
	__u32 flags;
	struct ixgbe_ring *rx_ring[64];
	struct ixgbe_hw hw;
	struct timecounter hw_tc;
} __core;

/* what is in the device's private data in later kernels, instead of the adapter */
struct ixgbe_netdevice_priv {
	struct ixgbe_adapter *adapter;
} __core;

struct ixgbe_q_vector {
	struct ixgbe_adapter *adapter;
} __core;

struct ixgbe_ring {
	struct ixgbe_q_vector *q_vector;
	void *desc;
	unsigned long state;
	__u16 next_to_clean;
	__u16 rx_offset;
	struct xdp_rxq_info xdp_rxq;
} __core;

/* in later kernels */
struct ixgbe_ring___bitmap {
	unsigned long state[1];
} __core;

enum ixgbe_ring_state_t {
	__IXGBE_RX_CSUM_UDP_ZERO_ERR = 3,
};

/* IXGBE_RXD_STAT_* and IXGBE_RXDADV_ERR_* of the driver, in the upper half */
#define IXGBE_L4CS 0x00000020
#define IXGBE_IPCS 0x00000040
#define IXGBE_OUTERIPCS 0x00000100
#define IXGBE_TSIP 0x00008000
#define IXGBE_OUTERIPER 0x04000000
#define IXGBE_TCPE 0x40000000
#define IXGBE_IPE 0x80000000

/* IXGBE_RXDADV_PKTTYPE_*, in the lower half: of NICs that see into tunnels, X550 and later */
#define IXGBE_VXLAN 0x0800 /* or Geneve; NFS of earlier NICs */
#define IXGBE_TUNNEL 0x10000

/* #defines of the driver */
#define IXGBE_FLAG_RX_HWTSTAMP_ENABLED (1 << 25)
#define IXGBE_TS_HDR_LEN 8

static __always_inline struct ixgbe_ring *ixgbe_ring(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct ixgbe_ring, xdp_rxq);
}

static __always_inline struct ixgbe_adapter *ixgbe_adapter(struct net_device *dev)
{
	if (bpf_core_type_exists(struct ixgbe_netdevice_priv))
		return ((struct ixgbe_netdevice_priv *)md_netdev_priv(dev))->adapter;
	return md_netdev_priv(dev);
}

/*
 * ixgbe_clean_rx_irq() and ixgbe_clean_rx_irq_zc() move next_to_clean on behind the program.
 * The driver runs none on rings on which the NIC puts segments together (RSC).
 */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct ixgbe_ring *ring = container_of(rxq, struct ixgbe_ring, xdp_rxq);
	void *desc;

	if (ixgbe_adapter(dev)->rx_ring[rxq->queue_index] != ring)
		return NULL;
	desc = (char *)ring->desc + ring->next_to_clean * INTEL_DESC_SIZE;
	return intel_adv_is_last(desc) ? intel_keep(desc, dev->features) : NULL;
}

#define XDP_PACKET_HEADROOM 256 /* macro of uapi/linux/bpf.h */

/* Whether the packet ends where the driver has put its end: a program that ran before this one may have moved it. */
static __always_inline bool ixgbe_ends_in_place(struct xdp_buff *xdp, __u16 length)
{
	__u64 start = intel_is_zero_copy(xdp->rxq) ? XDP_PACKET_HEADROOM : ixgbe_ring(xdp)->rx_offset;

	return xdp->data_end == xdp->data_hard_start + start + length;
}

/*
 * What ixgbe_ptp_rx_pktstamp() cuts off the packet; the program sees it as its end. Earlier
 * NICs have their stamps in a register, and something else in this bit.
 */
MD_PACKET_FIELD(rx_timestamp, "the last 8 bytes of what the program sees, on X550 and later, if hardware timestamps are on (hwstamp_ctl)",
		void *found, struct xdp_buff *xdp)
{
	struct ixgbe_adapter *adapter;
	__u64 stamp, upper = intel_adv_upper(found);

	if (!(upper & IXGBE_TSIP) || !ixgbe_ends_in_place(xdp, intel_adv_length(upper)))
		return 0;
	adapter = ixgbe_ring(xdp)->q_vector->adapter;
	if (!(adapter->flags & IXGBE_FLAG_RX_HWTSTAMP_ENABLED) ||
	    (__u32)adapter->hw.mac.type < bpf_core_enum_value(enum ixgbe_mac_type, ixgbe_mac_X550))
		return 0;
	stamp = md_le64(*(__le64 *)(xdp->data_end - IXGBE_TS_HDR_LEN));

	/* Billions of cycles, and cycles: ixgbe_ptp_convert_to_hwtstamp(). */
	stamp = (stamp >> 32) * 1000000000ULL + (__u32)stamp;
	return md_timecounter_ns(md_at(adapter, struct ixgbe_adapter, hw_tc), stamp);
}

MD_FIELD(hash, "ixgbe_adv_rx_desc.wb.lower.hi_dword.rss, if rxhash is on", void *found)
{
	return intel_adv_hash(found);
}

MD_FIELD(hash_type, "ixgbe_adv_rx_desc.wb.lower.lo_dword.hs_rss.pkt_info, if rxhash is on", void *found)
{
	return intel_adv_hash_type(found);
}

MD_FIELD(ptype, "ixgbe_adv_rx_desc.wb.lower.lo_dword", void *found)
{
	__u64 lower = intel_adv_lower(found);
	__u32 bits = intel_adv_ptype(lower);

	return lower & IXGBE_TUNNEL && !(lower & INTEL_ADV_ETQF) ? bits | MD_PTYPE_TUNNELLED : bits;
}

/* 82599 may call the sum of a UDP packet wrong that has none: ixgbe_rx_checksum(). */
static __always_inline bool ixgbe_maybe_right(struct xdp_buff *xdp, __u64 lower)
{
	__u64 bit = bpf_core_enum_value(enum ixgbe_ring_state_t, __IXGBE_RX_CSUM_UDP_ZERO_ERR);
	struct ixgbe_ring___bitmap *later = (void *)ixgbe_ring(xdp);

	if (!(lower & INTEL_ADV_UDP))
		return false;
	if (bpf_core_field_exists(later->state))
		return later->state[0] >> bit & 1;
	return ixgbe_ring(xdp)->state >> bit & 1;
}

MD_FIELD(csum_status, "ixgbe_adv_rx_desc.wb.upper.status_error, if rx-checksumming is on",
	 void *found, struct xdp_buff *xdp)
{
	__u64 upper = intel_adv_upper(found), lower;

	if (!intel_has(found, INTEL_RXCSUM))
		return MD_CSUM_NONE;
	if (upper & IXGBE_IPCS && upper & IXGBE_IPE)
		return MD_CSUM_BAD;
	if (!(upper & IXGBE_L4CS))
		return MD_CSUM_NONE;
	lower = intel_adv_lower(found);
	if (upper & IXGBE_TCPE)
		return ixgbe_maybe_right(xdp, lower) ? MD_CSUM_NONE : MD_CSUM_BAD;
	if (lower & IXGBE_VXLAN && upper & IXGBE_OUTERIPCS && upper & IXGBE_OUTERIPER)
		return MD_CSUM_BAD;
	return MD_CSUM_UNNECESSARY;
}

MD_FIELD(vlan_tci, "ixgbe_adv_rx_desc.wb.upper.vlan, if rxvlan is on and the NIC took a tag off", void *found)
{
	__u64 upper = intel_adv_upper(found);

	return intel_adv_has_tag(found, upper) ? intel_adv_tag(upper) : 0;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if rxvlan is on and the NIC took a tag off", void *found)
{
	return intel_adv_has_tag(found, intel_adv_upper(found)) ? MD_VLAN_CTAG : 0;
}

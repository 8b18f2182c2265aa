// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* igc: Intel I225 and I226. The descriptor is the advanced one. */

#include "intel_rx.h"

MD_DRIVER("igc");
MD_LACKS(csum, "the NIC writes the hash in its place");
MD_LACKS(mark, "the descriptor has none");

struct igc_ring;

struct igc_adapter {
	struct igc_ring *rx_ring[4];
	__u16 link_speed;
} __core;

struct igc_ring {
	void *desc;
	__u16 next_to_clean;
	struct xdp_rxq_info xdp_rxq;
} __core;

/* since 6.5 */
struct igc_xdp_buff {
	void *rx_desc;
} __core;

/* IGC_RXD_STAT_*, IGC_RXDADV_STAT_TSIP and IGC_RXDEXT_STATERR_* of the driver, in the upper half */
#define IGC_IXSM 0x00000004
#define IGC_UDPCS 0x00000010
#define IGC_L4CS 0x00000020 /* "TCPCS" */
#define IGC_IPCS 0x00000040
#define IGC_TSIP 0x00008000
#define IGC_L4E 0x20000000
#define IGC_IPE 0x40000000

/* #defines of the driver */
#define IGC_TS_HDR_LEN 16
#define XDP_PACKET_HEADROOM 256 /* of uapi/linux/bpf.h */
#define IGC_RX_LATENCY_10 6450
#define IGC_RX_LATENCY_100 185
#define IGC_RX_LATENCY_1000 300
#define IGC_RX_LATENCY_2500 1485

/*
 * Before 6.5 the buff does not know its descriptor: igc_clean_rx_irq() moves next_to_clean on
 * behind the program, but igc_clean_rx_irq_zc(), of AF_XDP's zero copy, counts in a variable.
 */
static __always_inline void *igc_desc(struct igc_ring *ring, struct xdp_buff *xdp)
{
	if (bpf_core_type_exists(struct igc_xdp_buff))
		return ((struct igc_xdp_buff *)xdp)->rx_desc;
	if (intel_is_zero_copy(xdp->rxq))
		return NULL;
	return (char *)ring->desc + ring->next_to_clean * INTEL_DESC_SIZE;
}

MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct igc_adapter *adapter = md_netdev_priv(dev);
	struct igc_ring *ring = container_of(rxq, struct igc_ring, xdp_rxq);
	void *desc;

	if (adapter->rx_ring[rxq->queue_index] != ring)
		return NULL;
	desc = igc_desc(ring, xdp);
	return intel_adv_is_last(desc) ? intel_keep(desc, dev->features) : NULL;
}

static __always_inline __u32 igc_latency(__u16 speed)
{
	if (speed == 10)
		return IGC_RX_LATENCY_10;
	if (speed == 100)
		return IGC_RX_LATENCY_100;
	if (speed == 1000)
		return IGC_RX_LATENCY_1000;
	return speed == 2500 ? IGC_RX_LATENCY_2500 : 0;
}

/*
 * Whether the packet is where the driver has put it, behind a stamp, with no metadata in
 * between: a program that ran before this one may have moved it. igc_rx_offset() is the same
 * for all devices with a program.
 */
static __always_inline bool igc_is_in_place(struct xdp_buff *xdp)
{
	return xdp->data == xdp->data_hard_start + XDP_PACKET_HEADROOM + IGC_TS_HDR_LEN &&
	       xdp->data == xdp->data_meta;
}

/*
 * igc_ptp_rx_pktstamp(): of two timers, nanoseconds and seconds each, the second. In later
 * kernels igc_xdp_buff.rx_ts is the same place; in some it was the time itself.
 */
MD_PACKET_FIELD(rx_timestamp, "the 16 bytes in front of the packet, if hardware timestamps are on (hwstamp_ctl)",
		void *found, struct xdp_buff *xdp)
{
	struct igc_adapter *adapter;
	__le64 *timers;
	__u64 timer;

	if (!(intel_adv_upper(found) & IGC_TSIP) || !igc_is_in_place(xdp))
		return 0;
	timers = xdp->data - IGC_TS_HDR_LEN;
	timer = md_le64(timers[1]);
	adapter = md_netdev_priv(xdp->rxq->dev);
	return (timer >> 32) * 1000000000ULL + (__u32)timer - igc_latency(adapter->link_speed);
}

MD_FIELD(hash, "igc_adv_rx_desc.wb.lower.hi_dword.rss, if rxhash is on", void *found)
{
	return intel_adv_hash(found);
}

MD_FIELD(hash_type, "igc_adv_rx_desc.wb.lower.lo_dword.hs_rss.pkt_info, if rxhash is on", void *found)
{
	return intel_adv_hash_type(found);
}

MD_FIELD(ptype, "igc_adv_rx_desc.wb.lower.lo_dword.hs_rss.pkt_info", void *found)
{
	return intel_adv_ptype(intel_adv_lower(found));
}

/*
 * igc_rx_checksum() takes either error for one. Here an error counts of what was looked at.
 * Of the ring's flags that the driver asks besides, for an erratum of igb's NICs, no kernel
 * sets any.
 */
MD_FIELD(csum_status, "igc_adv_rx_desc.wb.upper.status_error, if rx-checksumming is on", void *found)
{
	__u64 upper = intel_adv_upper(found);

	if (!intel_has(found, INTEL_RXCSUM) || upper & IGC_IXSM)
		return MD_CSUM_NONE;
	if (upper & IGC_IPE)
		return upper & IGC_IPCS ? MD_CSUM_BAD : MD_CSUM_NONE;
	if (!(upper & (IGC_L4CS | IGC_UDPCS)))
		return MD_CSUM_NONE;
	return upper & IGC_L4E ? MD_CSUM_BAD : MD_CSUM_UNNECESSARY;
}

MD_FIELD(vlan_tci, "igc_adv_rx_desc.wb.upper.vlan, if rxvlan is on and the NIC took a tag off", void *found)
{
	__u64 upper = intel_adv_upper(found);

	return intel_adv_has_tag(found, upper) ? intel_adv_tag(upper) : 0;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if rxvlan is on and the NIC took a tag off", void *found)
{
	return intel_adv_has_tag(found, intel_adv_upper(found)) ? MD_VLAN_CTAG : 0;
}

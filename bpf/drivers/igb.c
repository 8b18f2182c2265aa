// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* igb: Intel 82575 to i354. The descriptor is the advanced one, as the NIC writes it back. */

#include "intel_rx.h"

MD_DRIVER("igb");
MD_LACKS(csum, "the NIC writes the hash in its place");
MD_LACKS(mark, "the descriptor has none");

enum e1000_mac_type {
	e1000_i210 = 6,
	e1000_i211 = 7,
};

struct e1000_mac_info {
	enum e1000_mac_type type;
} __core;

struct e1000_hw {
	struct e1000_mac_info mac;
} __core;

struct igb_ring;

struct igb_adapter {
	struct igb_ring *rx_ring[16];
	__u16 link_speed;
	struct e1000_hw hw;
	unsigned int ptp_flags;
	struct timecounter tc;
} __core;

struct igb_q_vector {
	struct igb_adapter *adapter;
} __core;

struct igb_rx_buffer {
	__u32 page_offset;
} __core;

/* rx_buffer_info_zc: since 6.14 */
struct igb_ring {
	struct igb_q_vector *q_vector;
	struct igb_rx_buffer *rx_buffer_info;
	struct xdp_buff **rx_buffer_info_zc;
	void *desc;
	unsigned long flags;
	__u16 count;
	__u16 next_to_clean;
	struct xdp_rxq_info xdp_rxq;
} __core;

enum e1000_ring_flags_t {
	IGB_RING_FLAG_RX_SCTP_CSUM = 2,
	IGB_RING_FLAG_RX_LB_VLAN_BSWAP = 3,
};

#define igb_ring_flag(flag) (1ULL << bpf_core_enum_value(enum e1000_ring_flags_t, flag))
#define igb_mac(name) bpf_core_enum_value(enum e1000_mac_type, name)

/* E1000_RXD_STAT_*, E1000_RXDADV_STAT_TSIP and E1000_RXDEXT_STATERR_* of the driver, in the upper half */
#define IGB_IXSM 0x00000004
#define IGB_UDPCS 0x00000010
#define IGB_TCPCS 0x00000020
#define IGB_IPCS 0x00000040
#define IGB_TSIP 0x00008000
#define IGB_LB 0x00040000
#define IGB_TCPE 0x20000000
#define IGB_IPE 0x40000000

/* #defines of the driver */
#define IGB_PTP_ENABLED 1
#define IGB_TS_HDR_LEN 16
#define XDP_PACKET_HEADROOM 256 /* of uapi/linux/bpf.h */
#define IGB_PAGE 4096ULL /* the smallest */
#define IGB_I210_RX_LATENCY_10 20662
#define IGB_I210_RX_LATENCY_100 2213
#define IGB_I210_RX_LATENCY_1000 448

static __always_inline struct igb_ring *igb_ring(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct igb_ring, xdp_rxq);
}

static __always_inline bool igb_is_zero_copy(struct igb_ring *ring, struct xdp_rxq_info *rxq)
{
	return bpf_core_field_exists(ring->rx_buffer_info_zc) && intel_is_zero_copy(rxq);
}

/*
 * igb_clean_rx_irq() moves next_to_clean on behind the program; igb_clean_rx_irq_zc() counts
 * in a variable.
 */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct igb_adapter *adapter = md_netdev_priv(dev);
	struct igb_ring *ring = container_of(rxq, struct igb_ring, xdp_rxq);
	__u64 index;
	void *desc;

	if (adapter->rx_ring[rxq->queue_index] != ring)
		return NULL;
	index = ring->next_to_clean;
	if (igb_is_zero_copy(ring, rxq)) {
		/* On the stack: what is kept over a load has seven registers. */
		struct net_device *volatile kept = dev;

		index = intel_find_buff(ring->rx_buffer_info_zc, sizeof(xdp), index, ring->count, xdp);
		if (index == INTEL_NOT_FOUND)
			return NULL;
		dev = kept;
	}
	desc = (char *)ring->desc + index * INTEL_DESC_SIZE;
	return intel_adv_is_last(desc) ? intel_keep(desc, dev->features) : NULL;
}

/* The time of i210 and i211 is in two halves, and is that of the MAC. */
static __always_inline __u64 igb_i210_ns(struct igb_adapter *adapter, __u64 stamp)
{
	__u64 ns = (stamp >> 32) * 1000000000ULL + (__u32)stamp;
	__u16 speed = adapter->link_speed;

	if (speed == 10)
		return ns - IGB_I210_RX_LATENCY_10;
	if (speed == 100)
		return ns - IGB_I210_RX_LATENCY_100;
	return speed == 1000 ? ns - IGB_I210_RX_LATENCY_1000 : ns;
}

/*
 * Whether the packet is where the driver has put it, behind a stamp, with no metadata in
 * between: a program that ran before this one may have moved it. The driver puts it at an
 * offset into a page, and nothing moves it by as much as a page is long.
 */
static __always_inline bool igb_is_in_place(struct xdp_buff *xdp)
{
	struct igb_ring *ring = igb_ring(xdp);
	struct igb_rx_buffer *buffer;
	__u64 stamp = (__u64)xdp->data - IGB_TS_HDR_LEN;

	if (xdp->data != xdp->data_meta)
		return false;
	if (igb_is_zero_copy(ring, xdp->rxq))
		return stamp == (__u64)xdp->data_hard_start + XDP_PACKET_HEADROOM;
	buffer = md_element(ring->rx_buffer_info, struct igb_rx_buffer, ring->next_to_clean);
	return !((stamp ^ buffer->page_offset) & (IGB_PAGE - 1));
}

/*
 * What igb_ptp_rx_pktstamp() takes off the packet: 8 zeros and the clock, without which
 * it leaves the packet as it is. The stamp of 82576 is in a register.
 */
MD_PACKET_FIELD(rx_timestamp, "the 16 bytes in front of the packet, if hardware timestamps are on (hwstamp_ctl)",
		void *found, struct xdp_buff *xdp)
{
	__le64 *stamp = xdp->data - IGB_TS_HDR_LEN;
	struct igb_adapter *adapter;
	__u32 mac;

	if (!(intel_adv_upper(found) & IGB_TSIP) || !igb_is_in_place(xdp))
		return 0;
	adapter = igb_ring(xdp)->q_vector->adapter;
	if (!(adapter->ptp_flags & IGB_PTP_ENABLED) || stamp[0])
		return 0;
	mac = adapter->hw.mac.type;
	if (mac == igb_mac(e1000_i210) || mac == igb_mac(e1000_i211))
		return igb_i210_ns(adapter, md_le64(stamp[1]));
	return md_timecounter_ns(&adapter->tc, md_le64(stamp[1]));
}

MD_FIELD(hash, "e1000_adv_rx_desc.wb.lower.hi_dword.rss, if rxhash is on", void *found)
{
	return intel_adv_hash(found);
}

MD_FIELD(hash_type, "e1000_adv_rx_desc.wb.lower.lo_dword.pkt_info, if rxhash is on", void *found)
{
	return intel_adv_hash_type(found);
}

MD_FIELD(ptype, "e1000_adv_rx_desc.wb.lower.lo_dword.pkt_info", void *found)
{
	return intel_adv_ptype(intel_adv_lower(found));
}

/*
 * The NIC may call the sum of an SCTP packet of 60 bytes wrong: igb_rx_checksum(), which
 * by then has padded what was shorter.
 */
static __always_inline bool igb_maybe_right(void *found, __u64 upper, struct xdp_buff *xdp)
{
	__u32 length = intel_adv_length(upper) - (upper & IGB_TSIP ? IGB_TS_HDR_LEN : 0);

	return length <= 60 && igb_ring(xdp)->flags & igb_ring_flag(IGB_RING_FLAG_RX_SCTP_CSUM) &&
	       !(intel_adv_lower(found) & (INTEL_ADV_TCP | INTEL_ADV_UDP));
}

/* igb_rx_checksum() takes either error for one. Here an error counts of what was looked at. */
MD_FIELD(csum_status, "e1000_adv_rx_desc.wb.upper.status_error, if rx-checksumming is on",
	 void *found, struct xdp_buff *xdp)
{
	__u64 upper = intel_adv_upper(found);

	if (!intel_has(found, INTEL_RXCSUM) || upper & IGB_IXSM)
		return MD_CSUM_NONE;
	if (upper & IGB_IPE)
		return upper & IGB_IPCS ? MD_CSUM_BAD : MD_CSUM_NONE;
	if (!(upper & (IGB_TCPCS | IGB_UDPCS)))
		return MD_CSUM_NONE;
	if (upper & IGB_TCPE)
		return igb_maybe_right(found, upper, xdp) ? MD_CSUM_NONE : MD_CSUM_BAD;
	return MD_CSUM_UNNECESSARY;
}

/* Of what a virtual function of the NIC has sent, some have the tag the other way round. */
MD_FIELD(vlan_tci, "e1000_adv_rx_desc.wb.upper.vlan, if rxvlan is on and the NIC took a tag off",
	 void *found, struct xdp_buff *xdp)
{
	__u64 upper = intel_adv_upper(found);
	__u16 tag = intel_adv_tag(upper);

	if (!intel_adv_has_tag(found, upper))
		return 0;
	if (upper & IGB_LB && igb_ring(xdp)->flags & igb_ring_flag(IGB_RING_FLAG_RX_LB_VLAN_BSWAP))
		return __builtin_bswap16(tag);
	return tag;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if rxvlan is on and the NIC took a tag off", void *found)
{
	return intel_adv_has_tag(found, intel_adv_upper(found)) ? MD_VLAN_CTAG : 0;
}

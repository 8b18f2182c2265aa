// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* igb: Intel 82575 to i354. The descriptor is the advanced one, as the NIC writes it back. */

#include "md_driver.h"

MD_DRIVER("igb");
MD_LACKS(csum, "the NIC writes the hash in its place");
MD_LACKS(mark, "the descriptor has none");

union e1000_adv_rx_desc {
	struct {
		struct {
			struct {
				__le16 pkt_info;
			} lo_dword;
			union {
				__le32 rss;
			} hi_dword;
		} lower;
		struct {
			__le32 status_error;
			__le16 length;
			__le16 vlan;
		} upper;
	} wb;
} __core;

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

/* rx_buffer_info_zc: since 6.14 */
struct igb_ring {
	struct igb_q_vector *q_vector;
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

/* E1000_RXD_STAT_*, E1000_RXDADV_STAT_TSIP and E1000_RXDEXT_STATERR_* of the driver */
#define IGB_EOP 0x00000002
#define IGB_IXSM 0x00000004
#define IGB_VP 0x00000008
#define IGB_UDPCS 0x00000010
#define IGB_TCPCS 0x00000020
#define IGB_TSIP 0x00008000
#define IGB_LB 0x00040000
#define IGB_TCPE 0x20000000
#define IGB_IPE 0x40000000

/* #defines of the driver */
#define IGB_PTP_ENABLED 1
#define IGB_TS_HDR_LEN 16
#define IGB_I210_RX_LATENCY_10 20662
#define IGB_I210_RX_LATENCY_100 2213
#define IGB_I210_RX_LATENCY_1000 448

static __always_inline struct igb_ring *igb_ring(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct igb_ring, xdp_rxq);
}

/*
 * What of a descriptor the stack believes is up to features of the device. They are
 * asked for once a packet, and kept where the address of a descriptor, a multiple of
 * its size, has zeros.
 */
#define IGB_DESC_SIZE 16
#define IGB_RXHASH 1
#define IGB_RXCSUM 2
#define IGB_CTAG_RX 4

static __always_inline __u64 igb_features(__u64 features)
{
	return (features & MD_NETIF_F_RXHASH ? IGB_RXHASH : 0) |
	       (features & MD_NETIF_F_RXCSUM ? IGB_RXCSUM : 0) |
	       (features & MD_NETIF_F_HW_VLAN_CTAG_RX ? IGB_CTAG_RX : 0);
}

static __always_inline bool igb_has(void *found, __u64 features)
{
	return (__u64)found & features;
}

static __always_inline union e1000_adv_rx_desc *igb_desc(void *found)
{
	return (void *)((__u64)found & ~(IGB_DESC_SIZE - 1ULL));
}

/*
 * igb_clean_rx_irq_zc() counts in a variable, and leaves next_to_clean where the poll has
 * begun. From there on, as far as a poll goes, each buff is in the ring once: one that is
 * free again comes back at the end of the poll. None of them: count.
 */
#define IGB_BUDGET 64 /* NAPI_POLL_WEIGHT */

static __always_inline __u32 igb_index(__u32 start, __u32 i, __u32 count)
{
	return start + i < count ? start + i : start + i - count;
}

static __always_inline __u32 igb_find_buff(struct igb_ring *ring, struct xdp_buff *xdp)
{
	struct xdp_buff **buffs = ring->rx_buffer_info_zc;
	__u32 count = ring->count, start = ring->next_to_clean, i;

#pragma clang loop unroll(disable)
	for (i = 0; i < IGB_BUDGET; i++) {
		if (buffs[igb_index(start, i, count)] == xdp)
			break;
	}
	if (i == IGB_BUDGET)
		return count;
	asm("" : "+r"(i)); /* anew, not kept in the loop */
	return igb_index(start, i, count);
}

static __always_inline bool igb_is_zero_copy(struct igb_ring *ring, struct xdp_rxq_info *rxq)
{
	return bpf_core_field_exists(ring->rx_buffer_info_zc) &&
	       rxq->mem.type == bpf_core_enum_value(enum xdp_mem_type, MEM_TYPE_XSK_BUFF_POOL);
}

/*
 * igb_clean_rx_irq() moves next_to_clean on behind the program.
 *
 * The first descriptor of several says nothing of the packet. There are some if the
 * MTU is more than 1500 and a packet exceeds it: what the NIC takes is up to
 * igb_set_rx_mode(), whatever fits into a buffer.
 */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct igb_adapter *adapter = md_netdev_priv(dev);
	struct igb_ring *ring = container_of(rxq, struct igb_ring, xdp_rxq);
	union e1000_adv_rx_desc *desc;
	__u32 index;

	if (adapter->rx_ring[rxq->queue_index] != ring)
		return NULL;
	index = ring->next_to_clean;
	if (igb_is_zero_copy(ring, rxq)) {
		/* On the stack: what is kept over a load has seven registers. */
		struct net_device *volatile kept = dev;

		index = igb_find_buff(ring, xdp);
		if (index == ring->count)
			return NULL;
		dev = kept;
	}
	desc = ring->desc + index * IGB_DESC_SIZE;
	if (!(md_le32(desc->wb.upper.status_error) & IGB_EOP))
		return NULL;
	return (void *)((__u64)desc | igb_features(dev->features));
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
 * What igb_ptp_rx_pktstamp() takes off the packet: 8 zeros and the clock, without which
 * it leaves the packet as it is. The stamp of 82576 is in a register.
 */
MD_PACKET_FIELD(rx_timestamp, "the 16 bytes in front of the packet, if hardware timestamps are on (hwstamp_ctl)",
		void *found, struct xdp_buff *xdp)
{
	__le64 *stamp = xdp->data - IGB_TS_HDR_LEN;
	struct igb_adapter *adapter;
	__u32 mac;

	if (!(md_le32(igb_desc(found)->wb.upper.status_error) & IGB_TSIP))
		return 0;
	adapter = igb_ring(xdp)->q_vector->adapter;
	if (!(adapter->ptp_flags & IGB_PTP_ENABLED) || stamp[0])
		return 0;
	mac = adapter->hw.mac.type;
	if (mac == igb_mac(e1000_i210) || mac == igb_mac(e1000_i211))
		return igb_i210_ns(adapter, md_le64(stamp[1]));
	return md_timecounter_ns(&adapter->tc, md_le64(stamp[1]));
}

static __always_inline __u32 igb_rss_type(void *found)
{
	if (!igb_has(found, IGB_RXHASH))
		return 0;
	return md_le16(igb_desc(found)->wb.lower.lo_dword.pkt_info) & 0xf;
}

MD_FIELD(hash, "e1000_adv_rx_desc.wb.lower.hi_dword.rss, if rxhash is on", void *found)
{
	return igb_rss_type(found) ? md_le32(igb_desc(found)->wb.lower.hi_dword.rss) : 0;
}

/*
 * "RSS type" of the data sheets, a number of four bits, each of which has six in a table:
 * none, TCP and IPv4, IPv4, TCP and IPv6, IPv6 with extensions, IPv6, TCP and IPv6 with
 * extensions, UDP and IPv4, UDP and IPv6, UDP and IPv6 with extensions.
 */
#define IGB_TYPE(number, bits) ((__u64)(bits) << (6 * (number)))

#define IGB_TYPES							\
	(IGB_TYPE(1, MD_HASH_IPV4 | MD_HASH_TCP) |			\
	 IGB_TYPE(2, MD_HASH_IPV4) |					\
	 IGB_TYPE(3, MD_HASH_IPV6 | MD_HASH_TCP) |			\
	 IGB_TYPE(4, MD_HASH_IPV6 | MD_HASH_DYNHDR) |			\
	 IGB_TYPE(5, MD_HASH_IPV6) |					\
	 IGB_TYPE(6, MD_HASH_IPV6 | MD_HASH_DYNHDR | MD_HASH_TCP) |	\
	 IGB_TYPE(7, MD_HASH_IPV4 | MD_HASH_UDP) |			\
	 IGB_TYPE(8, MD_HASH_IPV6 | MD_HASH_UDP) |			\
	 IGB_TYPE(9, MD_HASH_IPV6 | MD_HASH_DYNHDR | MD_HASH_UDP))

MD_FIELD(hash_type, "e1000_adv_rx_desc.wb.lower.lo_dword.pkt_info, if rxhash is on", void *found)
{
	__u32 type = igb_rss_type(found);

	return type <= 9 ? IGB_TYPES >> (6 * type) & 0x3f : 0;
}

/*
 * "Packet type" of the data sheets, above the RSS type: a bit for each header found. With
 * IPv4 and IPv6 the one is in the other.
 */
#define IGB_IPV4 (0x10 | 0x20)		/* without and with options */
#define IGB_IPV6 (0x40 | 0x80)		/* without and with extensions */
#define IGB_TCP 0x100
#define IGB_UDP 0x200
#define IGB_SCTP 0x400
#define IGB_IPSEC (0x1000 | 0x2000)	/* ESP, AH */
#define IGB_ETQF 0x8000			/* the rest is the number of an EtherType filter */

MD_FIELD(ptype, "e1000_adv_rx_desc.wb.lower.lo_dword.pkt_info", void *found)
{
	__u32 info = md_le16(igb_desc(found)->wb.lower.lo_dword.pkt_info), bits = 0;

	if (info & IGB_ETQF)
		return 0;
	if (info & IGB_IPV6)
		bits = info & IGB_IPV4 ? MD_PTYPE_IPV6 | MD_PTYPE_TUNNELLED : MD_PTYPE_IPV6;
	else if (info & IGB_IPV4)
		bits = MD_PTYPE_IPV4;
	return bits |
	       (info & IGB_TCP ? MD_PTYPE_TCP : 0) |
	       (info & IGB_UDP ? MD_PTYPE_UDP : 0) |
	       (info & IGB_SCTP ? MD_PTYPE_SCTP : 0) |
	       (info & IGB_IPSEC ? MD_PTYPE_OTHER_L4 : 0);
}

/*
 * The NIC may call the sum of an SCTP packet of 60 bytes wrong: igb_rx_checksum(), which
 * by then has padded what was shorter.
 */
static __always_inline bool igb_maybe_right(union e1000_adv_rx_desc *desc, __u32 status, struct xdp_buff *xdp)
{
	__u32 length = md_le16(desc->wb.upper.length) - (status & IGB_TSIP ? IGB_TS_HDR_LEN : 0);

	return length <= 60 && igb_ring(xdp)->flags & igb_ring_flag(IGB_RING_FLAG_RX_SCTP_CSUM) &&
	       !(md_le16(desc->wb.lower.lo_dword.pkt_info) & (IGB_TCP | IGB_UDP));
}

MD_FIELD(csum_status, "e1000_adv_rx_desc.wb.upper.status_error, if rx-checksumming is on",
	 void *found, struct xdp_buff *xdp)
{
	__u32 status = md_le32(igb_desc(found)->wb.upper.status_error);

	if (!igb_has(found, IGB_RXCSUM) || status & IGB_IXSM)
		return MD_CSUM_NONE;
	if (status & IGB_IPE)
		return MD_CSUM_BAD;
	if (status & IGB_TCPE)
		return igb_maybe_right(igb_desc(found), status, xdp) ? MD_CSUM_NONE : MD_CSUM_BAD;
	return status & (IGB_TCPCS | IGB_UDPCS) ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

static __always_inline bool igb_has_tag(void *found, __u32 status)
{
	return igb_has(found, IGB_CTAG_RX) && status & IGB_VP;
}

/* Of what a virtual function of the NIC has sent, some have the tag the other way round. */
MD_FIELD(vlan_tci, "e1000_adv_rx_desc.wb.upper.vlan, if the NIC took a tag off",
	 void *found, struct xdp_buff *xdp)
{
	__u32 status = md_le32(igb_desc(found)->wb.upper.status_error);
	__u16 tag;

	if (!igb_has_tag(found, status))
		return 0;
	tag = md_le16(igb_desc(found)->wb.upper.vlan);
	if (status & IGB_LB && igb_ring(xdp)->flags & igb_ring_flag(IGB_RING_FLAG_RX_LB_VLAN_BSWAP))
		return __builtin_bswap16(tag);
	return tag;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if the NIC took a tag off", void *found)
{
	return igb_has_tag(found, md_le32(igb_desc(found)->wb.upper.status_error)) ? MD_VLAN_CTAG : 0;
}

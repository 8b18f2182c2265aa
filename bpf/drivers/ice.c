// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* ice: Intel E800 series. The descriptor is that of the flexible format "NIC". */

#include "libie_rx.h"

MD_DRIVER("ice");
MD_LACKS(mark, "the descriptor has the number of a filter, which the driver does not hand out");

/* raw_csum: since 6.14 */
struct ice_32b_rx_flex_desc_nic {
	__u8 rxdid;
	__le16 ptype_flexi_flags0;
	__le16 status_error0;
	__le16 l2tag1;
	__le32 rss_hash;
	__le16 status_error1;
	__u8 ts_low;
	__le16 raw_csum;
	__le16 l2tag2_2nd;
	union {
		__le32 ts_high;
	} flex_ts;
} __core;

struct ice_rx_buf {
	void *page;
} __core;

/* skb, a packet that is not all there: before 6.3. vlan_proto: since 6.8 */
struct ice_rx_ring {
	void *desc;
	struct net_device *netdev;
	struct ice_rx_buf *rx_buf;
	struct xdp_rxq_info xdp_rxq;
	__u16 count;
	__u16 next_to_clean;
	__u16 next_to_alloc;
	void *skb;
	__u64 cached_phctime;
	__be16 vlan_proto;
	__u8 flags;
} __core;

struct ice_vsi {
	struct ice_rx_ring **rx_rings;
} __core;

struct ice_netdev_priv {
	struct ice_vsi *vsi;
} __core;

/* since 6.8 */
struct ice_xdp_buff {
	const void *eop_desc;
} __core;

/* what has replaced it in later kernels */
struct libeth_xdp_buff {
	const void *desc;
} __core;

/* ICE_RX_FLEX_DESC_STATUS0_*_S, as bits of status_error0 */
#define ICE_EOF (1 << 1)
#define ICE_L3L4P (1 << 3)
#define ICE_XSUM_IPE (1 << 4)
#define ICE_XSUM_L4E (1 << 5)
#define ICE_XSUM_EIPE (1 << 6)
#define ICE_XSUM_EUDPE (1 << 7)
#define ICE_IPV6EXADD (1 << 9)
#define ICE_L2TAG1P (1 << 13)

/* ICE_RX_FLEX_DESC_STATUS1_*_S, as bits of status_error1 */
#define ICE_NAT (1 << 4)
#define ICE_L2TAG2P (1 << 11)

/* #defines of the driver */
#define ICE_RXDID_FLEX_NIC 2
#define ICE_PTP_TS_VALID (1 << 0)
#define ICE_RX_FLAGS_RING_GCS (1 << 4)

static __always_inline struct ice_rx_ring *ice_ring(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct ice_rx_ring, xdp_rxq);
}

static __always_inline const void *ice_last_desc(struct xdp_buff *xdp)
{
	if (bpf_core_type_exists(struct ice_xdp_buff))
		return ((struct ice_xdp_buff *)xdp)->eop_desc;
	return ((struct libeth_xdp_buff *)xdp)->desc;
}

/*
 * Where the buff does not know its descriptor, ice_clean_rx_irq() counts in a variable. But
 * it takes the page out of each buffer that is behind, and puts one that can be used again
 * to where next_to_alloc is: from there on the first buffer with a page is the packet's.
 * None of them: count.
 */
#define ICE_SEARCHED 128 /* twice NAPI_POLL_WEIGHT, as some may have been without before */

static __always_inline __u32 ice_index(__u32 start, __u32 i, __u32 count)
{
	return start + i < count ? start + i : start + i - count;
}

static __always_inline __u32 ice_find_page(struct ice_rx_ring *ring)
{
	__u32 count = ring->count, start = ring->next_to_alloc, i;
	struct ice_rx_buf *buffers = ring->rx_buf;

#pragma clang loop unroll(disable)
	for (i = 0; i < ICE_SEARCHED; i++) {
		struct ice_rx_buf *buffer = md_element(buffers, struct ice_rx_buf,
						       ice_index(start, i, count));

		asm("" : "+r"(buffer)); /* the offset is to be in the load */
		if (buffer->page)
			break;
	}
	if (i == ICE_SEARCHED)
		return count;
	asm("" : "+r"(i)); /* anew, not kept in the loop */
	return ice_index(start, i, count);
}

#define ICE_DESC_SIZE 32

/* On an AF_XDP queue the driver moves next_to_clean on behind the program. */
static __always_inline const void *ice_find_desc(struct ice_rx_ring *ring, struct xdp_rxq_info *rxq)
{
	__u32 index;

	if (rxq->mem.type == bpf_core_enum_value(enum xdp_mem_type, MEM_TYPE_XSK_BUFF_POOL))
		return ring->desc + ring->next_to_clean * ICE_DESC_SIZE;
	index = ice_find_page(ring);
	return index == ring->count ? NULL : ring->desc + index * ICE_DESC_SIZE;
}

/*
 * On an AF_XDP queue the buff is given its descriptor when it is posted. Of a packet
 * in several buffs it is then that of the first, which says nothing of the packet:
 * it lacks the end-of-packet bit.
 */
MD_DESCRIPTOR(struct ice_32b_rx_flex_desc_nic, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct ice_rx_ring *ring = container_of(rxq, struct ice_rx_ring, xdp_rxq);
	struct ice_32b_rx_flex_desc_nic *desc;
	struct ice_netdev_priv *priv;

	if (ring->netdev != dev)
		return NULL;
	priv = md_netdev_priv(dev);
	if (priv->vsi->rx_rings[rxq->queue_index] != ring)
		return NULL;
	if (bpf_core_field_exists(ring->skb))
		desc = (void *)ice_find_desc(ring, rxq);
	else
		desc = (void *)ice_last_desc(xdp);
	return md_le16(desc->status_error0) & ICE_EOF ? desc : NULL;
}

static __always_inline __u32 ice_ptype(struct ice_32b_rx_flex_desc_nic *desc)
{
	return md_le16(desc->ptype_flexi_flags0) & 0x3ff;
}

/* The clock's low 32 bits, and a time of it that is read about twice a second. */
MD_FIELD(rx_timestamp, "ice_32b_rx_flex_desc_nic.ts_high, if hardware timestamps are on (hwstamp_ctl)",
	 struct ice_32b_rx_flex_desc_nic *desc, struct xdp_buff *xdp)
{
	__u64 cached;

	if (!(desc->ts_low & ICE_PTP_TS_VALID))
		return 0;
	cached = ice_ring(xdp)->cached_phctime;
	if (!cached)
		return 0;
	return cached + (__s32)(md_le32(desc->flex_ts.ts_high) - (__u32)cached);
}

static __always_inline __u32 ice_hash(struct ice_32b_rx_flex_desc_nic *desc, struct xdp_buff *xdp)
{
	if (!md_netdev_has(xdp, MD_NETIF_F_RXHASH) || desc->rxdid != ICE_RXDID_FLEX_NIC)
		return 0;
	return md_le32(desc->rss_hash);
}

MD_FIELD(hash, "ice_32b_rx_flex_desc_nic.rss_hash, if rxhash is on",
	 struct ice_32b_rx_flex_desc_nic *desc, struct xdp_buff *xdp)
{
	return ice_hash(desc, xdp);
}

/* As in the driver, a hash of 0 is none. */
MD_FIELD(hash_type, "ice_32b_rx_flex_desc_nic.ptype_flexi_flags0, if there is a hash",
	 struct ice_32b_rx_flex_desc_nic *desc, struct xdp_buff *xdp)
{
	if (!ice_hash(desc, xdp))
		return 0;
	return libie_hash_type(ice_ptype(desc));
}

/* E830 sums up packets, on rings that have it switched on. */
static __always_inline bool ice_has_raw_csum(struct ice_32b_rx_flex_desc_nic *desc,
					     struct xdp_buff *xdp, enum libie_l4 l4)
{
	if (!bpf_core_field_exists(desc->raw_csum))
		return false;
	if (!(ice_ring(xdp)->flags & ICE_RX_FLAGS_RING_GCS) || desc->rxdid != ICE_RXDID_FLEX_NIC)
		return false;
	return l4 == LIBIE_L4_TCP || l4 == LIBIE_L4_UDP || l4 == LIBIE_L4_ICMP;
}

static __always_inline __u32 ice_csum_status(struct ice_32b_rx_flex_desc_nic *desc,
					     struct xdp_buff *xdp)
{
	__u32 ptype = ice_ptype(desc), status;
	enum libie_l4 l4 = libie_ptype_l4(ptype);

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	if (l4 == LIBIE_L4_UNKNOWN || l4 == LIBIE_L4_FRAGMENT || l4 == LIBIE_L4_NONE)
		return MD_CSUM_NONE;
	if (ice_has_raw_csum(desc, xdp, l4))
		return MD_CSUM_COMPLETE;

	status = md_le16(desc->status_error0);
	if (!(status & ICE_L3L4P))
		return MD_CSUM_NONE;
	if (libie_ptype_is_ipv6(ptype)) {
		/* Extension headers: the L4 sum may have been taken of the wrong bytes. */
		if (status & ICE_IPV6EXADD)
			return MD_CSUM_NONE;
	} else {
		/* The outer header; without a tunnel the driver does not call it wrong. */
		if (status & ICE_XSUM_EIPE)
			return libie_ptype_is_tunnel(ptype) ? MD_CSUM_BAD : MD_CSUM_NONE;
		if (status & ICE_XSUM_IPE)
			return MD_CSUM_BAD;
	}

	/* Wrong, or not looked at, as packets came too fast. */
	if (status & ICE_XSUM_L4E)
		return MD_CSUM_NONE;

	/* The outer UDP header. */
	if (status & ICE_XSUM_EUDPE && md_le16(desc->status_error1) & ICE_NAT)
		return MD_CSUM_BAD;

	/* Of ICMP only the IP header is checked. */
	return l4 == LIBIE_L4_ICMP ? MD_CSUM_NONE : MD_CSUM_UNNECESSARY;
}

MD_FIELD(csum, "ice_32b_rx_flex_desc_nic.raw_csum, if csum_status is MD_CSUM_COMPLETE",
	 struct ice_32b_rx_flex_desc_nic *desc, struct xdp_buff *xdp)
{
	/* Little-endian in the descriptor; skb->csum is as the packet has it. */
	__u32 csum = __builtin_bswap16(desc->raw_csum);

	return ice_csum_status(desc, xdp) == MD_CSUM_COMPLETE ? csum : 0;
}

MD_FIELD(csum_status, "ice_32b_rx_flex_desc_nic.status_error0, if rx-checksumming is on",
	 struct ice_32b_rx_flex_desc_nic *desc, struct xdp_buff *xdp)
{
	return ice_csum_status(desc, xdp);
}

static __always_inline bool ice_has_tag1(struct ice_32b_rx_flex_desc_nic *desc)
{
	return md_le16(desc->status_error0) & ICE_L2TAG1P;
}

static __always_inline bool ice_has_tag2(struct ice_32b_rx_flex_desc_nic *desc)
{
	return md_le16(desc->status_error1) & ICE_L2TAG2P;
}

/* What the ring takes off: ice_receive_skb() */
static __always_inline __be16 ice_vlan_proto(struct xdp_buff *xdp)
{
	if (bpf_core_field_exists(struct ice_rx_ring, vlan_proto))
		return ice_ring(xdp)->vlan_proto;
	if (md_netdev_has(xdp, MD_NETIF_F_HW_VLAN_CTAG_RX))
		return MD_VLAN_CTAG;
	return md_netdev_has(xdp, MD_NETIF_F_HW_VLAN_STAG_RX) ? MD_VLAN_STAG : 0;
}

/*
 * With nothing to take off there is no tag, whatever the descriptor says. The driver and
 * its kfunc take a tag of all zeros for none; here it is one.
 */
MD_FIELD(vlan_tci, "ice_32b_rx_flex_desc_nic.l2tag1 or l2tag2_2nd, if the NIC took a tag off",
	 struct ice_32b_rx_flex_desc_nic *desc, struct xdp_buff *xdp)
{
	if (!ice_vlan_proto(xdp))
		return 0;
	if (ice_has_tag1(desc))
		return md_le16(desc->l2tag1);
	return ice_has_tag2(desc) ? md_le16(desc->l2tag2_2nd) : 0;
}

MD_FIELD(vlan_proto, "ice_rx_ring.vlan_proto or the feature that is on, if the NIC took a tag off",
	 struct ice_32b_rx_flex_desc_nic *desc, struct xdp_buff *xdp)
{
	return ice_has_tag1(desc) || ice_has_tag2(desc) ? ice_vlan_proto(xdp) : 0;
}

MD_FIELD(ptype, "ice_32b_rx_flex_desc_nic.ptype_flexi_flags0", struct ice_32b_rx_flex_desc_nic *desc)
{
	return libie_ptype(ice_ptype(desc));
}

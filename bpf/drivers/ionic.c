// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* ionic: AMD Pensando DSC, since 6.9. The descriptor is the completion. */

#include "md_driver.h"

MD_DRIVER("ionic");
MD_LACKS(mark, "the completion has none");

struct ionic_rxq_comp {
	__le32 rss_hash;
	__le16 csum;
	__le16 vlan_tci;
	__u8 csum_flags;
	__u8 pkt_type_color;
} __core;

struct ionic_cq {
	__u16 tail_idx;
	unsigned int desc_size;
	void *base;
} __core;

enum ionic_rxq_feature {
	IONIC_RXQ_F_HWSTAMP = 1 << 16,
};

struct ionic_queue {
	__u64 features;
	struct xdp_rxq_info *xdp_rxq_info;
} __core;

struct ionic_qcq {
	struct ionic_queue q;
	struct ionic_cq cq;
} __core;

struct ionic_phc {
	struct timecounter tc;
} __core;

struct ionic_lif {
	struct net_device *netdev;
	struct ionic_qcq **rxqcqs;
	struct ionic_phc *phc;
} __core;

/*
 * What of a completion the stack believes is up to features of the device and the queue.
 * They are asked for once a packet, and kept where the address of a completion, a multiple
 * of its size, has zeros.
 */
#define IONIC_COMP_SIZE 16
#define IONIC_RXHASH 1
#define IONIC_RXCSUM 2
#define IONIC_CTAG_RX 4
#define IONIC_HWSTAMP 8

static __always_inline __u64 ionic_kept(struct ionic_qcq *qcq, __u64 features)
{
	return (features & MD_NETIF_F_RXHASH ? IONIC_RXHASH : 0) |
	       (features & MD_NETIF_F_RXCSUM ? IONIC_RXCSUM : 0) |
	       (features & MD_NETIF_F_HW_VLAN_CTAG_RX ? IONIC_CTAG_RX : 0) |
	       (qcq->q.features & bpf_core_enum_value(enum ionic_rxq_feature, IONIC_RXQ_F_HWSTAMP) ?
			IONIC_HWSTAMP : 0);
}

static __always_inline bool ionic_has(void *found, __u64 kept)
{
	return (__u64)found & kept;
}

static __always_inline struct ionic_rxq_comp *ionic_comp(void *found)
{
	return (void *)((__u64)found & ~(IONIC_COMP_SIZE - 1ULL));
}

/*
 * ionic_rx_cq_service() moves tail_idx on behind the program, once for a packet however many
 * buffers that has. The completion is at the end of what is larger. The queue's
 * xdp_rxq_info is an allocation of its own, and the queue leads to it.
 */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct ionic_lif *lif = md_netdev_priv(dev);
	struct ionic_qcq *qcq;
	__u64 comp, size;

	if (!rxq || lif->netdev != dev) /* of NULL all is 0, and the same */
		return NULL;
	qcq = lif->rxqcqs[rxq->queue_index];
	if (qcq->q.xdp_rxq_info != rxq)
		return NULL;
	size = qcq->cq.desc_size;
	comp = (__u64)qcq->cq.base + size * qcq->cq.tail_idx + size - IONIC_COMP_SIZE;
	return (void *)(comp | ionic_kept(qcq, dev->features));
}

/* IONIC_HWSTAMP_CQ_NEGOFFSET and IONIC_HWSTAMP_INVALID of the driver */
#define IONIC_STAMP_IN_FRONT 8
#define IONIC_NO_STAMP (~0ULL)

/* ionic_lif_phc_ktime(); of a device without a clock all reads as 0. */
MD_FIELD(rx_timestamp, "the 8 bytes in front of ionic_rxq_comp, if hardware timestamps of all packets are on (hwstamp_ctl)",
	 void *found, struct xdp_buff *xdp)
{
	struct ionic_lif *lif;
	__u64 stamp;

	if (!ionic_has(found, IONIC_HWSTAMP))
		return 0;
	stamp = md_le64(*(__le64 *)((char *)ionic_comp(found) - IONIC_STAMP_IN_FRONT));
	if (stamp == IONIC_NO_STAMP)
		return 0;
	lif = md_netdev_priv(xdp->rxq->dev);
	return md_timecounter_ns(md_at(lif->phc, struct ionic_phc, tc), stamp);
}

/* enum ionic_pkt_type, a bit for each header. The other one of the byte is the ring's color. */
#define IONIC_IPV4 0x01
#define IONIC_IPV4_TCP 0x03
#define IONIC_IPV4_UDP 0x05
#define IONIC_IPV6 0x08
#define IONIC_IPV6_TCP 0x18
#define IONIC_IPV6_UDP 0x28
#define IONIC_ENCAP 0x40

static __always_inline __u32 ionic_type(void *found)
{
	return ionic_comp(found)->pkt_type_color & 0x7f;
}

/* What ionic_rx_clean() takes a hash of: nothing in a tunnel. */
static __always_inline __u32 ionic_hash_type(void *found)
{
	if (!ionic_has(found, IONIC_RXHASH))
		return 0;
	switch (ionic_type(found)) {
	case IONIC_IPV4:
		return MD_HASH_IPV4;
	case IONIC_IPV4_TCP:
		return MD_HASH_IPV4 | MD_HASH_TCP;
	case IONIC_IPV4_UDP:
		return MD_HASH_IPV4 | MD_HASH_UDP;
	case IONIC_IPV6:
		return MD_HASH_IPV6;
	case IONIC_IPV6_TCP:
		return MD_HASH_IPV6 | MD_HASH_TCP;
	case IONIC_IPV6_UDP:
		return MD_HASH_IPV6 | MD_HASH_UDP;
	}
	return 0;
}

MD_FIELD(hash, "ionic_rxq_comp.rss_hash, if rxhash is on", void *found)
{
	return ionic_hash_type(found) ? md_le32(ionic_comp(found)->rss_hash) : 0;
}

MD_FIELD(hash_type, "ionic_rxq_comp.pkt_type_color, if rxhash is on", void *found)
{
	return ionic_hash_type(found);
}

MD_FIELD(ptype, "ionic_rxq_comp.pkt_type_color", void *found)
{
	__u32 type = ionic_type(found), bits = type & IONIC_ENCAP ? MD_PTYPE_TUNNELLED : 0;

	switch (type & ~IONIC_ENCAP) {
	case IONIC_IPV4:
		return bits | MD_PTYPE_IPV4;
	case IONIC_IPV4_TCP:
		return bits | MD_PTYPE_IPV4 | MD_PTYPE_TCP;
	case IONIC_IPV4_UDP:
		return bits | MD_PTYPE_IPV4 | MD_PTYPE_UDP;
	case IONIC_IPV6:
		return bits | MD_PTYPE_IPV6;
	case IONIC_IPV6_TCP:
		return bits | MD_PTYPE_IPV6 | MD_PTYPE_TCP;
	case IONIC_IPV6_UDP:
		return bits | MD_PTYPE_IPV6 | MD_PTYPE_UDP;
	}
	return bits;
}

/* IONIC_RXQ_COMP_CSUM_F_* */
#define IONIC_BAD (0x02 | 0x08 | 0x20)	/* TCP, UDP, IPv4 */
#define IONIC_VLAN 0x40
#define IONIC_CALC 0x80

/*
 * The NIC has a bit for "right" besides each for "wrong", so what it did not look at is
 * neither. ionic_rx_clean() counts what is wrong, and leaves it to the stack to find it in
 * the sum.
 */
static __always_inline __u32 ionic_csum_status(void *found)
{
	__u32 flags = ionic_comp(found)->csum_flags;

	if (!ionic_has(found, IONIC_RXCSUM))
		return MD_CSUM_NONE;
	if (flags & IONIC_BAD)
		return MD_CSUM_BAD;
	return flags & IONIC_CALC ? MD_CSUM_COMPLETE : MD_CSUM_NONE;
}

MD_FIELD(csum, "ionic_rxq_comp.csum, if csum_status is MD_CSUM_COMPLETE", void *found)
{
	return ionic_csum_status(found) == MD_CSUM_COMPLETE ? md_le16(ionic_comp(found)->csum) : 0;
}

MD_FIELD(csum_status, "ionic_rxq_comp.csum_flags, if rx-checksumming is on", void *found)
{
	return ionic_csum_status(found);
}

static __always_inline bool ionic_has_tag(void *found)
{
	return ionic_has(found, IONIC_CTAG_RX) && ionic_comp(found)->csum_flags & IONIC_VLAN;
}

MD_FIELD(vlan_tci, "ionic_rxq_comp.vlan_tci, if the NIC took a tag off", void *found)
{
	return ionic_has_tag(found) ? md_le16(ionic_comp(found)->vlan_tci) : 0;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if the NIC took a tag off", void *found)
{
	return ionic_has_tag(found) ? MD_VLAN_CTAG : 0;
}

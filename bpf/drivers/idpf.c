// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * idpf: Intel's Infrastructure Data Path Function. The descriptor is that of the split
 * queue model, which is the only one with XDP, since 6.18.
 */

#include "md_driver.h"

MD_DRIVER("idpf");
MD_LACKS(mark, "the descriptor has none");
MD_LACKS(vlan_tci, "the driver leaves the tag in the packet");
MD_LACKS(vlan_proto, "the driver leaves the tag in the packet");

struct virtchnl2_rx_flex_desc_adv_nic_3 {
	__u8 status_err0_qw0;
	__le16 ptype_err_fflags0;
	__le16 hdrlen_flags;
	__u8 status_err0_qw1;
	__u8 ts_low;
	union {
		__le16 raw_cs;
	} misc;
	__le16 hash1;
	union {
		__u8 hash2;
	} ff2_mirrid_hash2;
	__u8 hash3;
	__le32 ts_high;
} __core;

enum pkt_hash_types {
	PKT_HASH_TYPE_NONE = 0,
};

enum xdp_rss_hash_type {
	XDP_RSS_TYPE_NONE = 0,
};

/* what a number of a packet type means, in numbers of enums without a name */
struct libeth_rx_pt {
	__u32 outer_ip : 2;
	__u32 outer_frag : 1;
	__u32 tunnel_type : 3;
	__u32 tunnel_end_prot : 2;
	__u32 tunnel_end_frag : 1;
	__u32 inner_prot : 3;
	enum pkt_hash_types payload_layer : 2;
	enum xdp_rss_hash_type hash_type : 16;
} __core;

/* LIBETH_RX_PT_OUTER_* and LIBETH_RX_PT_TUNNEL_END_* */
#define IDPF_IPV4 1
#define IDPF_IPV6 2

/* LIBETH_RX_PT_INNER_* */
#define IDPF_UDP 1
#define IDPF_TCP 2
#define IDPF_SCTP 3
#define IDPF_ICMP 4

enum idpf_queue_flags_t {
	__IDPF_Q_PTP = 8,
};

struct idpf_rx_queue {
	unsigned long flags[1];
	struct libeth_rx_pt *rx_ptype_lkup;
	struct xdp_rxq_info xdp_rxq;
	__u64 cached_phc_time;
} __core;

struct idpf_rxq_set {
	struct idpf_rx_queue rxq;
} __core;

struct idpf_rxq_group {
	struct {
		struct idpf_rxq_set *rxq_sets[1];
	} splitq;
} __core;

struct idpf_q_vec_rsrc {
	struct idpf_rxq_group *rxq_grps;
} __core;

/* dflt_qv_rsrc: what the groups have moved to in later kernels */
struct idpf_vport {
	struct idpf_rxq_group *rxq_grps;
	struct idpf_q_vec_rsrc dflt_qv_rsrc;
} __core;

struct idpf_netdev_priv {
	struct idpf_vport *vport;
} __core;

struct libeth_xdp_buff {
	const void *desc;
} __core;

/* VIRTCHNL2_RX_FLEX_DESC_ADV_STATUS0_*_M in status_err0_qw0 */
#define IDPF_IPV6EXADD (1 << 1)

/* and in status_err0_qw1 */
#define IDPF_L3L4P (1 << 3)
#define IDPF_XSUM_IPE (1 << 4)
#define IDPF_XSUM_L4E (1 << 5)
#define IDPF_XSUM_EIPE (1 << 6)
#define IDPF_XSUM_EUDPE (1 << 7)

/* #defines of the driver: in ptype_err_fflags0, hdrlen_flags and ts_low */
#define IDPF_RAW_CSUM_INV (1 << 12)
#define IDPF_RSC (1 << 10)
#define IDPF_TSTAMP_VALID (1 << 0)

static __always_inline struct idpf_rx_queue *idpf_queue(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct idpf_rx_queue, xdp_rxq);
}

static __always_inline struct idpf_rxq_group *idpf_groups(struct idpf_vport *vport)
{
	if (bpf_core_field_exists(vport->rxq_grps))
		return vport->rxq_grps;
	return vport->dflt_qv_rsrc.rxq_grps;
}

/*
 * A group has one queue: IDPF_DFLT_SPLITQ_RXQ_PER_GROUP. Of a packet in several buffers
 * the buff has the last descriptor, on an AF_XDP queue as well: libeth_xdp_prep_desc().
 */
MD_DESCRIPTOR(struct virtchnl2_rx_flex_desc_adv_nic_3, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct idpf_rx_queue *queue = container_of(rxq, struct idpf_rx_queue, xdp_rxq);
	struct idpf_netdev_priv *priv = md_netdev_priv(rxq->dev);
	struct idpf_rxq_group *group = md_element(idpf_groups(priv->vport), struct idpf_rxq_group,
						  rxq->queue_index);
	struct idpf_rxq_set *set = group->splitq.rxq_sets[0];

	if (md_at(set, struct idpf_rxq_set, rxq) != queue)
		return NULL;
	return (void *)((struct libeth_xdp_buff *)xdp)->desc;
}

/*
 * What the packet type means, in the table of the device. The driver fills it in from what
 * the device says of each number, header by header: idpf_send_get_rx_ptype_msg(). There a
 * second IP header takes the place of a first one that is no fragment, and is no tunnel.
 */
static __always_inline __u32 idpf_packet(struct virtchnl2_rx_flex_desc_adv_nic_3 *desc,
					 struct xdp_buff *xdp)
{
	return *(__u32 *)md_element(idpf_queue(xdp)->rx_ptype_lkup, struct libeth_rx_pt,
				    md_le16(desc->ptype_err_fflags0) & 0x3ff);
}

/*
 * md_bits() would load the word for each member anew. A member that is not in the word, in
 * another build of the driver, is 0.
 */
#define idpf_ask(member, info) __CORE_RELO((struct libeth_rx_pt *)0, member, info)

#define idpf_bits(packet, member)						\
	(idpf_ask(member, BYTE_OFFSET) || idpf_ask(member, BYTE_SIZE) != 4 ? 0 :	\
	 (__u64)(packet) << idpf_ask(member, LSHIFT_U64) >> idpf_ask(member, RSHIFT_U64))

/* The clock's low 32 bits, and a time of it that is read about twice a second. */
MD_FIELD(rx_timestamp, "virtchnl2_rx_flex_desc_adv_nic_3.ts_high, if hardware timestamps are on (hwstamp_ctl)",
	 struct virtchnl2_rx_flex_desc_adv_nic_3 *desc, struct xdp_buff *xdp)
{
	struct idpf_rx_queue *queue = idpf_queue(xdp);
	__u64 cached;

	if (!(queue->flags[0] >> bpf_core_enum_value(enum idpf_queue_flags_t, __IDPF_Q_PTP) & 1))
		return 0;
	if (!(desc->ts_low & IDPF_TSTAMP_VALID))
		return 0;
	cached = queue->cached_phc_time;
	if (!cached)
		return 0;
	return cached + (__s32)(md_le32(desc->ts_high) - (__u32)cached);
}

static __always_inline bool idpf_has_hash(__u32 packet, struct xdp_buff *xdp)
{
	return md_netdev_has(xdp, MD_NETIF_F_RXHASH) && idpf_bits(packet, payload_layer);
}

MD_FIELD(hash, "virtchnl2_rx_flex_desc_adv_nic_3.hash1 to hash3, if rxhash is on",
	 struct virtchnl2_rx_flex_desc_adv_nic_3 *desc, struct xdp_buff *xdp)
{
	if (!idpf_has_hash(idpf_packet(desc, xdp), xdp))
		return 0;
	return md_le16(desc->hash1) | desc->ff2_mirrid_hash2.hash2 << 16 | (__u32)desc->hash3 << 24;
}

/* The table has it as enum xdp_rss_hash_type. */
MD_FIELD(hash_type, "libeth_rx_pt.hash_type of the packet type, if rxhash is on",
	 struct virtchnl2_rx_flex_desc_adv_nic_3 *desc, struct xdp_buff *xdp)
{
	__u32 packet = idpf_packet(desc, xdp);

	return idpf_has_hash(packet, xdp) ? idpf_bits(packet, hash_type) : 0;
}

/* idpf_rx_csum(), where wrong and not looked at are the same. */
static __always_inline __u32 idpf_csum_status(struct virtchnl2_rx_flex_desc_adv_nic_3 *desc,
					      struct xdp_buff *xdp)
{
	__u32 packet;
	__u32 l4, ip;
	__u8 status;

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	packet = idpf_packet(desc, xdp);
	l4 = idpf_bits(packet, inner_prot);
	if (!l4)
		return MD_CSUM_NONE;

	/* Segments that the NIC has put together, and checked before. */
	if (md_le16(desc->hdrlen_flags) & IDPF_RSC)
		return MD_CSUM_UNNECESSARY;

	status = desc->status_err0_qw1;
	if (!(status & IDPF_L3L4P))
		return MD_CSUM_NONE;
	ip = idpf_bits(packet, outer_ip);
	if (ip == IDPF_IPV4 && status & IDPF_XSUM_IPE)
		return MD_CSUM_BAD;
	/* The outer header of a tunnel, which the table may not know to be one. */
	if (ip == IDPF_IPV4 && status & IDPF_XSUM_EIPE)
		return idpf_bits(packet, tunnel_type) ? MD_CSUM_BAD : MD_CSUM_NONE;
	/* Extension headers: the L4 sum may have been taken of the wrong bytes. */
	if (ip == IDPF_IPV6 && desc->status_err0_qw0 & IDPF_IPV6EXADD)
		return MD_CSUM_NONE;

	/* Wrong, or not looked at, as packets came too fast. */
	if (status & IDPF_XSUM_L4E)
		return MD_CSUM_NONE;
	if (l4 != IDPF_SCTP && !(md_le16(desc->ptype_err_fflags0) & IDPF_RAW_CSUM_INV))
		return MD_CSUM_COMPLETE;

	/* The outer UDP header of a tunnel is wrong; the driver does not look at this one. */
	if (status & IDPF_XSUM_EUDPE)
		return MD_CSUM_NONE;

	/* Of what is above IP the NIC checks these. */
	return l4 <= IDPF_SCTP ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

MD_FIELD(csum, "virtchnl2_rx_flex_desc_adv_nic_3.misc.raw_cs, if csum_status is MD_CSUM_COMPLETE",
	 struct virtchnl2_rx_flex_desc_adv_nic_3 *desc, struct xdp_buff *xdp)
{
	if (idpf_csum_status(desc, xdp) != MD_CSUM_COMPLETE)
		return 0;

	/* Little-endian in the descriptor; skb->csum is as the packet has it. */
	return (__u16)~__builtin_bswap16(desc->misc.raw_cs);
}

MD_FIELD(csum_status, "virtchnl2_rx_flex_desc_adv_nic_3.status_err0_qw1, if rx-checksumming is on",
	 struct virtchnl2_rx_flex_desc_adv_nic_3 *desc, struct xdp_buff *xdp)
{
	return idpf_csum_status(desc, xdp);
}

static __always_inline __u32 idpf_ip_bits(__u32 ip)
{
	if (ip == IDPF_IPV4)
		return MD_PTYPE_IPV4;
	return ip == IDPF_IPV6 ? MD_PTYPE_IPV6 : 0;
}

static __always_inline __u32 idpf_l4_bits(__u32 l4)
{
	switch (l4) {
	case IDPF_UDP:
		return MD_PTYPE_UDP;
	case IDPF_TCP:
		return MD_PTYPE_TCP;
	case IDPF_SCTP:
		return MD_PTYPE_SCTP;
	case IDPF_ICMP:
		return MD_PTYPE_ICMP;
	default:
		return 0;
	}
}

MD_FIELD(ptype, "libeth_rx_pt of the packet type: the innermost headers that the device knows",
	 struct virtchnl2_rx_flex_desc_adv_nic_3 *desc, struct xdp_buff *xdp)
{
	__u32 packet = idpf_packet(desc, xdp);
	__u32 bits;

	if (idpf_bits(packet, tunnel_type))
		bits = MD_PTYPE_TUNNELLED | idpf_ip_bits(idpf_bits(packet, tunnel_end_prot)) |
		       (idpf_bits(packet, tunnel_end_frag) ? MD_PTYPE_FRAGMENT : 0);
	else
		bits = idpf_ip_bits(idpf_bits(packet, outer_ip)) |
		       (idpf_bits(packet, outer_frag) ? MD_PTYPE_FRAGMENT : 0);
	return bits | idpf_l4_bits(idpf_bits(packet, inner_prot));
}

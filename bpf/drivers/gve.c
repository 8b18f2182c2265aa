// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * gve: Google's gVNIC. Of its two formats of queues, GQI has a descriptor in big-endian
 * order for each packet, and DQO a completion in little-endian order for each buffer.
 */

#include "md_driver.h"

MD_DRIVER("gve");
MD_LACKS(vlan_tci, "the NIC leaves the tag in the packet");
MD_LACKS(vlan_proto, "the NIC leaves the tag in the packet");
MD_LACKS(mark, "the descriptor has none");

struct gve_rx_desc {
	__be32 rss_hash;
	__sum16 csum;
	__be16 flags_seq;
} __core;

/*
 * struct gve_rx_compl_desc_dqo as the NIC writes it: what is in bit-fields there is in words
 * here, from one of which several are read.
 */
struct gve_completion {
	__u8 rxdid;
	__u8 origin;
	__le16 type;
	__le16 packet_len;
	__le16 header_len;
	__u8 status;
	__u8 status_error1;
	__u8 reserved5;
	__u8 ts_sub_nsecs_low;
	__le16 buf_id;
	__le16 raw_cs;
	__le32 hash;
	__le32 reserved6;
	__le32 reserved7;
	__le32 ts;
};

/* bits of origin, type and status */
#define GVE_IPV6_EX_ADD (1 << 1)
#define GVE_PACKET_TYPE 0x3ff
#define GVE_END_OF_PACKET (1 << 1)
#define GVE_L3_L4_PROCESSED (1 << 3)
#define GVE_CSUM_IP_ERR (1 << 4)
#define GVE_CSUM_L4_ERR (1 << 5)
#define GVE_CSUM_EXTERNAL_IP_ERR (1 << 6)

struct gve_rx_desc_queue {
	struct gve_rx_desc *desc_ring;
} __core;

struct gve_rx_compl_queue_dqo {
	void *desc_ring;
	__u32 head;
} __core;

struct gve_ptype {
	__u8 l3_type;
	__u8 l4_type;
} __core;

struct gve_ptype_lut {
	struct gve_ptype ptypes[1];
} __core;

enum gve_queue_format {
	GVE_GQI_RDA_FORMAT = 1,
	GVE_GQI_QPL_FORMAT = 2,
	GVE_DQO_RDA_FORMAT = 3,
	GVE_DQO_QPL_FORMAT = 4,
};

struct kernel_hwtstamp_config {
	int rx_filter;
} __core;

struct gve_rx_ring;

/* ts_config and last_sync_nic_counter: since 6.18 */
struct gve_priv {
	struct gve_rx_ring *rx;
	enum gve_queue_format queue_format;
	struct gve_ptype_lut *ptype_lut_dqo;
	struct kernel_hwtstamp_config ts_config;
	__u64 last_sync_nic_counter;
} __core;

/* xdp_rxq: since 6.4 */
struct gve_rx_ring {
	struct gve_priv *gve;
	struct gve_rx_desc_queue desc;
	struct {
		struct gve_rx_compl_queue_dqo complq;
	} dqo;
	__u32 cnt;
	__u32 mask;
	struct xdp_rxq_info xdp_rxq;
} __core;

/* GVE_RXF_* of the driver, as bits of flags_seq */
#define GVE_FRAG (1 << 6)
#define GVE_IPV4 (1 << 7)
#define GVE_IPV6 (1 << 8)
#define GVE_TCP (1 << 9)
#define GVE_UDP (1 << 10)

/* enum gve_l3_type and gve_l4_type, which are the device's */
#define GVE_L3_IPV4 2
#define GVE_L3_IPV6 3
#define GVE_L4_OTHER 1
#define GVE_L4_TCP 2
#define GVE_L4_UDP 3
#define GVE_L4_ICMP 4
#define GVE_L4_SCTP 5

/* #defines of the driver and of linux/net_tstamp.h */
#define GVE_DQO_RX_HWTSTAMP_VALID 1
#define HWTSTAMP_FILTER_ALL 1

#define gve_format(name) bpf_core_enum_value(enum gve_queue_format, name)

static __always_inline struct gve_priv *gve_priv(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct gve_rx_ring, xdp_rxq)->gve;
}

/* Which of the two it is, is kept where the address of a descriptor has a zero. */
#define GVE_DQO 1ULL

static __always_inline bool gve_is_dqo(void *found)
{
	return (__u64)found & GVE_DQO;
}

static __always_inline struct gve_rx_desc *gve_gqi(void *found)
{
	return found;
}

static __always_inline struct gve_completion *gve_dqo(void *found)
{
	return (void *)((__u64)found & ~GVE_DQO);
}

/* gve_clean_rx_done() counts on behind the program, which sees packets of one buffer only. */
static __always_inline void *gve_gqi_desc(struct gve_rx_ring *ring)
{
	__u32 index = ring->cnt & ring->mask;

	return md_element(ring->desc.desc_ring, struct gve_rx_desc, index);
}

/*
 * So does gve_rx_poll_dqo(). Of a packet in several buffers, where the program sees the
 * first one, the last completion describes it.
 */
static __always_inline void *gve_dqo_desc(struct gve_rx_ring *ring)
{
	struct gve_rx_compl_queue_dqo *queue = md_at(ring, struct gve_rx_ring, dqo.complq);
	struct gve_completion *desc = (struct gve_completion *)queue->desc_ring + queue->head;

	return desc->status & GVE_END_OF_PACKET ? (void *)((__u64)desc | GVE_DQO) : NULL;
}

/*
 * The buffers of AF_XDP have the same receive queue: from xdp_rxq_info_reg_mem_model()
 * of DQO; and of GQI they are filled behind the program.
 */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct gve_rx_ring *ring = container_of(rxq, struct gve_rx_ring, xdp_rxq);
	struct gve_priv *priv = md_netdev_priv(rxq->dev);
	__u32 format;

	if (ring->gve != priv)
		return NULL;
	if (md_element(priv->rx, struct gve_rx_ring, rxq->queue_index) != ring)
		return NULL;
	format = priv->queue_format;
	if (format == gve_format(GVE_GQI_RDA_FORMAT) || format == gve_format(GVE_GQI_QPL_FORMAT))
		return gve_gqi_desc(ring);
	if (format == gve_format(GVE_DQO_RDA_FORMAT) || format == gve_format(GVE_DQO_QPL_FORMAT))
		return gve_dqo_desc(ring);
	return NULL;
}

/*
 * gve_rx_get_hwtstamp(): 32 bits, extended by what the driver has read of the clock within
 * two seconds. It keeps on reading as long as the stamps are on.
 */
MD_FIELD(rx_timestamp, "gve_rx_compl_desc_dqo.ts of DQO queues, if hardware timestamps are on (hwstamp_ctl)",
	 void *found, struct xdp_buff *xdp)
{
	struct gve_priv *priv = gve_priv(xdp);
	__u64 last;

	if (!gve_is_dqo(found) || priv->ts_config.rx_filter != HWTSTAMP_FILTER_ALL)
		return 0;
	if (!(gve_dqo(found)->ts_sub_nsecs_low & GVE_DQO_RX_HWTSTAMP_VALID))
		return 0;
	last = priv->last_sync_nic_counter;
	return last + (__s32)(md_le32(gve_dqo(found)->ts) - (__u32)last);
}

static __always_inline __u32 gve_gqi_ptype(struct gve_rx_desc *desc)
{
	__u32 flags = md_be16(desc->flags_seq);

	return (flags & GVE_IPV4 ? MD_PTYPE_IPV4 : 0) |
	       (flags & GVE_IPV6 ? MD_PTYPE_IPV6 : 0) |
	       (flags & GVE_FRAG ? MD_PTYPE_FRAGMENT : 0) |
	       (flags & GVE_TCP ? MD_PTYPE_TCP : 0) |
	       (flags & GVE_UDP ? MD_PTYPE_UDP : 0);
}

/* What the NIC's numbers mean it has told the driver: gve_adminq_get_ptype_map_dqo(). */
static __always_inline struct gve_ptype *gve_dqo_type(struct gve_completion *desc, struct xdp_buff *xdp)
{
	struct gve_ptype *types = (void *)md_at(gve_priv(xdp)->ptype_lut_dqo, struct gve_ptype_lut, ptypes);

	return md_element(types, struct gve_ptype, md_le16(desc->type) & GVE_PACKET_TYPE);
}

static __always_inline __u32 gve_dqo_ptype(struct gve_completion *desc, struct xdp_buff *xdp)
{
	struct gve_ptype *type = gve_dqo_type(desc, xdp);
	__u32 l3 = type->l3_type, l4 = type->l4_type, bits = 0;

	if (l3 == GVE_L3_IPV4)
		bits = MD_PTYPE_IPV4;
	else if (l3 == GVE_L3_IPV6)
		bits = MD_PTYPE_IPV6;
	if (l4 == GVE_L4_TCP)
		return bits | MD_PTYPE_TCP;
	if (l4 == GVE_L4_UDP)
		return bits | MD_PTYPE_UDP;
	if (l4 == GVE_L4_ICMP)
		return bits | MD_PTYPE_ICMP;
	if (l4 == GVE_L4_SCTP)
		return bits | MD_PTYPE_SCTP;
	return l4 == GVE_L4_OTHER ? bits | MD_PTYPE_OTHER_L4 : bits;
}

static __always_inline __u32 gve_ptype(void *found, struct xdp_buff *xdp)
{
	return gve_is_dqo(found) ? gve_dqo_ptype(gve_dqo(found), xdp) : gve_gqi_ptype(gve_gqi(found));
}

MD_FIELD(ptype, "gve_rx_desc.flags_seq of GQI queues, gve_rx_compl_desc_dqo.packet_type of DQO queues",
	 void *found, struct xdp_buff *xdp)
{
	return gve_ptype(found, xdp);
}

/* gve_needs_rss() of GQI, which for DQO leaves out what is no IP. */
static __always_inline bool gve_has_hash(__u32 ptype, struct xdp_buff *xdp)
{
	return ptype & (MD_PTYPE_IPV4 | MD_PTYPE_IPV6) && !(ptype & MD_PTYPE_FRAGMENT) &&
	       md_netdev_has(xdp, MD_NETIF_F_RXHASH);
}

MD_FIELD(hash, "gve_rx_desc.rss_hash of GQI queues, gve_rx_compl_desc_dqo.hash of DQO queues, of IP, if rxhash is on",
	 void *found, struct xdp_buff *xdp)
{
	if (!gve_has_hash(gve_ptype(found, xdp), xdp))
		return 0;
	return gve_is_dqo(found) ? md_le32(gve_dqo(found)->hash) : md_be32(gve_gqi(found)->rss_hash);
}

/*
 * Ports are hashed of TCP and UDP: gve_adminq_configure_rss(). Of other transports the
 * driver says so, too, but asks for no such hash.
 */
MD_FIELD(hash_type, "gve_rx_desc.flags_seq of GQI queues, gve_rx_compl_desc_dqo.packet_type of DQO queues, of IP, if rxhash is on",
	 void *found, struct xdp_buff *xdp)
{
	__u32 ptype = gve_ptype(found, xdp), bits;

	if (!gve_has_hash(ptype, xdp))
		return 0;
	bits = ptype & MD_PTYPE_IPV4 ? MD_HASH_IPV4 : MD_HASH_IPV6;
	if (ptype & MD_PTYPE_TCP)
		return bits | MD_HASH_TCP;
	return ptype & MD_PTYPE_UDP ? bits | MD_HASH_UDP : bits;
}

/*
 * gve_rx_skb_csum(). Nothing says whether the NIC has looked where it calls a transport
 * header's sum wrong, or an outer IP header's, of which it does not say that there is one.
 */
static __always_inline __u32 gve_dqo_csum_status(struct gve_completion *desc, struct xdp_buff *xdp)
{
	__u32 ptype = gve_dqo_ptype(desc, xdp), status = desc->status;

	if (!(status & GVE_L3_L4_PROCESSED))
		return MD_CSUM_NONE;
	if (ptype & MD_PTYPE_IPV4 && status & GVE_CSUM_IP_ERR)
		return MD_CSUM_BAD;
	if (ptype & MD_PTYPE_IPV4 && status & GVE_CSUM_EXTERNAL_IP_ERR)
		return MD_CSUM_NONE;
	if (ptype & MD_PTYPE_IPV6 && desc->origin & GVE_IPV6_EX_ADD)
		return MD_CSUM_NONE;
	if (status & GVE_CSUM_L4_ERR)
		return MD_CSUM_NONE;
	return ptype & (MD_PTYPE_TCP | MD_PTYPE_UDP | MD_PTYPE_ICMP | MD_PTYPE_SCTP) ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

MD_FIELD(csum_status, "gve_rx_desc.csum of GQI queues, gve_rx_compl_desc_dqo of DQO queues, if rx-checksumming is on",
	 void *found, struct xdp_buff *xdp)
{
	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	if (gve_is_dqo(found))
		return gve_dqo_csum_status(gve_dqo(found), xdp);
	return gve_gqi(found)->csum ? MD_CSUM_COMPLETE : MD_CSUM_NONE;
}

MD_FIELD(csum, "gve_rx_desc.csum of GQI queues, if csum_status is MD_CSUM_COMPLETE",
	 void *found, struct xdp_buff *xdp)
{
	return !gve_is_dqo(found) && md_netdev_has(xdp, MD_NETIF_F_RXCSUM) ? gve_gqi(found)->csum : 0;
}

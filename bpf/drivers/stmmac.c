// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * stmmac: Synopsys' Ethernet cores, from DWMAC 100 to XGMAC, under many names. There are
 * five kinds of descriptors.
 */

#include "md_driver.h"

MD_DRIVER("stmmac st_mac100 st_gmac st_xgmac");
MD_LACKS(csum, "the NIC keeps the sum that it has compared");
MD_LACKS(mark, "the descriptor has none");

enum dwmac_core_type {
	DWMAC_CORE_GMAC4 = 2,
	DWMAC_CORE_XGMAC = 3,
};

/* has_gmac4, has_xgmac: before core_type. enh_desc: a bool in later kernels */
struct plat_stmmacenet_data {
	enum dwmac_core_type core_type;
	int has_gmac4;
	int has_xgmac;
	int enh_desc;
	__u32 cdc_error_adj;
} __core;

struct stmmac_ops {
	void *rx_hw_vlan;
} __core;

struct stmmac_vlan_ops {
	void *rx_hw_vlan;
} __core;

/* hw_vlan_en: since 6.9. vlan: what has it from mac in later kernels */
struct mac_device_info {
	struct stmmac_ops *mac;
	struct stmmac_vlan_ops *vlan;
	unsigned int rx_csum;
	_Bool hw_vlan_en;
} __core;

struct stmmac_priv;

struct stmmac_rx_queue {
	struct xdp_rxq_info xdp_rxq;
	struct stmmac_priv *priv_data;
	void *dma_erx;
	void *dma_rx;
	unsigned int cur_rx;
} __core;

struct stmmac_dma_conf {
	struct stmmac_rx_queue rx_queue[1];
	unsigned int dma_rx_size;
} __core;

/* extend_desc: a bool in later kernels */
struct stmmac_priv {
	int hwts_rx_en;
	int extend_desc;
	struct mac_device_info *hw;
	struct stmmac_dma_conf dma_conf;
	struct plat_stmmacenet_data *plat;
	__u32 adv_ts;
} __core;

/* desc and ndesc: since 6.5 */
struct stmmac_xdp_buff {
	void *desc;
	void *ndesc;
} __core;

/*
 * The kinds, by which each bit is read. The kind is asked for once a packet, and kept where
 * the address of a descriptor, a multiple of its size, has zeros.
 */
enum stmmac_kind {
	STMMAC_NORMAL = 0,	/* ndesc_ops */
	STMMAC_ENHANCED = 1,	/* enh_desc_ops */
	STMMAC_EXTENDED = 2,	/* the same, of twice the size */
	STMMAC_GMAC4 = 3,	/* dwmac4_desc_ops */
	STMMAC_XGMAC = 4,	/* dwxgmac210_desc_ops */
};

#define STMMAC_DESC_SIZE 16
#define STMMAC_EXTENDED_SIZE 32

static __always_inline enum stmmac_kind stmmac_kind_of(void *found)
{
	return (__u64)found & (STMMAC_DESC_SIZE - 1);
}

static __always_inline void *stmmac_desc(void *found)
{
	return (void *)((__u64)found & ~(STMMAC_DESC_SIZE - 1ULL));
}

/*
 * desN of struct dma_desc and dma_extended_desc: by its place, which is the hardware's. Of
 * recorded members clang makes one load where it finds two on two paths, at an address that
 * each computes.
 */
static __always_inline __u32 stmmac_des(void *desc, int n)
{
	return md_le32(((__le32 *)desc)[n]);
}

/* descs.h, dwmac4_descs.h and dwxgmac2.h of the driver: of des0, of the first three kinds */
#define RDES0_PAYLOAD_CSUM_ERR (1 << 0)
#define ERDES0_RX_MAC_ADDR (1 << 0)
#define RDES0_FRAME_TYPE (1 << 5)
#define RDES0_IPC_CSUM_ERROR (1 << 7)
#define RDES0_LAST_DESCRIPTOR (1 << 8)

/* of des4, STMMAC_EXTENDED */
#define ERDES4_IP_PAYLOAD_TYPE 7
#define ERDES4_IP_HDR_ERR (1 << 3)
#define ERDES4_IP_PAYLOAD_ERR (1 << 4)
#define ERDES4_IP_CSUM_BYPASSED (1 << 5)
#define ERDES4_IPV4_PKT_RCVD (1 << 6)
#define ERDES4_IPV6_PKT_RCVD (1 << 7)

/* of des1, STMMAC_GMAC4 */
#define RDES1_IP_PAYLOAD_TYPE 7
#define RDES1_IP_HDR_ERROR (1 << 3)
#define RDES1_IPV4_HEADER (1 << 4)
#define RDES1_IPV6_HEADER (1 << 5)
#define RDES1_IP_CSUM_BYPASSED (1 << 6)
#define RDES1_IP_PAYLOAD_ERROR (1 << 7)
#define RDES1_TIMESTAMP_AVAILABLE (1 << 14)

/* of des3, STMMAC_GMAC4 and STMMAC_XGMAC */
#define RDES3_RDES0_VALID (1 << 25)
#define RDES3_RDES1_VALID (1 << 26)
#define RDES3_LAST_DESCRIPTOR (1 << 28)
#define RDES3_CONTEXT_DESCRIPTOR (1 << 30)
#define RDES3_OWN (1U << 31)

/* of des3, STMMAC_XGMAC */
#define XGMAC_RDES3_TSA (1 << 4)
#define XGMAC_RDES3_TSD (1 << 6)
#define XGMAC_RDES3_RSV (1 << 26)
#define XGMAC_RDES3_CDA (1 << 27)

static __always_inline struct stmmac_rx_queue *stmmac_queue(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct stmmac_rx_queue, xdp_rxq);
}

/* stmmac_hwif_init() and stmmac_dwmac1_quirks(). md_bits() is for numbers of any width as well. */
static __always_inline enum stmmac_kind stmmac_kind(struct stmmac_priv *priv)
{
	struct plat_stmmacenet_data *plat = priv->plat;

	if (bpf_core_field_exists(plat->core_type)) {
		/* A number to shift by is in the instruction; one to compare with takes two more. */
		__u64 type = 1ULL << plat->core_type;

		if (type >> bpf_core_enum_value(enum dwmac_core_type, DWMAC_CORE_GMAC4) & 1)
			return STMMAC_GMAC4;
		if (type >> bpf_core_enum_value(enum dwmac_core_type, DWMAC_CORE_XGMAC) & 1)
			return STMMAC_XGMAC;
	} else {
		if (plat->has_gmac4)
			return STMMAC_GMAC4;
		if (plat->has_xgmac)
			return STMMAC_XGMAC;
	}
	if (!md_bits(plat, enh_desc))
		return STMMAC_NORMAL;
	return md_bits(priv, extend_desc) ? STMMAC_EXTENDED : STMMAC_ENHANCED;
}

/* Before 6.5 the buff does not know: the queue has just passed it, on an AF_XDP queue as well. */
static __always_inline void *stmmac_last_desc(struct stmmac_rx_queue *queue,
					      struct stmmac_priv *priv, enum stmmac_kind kind)
{
	__u32 next = queue->cur_rx;
	__u64 index = (next ? next : priv->dma_conf.dma_rx_size) - 1;

	if (kind == STMMAC_EXTENDED)
		return queue->dma_erx + index * STMMAC_EXTENDED_SIZE;
	return queue->dma_rx + index * STMMAC_DESC_SIZE;
}

/*
 * The program is run for the first buffer of a packet, or, on an AF_XDP queue, the last.
 * Of a descriptor that is not the last one nothing is valid.
 */
static __always_inline bool stmmac_is_last(void *desc, enum stmmac_kind kind)
{
	if (kind >= STMMAC_GMAC4)
		return stmmac_des(desc, 3) & RDES3_LAST_DESCRIPTOR;
	return stmmac_des(desc, 0) & RDES0_LAST_DESCRIPTOR;
}

MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct stmmac_rx_queue *queue = container_of(rxq, struct stmmac_rx_queue, xdp_rxq);
	struct stmmac_priv *own = md_netdev_priv(rxq->dev), *priv = queue->priv_data;
	void *queues = md_at(own, struct stmmac_priv, dma_conf.rx_queue[0]), *desc;
	enum stmmac_kind kind;

	if (md_element(queues, struct stmmac_rx_queue, rxq->queue_index) != queue)
		return NULL;
	if (priv != own)
		return NULL;
	asm("" : "+r"(priv)); /* as it was read: md_bits() takes no offsets of its own */
	kind = stmmac_kind(priv);
	if (bpf_core_field_exists(struct stmmac_xdp_buff, desc))
		desc = ((struct stmmac_xdp_buff *)xdp)->desc;
	else
		desc = stmmac_last_desc(queue, priv, kind);
	return stmmac_is_last(desc, kind) ? (void *)((__u64)desc | kind) : NULL;
}

/* Behind the last descriptor of a packet: what GMAC4 and XGMAC have the stamp in. */
static __always_inline void *stmmac_next_desc(struct xdp_buff *xdp)
{
	struct stmmac_rx_queue *queue;

	if (bpf_core_field_exists(struct stmmac_xdp_buff, ndesc))
		return ((struct stmmac_xdp_buff *)xdp)->ndesc;
	queue = stmmac_queue(xdp);
	return queue->dma_rx + (__u64)queue->cur_rx * STMMAC_DESC_SIZE;
}

/* Whether there is a stamp behind a descriptor. If the NIC is not there yet the driver waits a little. */
static __always_inline bool stmmac_has_context(void *desc, void *next, enum stmmac_kind kind)
{
	__u32 own = stmmac_des(desc, 3), context = stmmac_des(next, 3);

	if ((context & (RDES3_OWN | RDES3_CONTEXT_DESCRIPTOR)) != RDES3_CONTEXT_DESCRIPTOR)
		return false;
	if (kind == STMMAC_XGMAC)
		return own & XGMAC_RDES3_CDA &&
		       (context & (XGMAC_RDES3_TSD | XGMAC_RDES3_TSA)) == XGMAC_RDES3_TSA;
	return own & RDES3_RDES1_VALID && stmmac_des(desc, 1) & RDES1_TIMESTAMP_AVAILABLE;
}

/* Two words, nanoseconds and seconds, or NULL. */
static __always_inline __le32 *stmmac_stamp(void *found, struct stmmac_priv *priv, struct xdp_buff *xdp)
{
	enum stmmac_kind kind = stmmac_kind_of(found);
	void *desc = stmmac_desc(found), *next;

	if (kind >= STMMAC_GMAC4) {
		next = stmmac_next_desc(xdp);
		return stmmac_has_context(desc, next, kind) ? next : NULL;
	}
	if (kind == STMMAC_EXTENDED && priv->adv_ts)
		return stmmac_des(desc, 0) & RDES0_IPC_CSUM_ERROR ? desc + 6 * sizeof(__le32) : NULL;
	return desc + 2 * sizeof(__le32);
}

/* stmmac_xdp_rx_timestamp(). All ones are what the NIC writes for a stamp that it has lost. */
MD_FIELD(rx_timestamp, "dma_desc, the one behind it, or dma_extended_desc, if hardware timestamps are on (hwstamp_ctl)",
	 void *found, struct xdp_buff *xdp)
{
	struct stmmac_priv *priv = stmmac_queue(xdp)->priv_data;
	__u32 ns, s;
	__le32 *stamp;

	if (!priv->hwts_rx_en)
		return 0;
	stamp = stmmac_stamp(found, priv, xdp);
	if (!stamp)
		return 0;
	ns = md_le32(stamp[0]);
	s = md_le32(stamp[1]);
	if ((!ns && !s) || (ns & s) == ~0U)
		return 0;
	return s * 1000000000ULL + ns - priv->plat->cdc_error_adj;
}

/* RSS can't be switched off in XGMAC: the stack asks for no feature. */
static __always_inline __u32 stmmac_rss(void *found)
{
	__u32 des3;

	if (stmmac_kind_of(found) != STMMAC_XGMAC)
		return 0;
	des3 = stmmac_des(stmmac_desc(found), 3);
	return des3 & XGMAC_RDES3_RSV ? des3 : 0;
}

MD_FIELD(hash, "dma_desc.des1, of XGMAC with RSS", void *found)
{
	return stmmac_rss(found) ? stmmac_des(stmmac_desc(found), 1) : 0;
}

/*
 * XGMAC_RDES3_L34T, four bits; those that XGMAC_L34T_* does not name are named by amd-xgbe
 * for the same core, RX_DESC3_L34T_*: 1 TCP, 2 UDP, 3 ICMP, 7 unknown, over IPv4, and with
 * 8 added over IPv6.
 */
static __always_inline __u32 stmmac_l34t(__u32 des3)
{
	__u32 type = des3 >> 20 & 15, l4 = type & 7;

	return l4 == 7 || (l4 >= 1 && l4 <= 3) ? type : 0;
}

MD_FIELD(hash_type, "dma_desc.des3, of XGMAC with RSS", void *found)
{
	__u32 type = stmmac_l34t(stmmac_rss(found)), ip = type & 8 ? MD_HASH_IPV6 : MD_HASH_IPV4;

	if (!type)
		return 0;
	if ((type & 7) == 1)
		return ip | MD_HASH_TCP;
	return (type & 7) == 2 ? ip | MD_HASH_UDP : ip;
}

/* What the sum was taken of: 1 UDP, 2 TCP, 3 ICMP. */
static __always_inline bool stmmac_gmac4_checked(__u32 des1)
{
	__u32 type = des1 & RDES1_IP_PAYLOAD_TYPE;

	return type >= 1 && type <= 3;
}

static __always_inline __u32 stmmac_gmac4_csum(void *desc)
{
	__u32 des1;

	if (!(stmmac_des(desc, 3) & RDES3_RDES1_VALID))
		return MD_CSUM_NONE;
	des1 = stmmac_des(desc, 1);
	if (!(des1 & (RDES1_IPV4_HEADER | RDES1_IPV6_HEADER)) || des1 & RDES1_IP_CSUM_BYPASSED)
		return MD_CSUM_NONE;
	if (des1 & (RDES1_IP_HDR_ERROR | RDES1_IP_PAYLOAD_ERROR))
		return MD_CSUM_BAD;
	return stmmac_gmac4_checked(des1) ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/* The driver drops packets with a wrong sum: dwxgmac2_get_rx_status(). */
static __always_inline __u32 stmmac_xgmac_csum(void *desc)
{
	__u32 l4 = stmmac_l34t(stmmac_des(desc, 3)) & 7;

	return l4 == 1 || l4 == 2 ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/*
 * The three bits of enh_desc_coe_rdes0(), of which "no error" is also said of packets that
 * are not IP: the driver looks into the packet.
 */
static __always_inline __u32 stmmac_enhanced_csum(void *desc)
{
	__u32 des0 = stmmac_des(desc, 0);

	if (!(des0 & RDES0_FRAME_TYPE))
		return MD_CSUM_NONE;
	return des0 & (RDES0_PAYLOAD_CSUM_ERR | RDES0_IPC_CSUM_ERROR) ? MD_CSUM_BAD : MD_CSUM_NONE;
}

/*
 * Here the same bits say that there is a word 4, and a stamp. The driver takes them for
 * errors all the same, and believes no packet that has such a word.
 */
static __always_inline __u32 stmmac_extended_csum(void *desc)
{
	__u32 des4;

	if (!(stmmac_des(desc, 0) & ERDES0_RX_MAC_ADDR))
		return MD_CSUM_NONE;
	des4 = stmmac_des(desc, 4);
	if (!(des4 & (ERDES4_IPV4_PKT_RCVD | ERDES4_IPV6_PKT_RCVD)) || des4 & ERDES4_IP_CSUM_BYPASSED)
		return MD_CSUM_NONE;
	return des4 & (ERDES4_IP_HDR_ERR | ERDES4_IP_PAYLOAD_ERR) ? MD_CSUM_BAD : MD_CSUM_NONE;
}

MD_FIELD(csum_status, "dma_desc.des1 or des3 of GMAC4 and XGMAC, errors of older cores, if rx-checksumming is on",
	 void *found, struct xdp_buff *xdp)
{
	void *desc = stmmac_desc(found);

	/* 0 with rx-checksumming off: stmmac_set_features() */
	if (!stmmac_queue(xdp)->priv_data->hw->rx_csum)
		return MD_CSUM_NONE;

	switch (stmmac_kind_of(found)) {
	case STMMAC_GMAC4:
		return stmmac_gmac4_csum(desc);
	case STMMAC_XGMAC:
		return stmmac_xgmac_csum(desc);
	case STMMAC_ENHANCED:
		return stmmac_enhanced_csum(desc);
	case STMMAC_EXTENDED:
		return stmmac_extended_csum(desc);
	default:
		return MD_CSUM_NONE;
	}
}

/* Whether the driver takes a tag from descriptors, which XLGMAC is not asked to put there. */
static __always_inline bool stmmac_strips(struct xdp_buff *xdp)
{
	struct mac_device_info *hw = stmmac_queue(xdp)->priv_data->hw;

	if (!hw->hw_vlan_en)
		return false;
	if (bpf_core_field_exists(hw->vlan))
		return hw->vlan->rx_hw_vlan;
	return hw->mac->rx_hw_vlan;
}

/*
 * XGMAC_RDES3_ET_LT, four bits: 8 an S-tag, 9 a C-tag, 10 to 13 two tags, CC, SS, CS and SC,
 * of which the outer one is in the descriptor.
 */
#define STMMAC_ET_LT_STAGS (1 << 8 | 1 << 11 | 1 << 13)

/* The EtherType of a tag, or 0. The driver calls each 802.1Q. */
static __always_inline __be16 stmmac_tag(void *found, struct xdp_buff *xdp)
{
	enum stmmac_kind kind = stmmac_kind_of(found);
	__u32 des3, type;

	if (kind < STMMAC_GMAC4 || !stmmac_strips(xdp))
		return 0;
	des3 = stmmac_des(stmmac_desc(found), 3);
	if (kind == STMMAC_GMAC4)
		return des3 & RDES3_RDES0_VALID ? MD_VLAN_CTAG : 0;
	type = des3 >> 16 & 15;
	if (type < 8 || type > 13)
		return 0;
	return STMMAC_ET_LT_STAGS >> type & 1 ? MD_VLAN_STAG : MD_VLAN_CTAG;
}

MD_FIELD(vlan_tci, "dma_desc.des0 of GMAC4 and XGMAC, if the NIC took a tag off",
	 void *found, struct xdp_buff *xdp)
{
	return stmmac_tag(found, xdp) ? stmmac_des(stmmac_desc(found), 0) : 0;
}

MD_FIELD(vlan_proto, "dma_desc.des3 of XGMAC, 802.1Q of GMAC4, if the NIC took a tag off",
	 void *found, struct xdp_buff *xdp)
{
	return stmmac_tag(found, xdp);
}

static __always_inline __u32 stmmac_xgmac_ptype(void *desc)
{
	__u32 type = stmmac_l34t(stmmac_des(desc, 3)), bits = type & 8 ? MD_PTYPE_IPV6 : MD_PTYPE_IPV4;

	if (!type)
		return 0;
	if ((type & 7) == 1)
		return bits | MD_PTYPE_TCP;
	if ((type & 7) == 2)
		return bits | MD_PTYPE_UDP;
	return (type & 7) == 3 ? bits | MD_PTYPE_ICMP : bits;
}

/* @l4: 1 UDP, 2 TCP, 3 ICMP */
static __always_inline __u32 stmmac_ptype(bool ipv4, bool ipv6, __u32 l4)
{
	__u32 bits = ipv4 ? MD_PTYPE_IPV4 : MD_PTYPE_IPV6;

	if (!ipv4 && !ipv6)
		return 0;
	if (l4 == 1)
		return bits | MD_PTYPE_UDP;
	if (l4 == 2)
		return bits | MD_PTYPE_TCP;
	return l4 == 3 ? bits | MD_PTYPE_ICMP : bits;
}

/*
 * The type in word 4 has three bits: ERDES4_IP_PAYLOAD_TYPE_MASK of the driver, which does
 * not use it, overlaps what comes behind.
 */
MD_FIELD(ptype, "dma_desc.des1 of GMAC4, des3 of XGMAC, dma_extended_desc.des4", void *found)
{
	void *desc = stmmac_desc(found);
	__u32 word;

	switch (stmmac_kind_of(found)) {
	case STMMAC_XGMAC:
		return stmmac_xgmac_ptype(desc);
	case STMMAC_GMAC4:
		if (!(stmmac_des(desc, 3) & RDES3_RDES1_VALID))
			return 0;
		word = stmmac_des(desc, 1);
		return stmmac_ptype(word & RDES1_IPV4_HEADER, word & RDES1_IPV6_HEADER,
				    word & RDES1_IP_PAYLOAD_TYPE);
	case STMMAC_EXTENDED:
		if (!(stmmac_des(desc, 0) & ERDES0_RX_MAC_ADDR))
			return 0;
		word = stmmac_des(desc, 4);
		return stmmac_ptype(word & ERDES4_IPV4_PKT_RCVD, word & ERDES4_IPV6_PKT_RCVD,
				    word & ERDES4_IP_PAYLOAD_TYPE);
	default:
		return 0;
	}
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * rvu_nicpf and rvu_nicvf: Marvell OcteonTX2 and Octeon 10. The descriptor is the completion
 * (CQE). Both modules have their types from the first.
 */

#include "md_driver.h"

MD_DRIVER("rvu-nicpf rvu-nicvf");
MD_MODULE("rvu_nicpf");
MD_LACKS(csum, "the completion has none");
MD_LACKS(rx_timestamp, "the driver leaves it at the start of the packet");

/* Bit-fields as the hardware has them in three of its words, of which only these are used. */
struct nix_cqe_hdr_s {
	__u64 flow_tag : 32;
} __core;

struct nix_rx_parse_s {
	__u64 : 20;
	__u64 errlev : 4;
	__u64 errcode : 8;
	__u64 : 4;
	__u64 lbtype : 4;
	__u64 lctype : 4;
	__u64 ldtype : 4;
	__u64 : 4;
	__u64 lftype : 4;
	__u64 lgtype : 4;
	__u64 lhtype : 4;
	__u64 : 21;
	__u64 vtag0_gone : 1;
	__u64 : 10;
	__u64 vtag0_tci : 16;
	__u64 : 16;
	__u64 : 64;
	__u64 : 48;
	__u64 match_id : 16;
} __core;

struct nix_cqe_rx_s {
	struct nix_cqe_hdr_s hdr;
	struct nix_rx_parse_s parse;
} __core;

struct otx2_cq_queue {
	__u16 cqe_size;
	__u32 cqe_cnt;
	__u32 cq_head;
	void *cqe_base;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct otx2_qset {
	struct otx2_cq_queue *cq;
} __core;

struct otx2_rss_info {
	__u32 flowkey_cfg;
} __core;

struct otx2_hw {
	struct otx2_rss_info rss_info;
} __core;

struct otx2_nic {
	struct net_device *netdev;
	struct otx2_hw hw;
	struct otx2_qset qset;
	__u64 flags;
} __core;

/* otx2_rx_napi_handler() moves cq_head on in front of the program, in each mode. cqe_cnt is a power of two. */
MD_DESCRIPTOR(struct nix_cqe_rx_s, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct otx2_cq_queue *cq = container_of(rxq, struct otx2_cq_queue, xdp_rxq);
	struct otx2_nic *nic = md_netdev_priv(dev);

	if (nic->netdev != dev)
		return NULL;
	if (md_element(nic->qset.cq, struct otx2_cq_queue, rxq->queue_index) != cq)
		return NULL;
	return cq->cqe_base + (__u64)((cq->cq_head - 1) & (cq->cqe_cnt - 1)) * cq->cqe_size;
}

/* What the NIC's parser found in a packet: enum npc_kpu_l?_ltype of the admin function's npc.h. */
#define NPC_CTAG 2
#define NPC_IP 2
#define NPC_IP_OPT 3
#define NPC_IP6 4
#define NPC_IP6_EXT 5
#define NPC_TCP 1
#define NPC_UDP 2
#define NPC_SCTP 4
#define NPC_ICMP6 5
#define NPC_OTHER 8 /* IGMP, AH, GRE, NVGRE; in a tunnel IGMP, ESP, AH */
#define NPC_OTHER_END 12
#define NPC_ICMP 15
#define NPC_TUNNELLED_ETHER 1
#define NPC_TUNNELLED_IP 1
#define NPC_TUNNELLED_IP6 2

/* NIX_FLOW_KEY_TYPE_* of the admin function's mbox.h: what is hashed, where a packet has it */
#define NIX_IPV4 (1 << 1)
#define NIX_IPV6 (1 << 2)
#define NIX_TCP (1 << 3)
#define NIX_UDP (1 << 4)
#define NIX_SCTP (1 << 5)

static __always_inline __u32 otx2_hashed_l3(__u32 l3, __u32 config)
{
	if (config & NIX_IPV4 && l3 == NPC_IP)
		return MD_HASH_IPV4;
	if (config & NIX_IPV4 && l3 == NPC_IP_OPT)
		return MD_HASH_IPV4 | MD_HASH_DYNHDR;
	if (config & NIX_IPV6 && l3 == NPC_IP6)
		return MD_HASH_IPV6;
	if (config & NIX_IPV6 && l3 == NPC_IP6_EXT)
		return MD_HASH_IPV6 | MD_HASH_DYNHDR;
	return 0;
}

static __always_inline __u32 otx2_hashed_l4(__u32 l4, __u32 config)
{
	if (config & NIX_TCP && l4 == NPC_TCP)
		return MD_HASH_TCP;
	if (config & NIX_UDP && l4 == NPC_UDP)
		return MD_HASH_UDP;
	return config & NIX_SCTP && l4 == NPC_SCTP ? MD_HASH_SCTP : 0;
}

static __always_inline __u32 otx2_hash_type(struct nix_cqe_rx_s *cqe, struct xdp_buff *xdp)
{
	struct net_device *dev = xdp->rxq->dev;
	struct otx2_nic *nic = md_netdev_priv(dev);
	__u32 config;

	if (!(dev->features & MD_NETIF_F_RXHASH))
		return 0;
	config = nic->hw.rss_info.flowkey_cfg;
	return otx2_hashed_l3(md_bits(cqe, parse.lctype), config) |
	       otx2_hashed_l4(md_bits(cqe, parse.ldtype), config);
}

MD_FIELD(hash, "nix_cqe_rx_s.hdr.flow_tag, if rxhash is on", struct nix_cqe_rx_s *cqe, struct xdp_buff *xdp)
{
	return otx2_hash_type(cqe, xdp) ? md_bits(cqe, hdr.flow_tag) : 0;
}

/* otx2_set_rxhash() knows what is hashed of packets in general, and the parser what was in this one. */
MD_FIELD(hash_type, "nix_cqe_rx_s.parse.lctype and ldtype, and flowkey_cfg, if rxhash is on",
	 struct nix_cqe_rx_s *cqe, struct xdp_buff *xdp)
{
	return otx2_hash_type(cqe, xdp);
}

/* NPC_ERRLVL_NIX and ERRCODE_*L4_CSUM of the driver: of the outer headers, of inner ones */
#define OTX2_ERRLVL_NIX 15
#define OTX2_OUTER_CSUM 0x12
#define OTX2_INNER_CSUM 0x22

/*
 * The NIC checks the outer sums of TCP and UDP, rx_cfg of otx2_config_nix(), and what is wrong
 * is dropped unless NETIF_F_RXALL is on, otx2_check_rcv_errors(). The driver says that all else
 * is right, what has no sum as well.
 */
MD_FIELD(csum_status, "nix_cqe_rx_s.parse.errlev, errcode and ldtype, if rx-checksumming is on",
	 struct nix_cqe_rx_s *cqe, struct xdp_buff *xdp)
{
	__u32 level = md_bits(cqe, parse.errlev), code = md_bits(cqe, parse.errcode), l4;

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	if (level == OTX2_ERRLVL_NIX && (code == OTX2_OUTER_CSUM || code == OTX2_INNER_CSUM))
		return MD_CSUM_BAD;
	if (level || code)
		return MD_CSUM_NONE;
	l4 = md_bits(cqe, parse.ldtype);
	return l4 == NPC_TCP || l4 == NPC_UDP ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/*
 * The driver has the NIC take a tag off, otx2_enable_rxvlan(), and does not look at it again.
 * Of a tag that is not 802.1Q's the completion does not say which of two it is.
 */
static __always_inline bool otx2_has_tag(struct nix_cqe_rx_s *cqe)
{
	return md_bits(cqe, parse.vtag0_gone) && md_bits(cqe, parse.lbtype) == NPC_CTAG;
}

MD_FIELD(vlan_tci, "nix_cqe_rx_s.parse.vtag0_tci, if the NIC took a tag of 802.1Q off", struct nix_cqe_rx_s *cqe)
{
	return otx2_has_tag(cqe) ? md_bits(cqe, parse.vtag0_tci) : 0;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if the NIC took a tag of 802.1Q off", struct nix_cqe_rx_s *cqe)
{
	return otx2_has_tag(cqe) ? MD_VLAN_CTAG : 0;
}

/* OTX2_FLAG_TC_MARK_ENABLED: a rule of tc sets a mark, since 6.10 */
#define OTX2_TC_MARK (1ULL << 17)

MD_FIELD(mark, "nix_cqe_rx_s.parse.match_id: mark of the tc rule", struct nix_cqe_rx_s *cqe, struct xdp_buff *xdp)
{
	struct otx2_nic *nic = md_netdev_priv(xdp->rxq->dev);

	return nic->flags & OTX2_TC_MARK ? md_bits(cqe, parse.match_id) : 0;
}

static __always_inline __u32 otx2_l4(__u32 type)
{
	if (type == NPC_TCP)
		return MD_PTYPE_TCP;
	if (type == NPC_UDP)
		return MD_PTYPE_UDP;
	if (type == NPC_SCTP)
		return MD_PTYPE_SCTP;
	if (type == NPC_ICMP6 || type == NPC_ICMP)
		return MD_PTYPE_ICMP;
	return type >= NPC_OTHER && type < NPC_OTHER_END ? MD_PTYPE_OTHER_L4 : 0;
}

/* A flag for fragments has one number up to CN10K, and another in CN20K. */
MD_FIELD(ptype, "nix_cqe_rx_s.parse.lctype, ldtype, lftype, lgtype and lhtype", struct nix_cqe_rx_s *cqe)
{
	__u32 inner = md_bits(cqe, parse.lgtype), l3, l4, bits;

	if (inner == NPC_TUNNELLED_IP || inner == NPC_TUNNELLED_IP6) {
		bits = MD_PTYPE_TUNNELLED | (inner == NPC_TUNNELLED_IP ? MD_PTYPE_IPV4 : MD_PTYPE_IPV6);
		l4 = md_bits(cqe, parse.lhtype);
	} else {
		if (inner || md_bits(cqe, parse.lftype) == NPC_TUNNELLED_ETHER)
			return MD_PTYPE_TUNNELLED;
		l3 = md_bits(cqe, parse.lctype);
		if (l3 < NPC_IP || l3 > NPC_IP6_EXT)
			return 0;
		bits = l3 < NPC_IP6 ? MD_PTYPE_IPV4 : MD_PTYPE_IPV6;
		l4 = md_bits(cqe, parse.ldtype);
	}
	return bits | otx2_l4(l4);
}

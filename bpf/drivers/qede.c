// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* qede: QLogic FastLinQ 4xxxx. The descriptor is the completion (CQE). */

#include "md_driver.h"

MD_DRIVER("qede");
MD_LACKS(csum, "the completion has none");
MD_LACKS(mark, "the driver's rules set none");
MD_LACKS(rx_timestamp, "a register of the NIC");

struct parsing_and_err_flags {
	__le16 flags;
} __core;

struct eth_tunnel_parsing_flags {
	__u8 flags;
} __core;

struct eth_fast_path_rx_reg_cqe {
	__u8 bitfields;
	struct parsing_and_err_flags pars_flags;
	__le16 vlan_tag;
	__le32 rss_hash;
	struct eth_tunnel_parsing_flags tunnel_pars_flags;
} __core;

union eth_rx_cqe {
	struct eth_fast_path_rx_reg_cqe fast_path_regular;
} __core;

struct qed_chain {
	void *p_cons_elem;
} __core;

struct qede_rx_queue {
	struct qed_chain rx_comp_ring;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct qede_fastpath {
	struct qede_rx_queue *rxq;
} __core;

struct qede_dev {
	struct net_device *ndev;
	struct qede_fastpath *fp_array;
} __core;

/*
 * In fp_array those that receive come first: qede_alloc_fp_array(), and rxq_id of
 * qede_init_fp(). qed_chain_consume() leaves p_cons_elem right behind the completion, and
 * goes to the next page in front of the next one.
 */
MD_DESCRIPTOR(union eth_rx_cqe, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct qede_rx_queue *queue = container_of(rxq, struct qede_rx_queue, xdp_rxq);
	struct qede_dev *edev = md_netdev_priv(dev);

	if (edev->ndev != dev)
		return NULL;
	if (md_element(edev->fp_array, struct qede_fastpath, rxq->queue_index)->rxq != queue)
		return NULL;
	return queue->rx_comp_ring.p_cons_elem - bpf_core_type_size(union eth_rx_cqe);
}

/* Three bits, enum rss_hash_type. The driver asks for no feature, here and below. */
static __always_inline __u32 qede_hash_type(union eth_rx_cqe *cqe)
{
	switch (cqe->fast_path_regular.bitfields & 7) {
	case 1:
		return MD_HASH_IPV4;
	case 2:
		return MD_HASH_IPV4 | MD_HASH_TCP;
	case 3:
		return MD_HASH_IPV6;
	case 4:
		return MD_HASH_IPV6 | MD_HASH_TCP;
	case 5:
		return MD_HASH_IPV4 | MD_HASH_UDP;
	case 6:
		return MD_HASH_IPV6 | MD_HASH_UDP;
	}
	return 0;
}

MD_FIELD(hash, "eth_fast_path_rx_reg_cqe.rss_hash", union eth_rx_cqe *cqe)
{
	return qede_hash_type(cqe) ? md_le32(cqe->fast_path_regular.rss_hash) : 0;
}

MD_FIELD(hash_type, "eth_fast_path_rx_reg_cqe.bitfields", union eth_rx_cqe *cqe)
{
	return qede_hash_type(cqe);
}

/* PARSING_AND_ERR_FLAGS_* */
#define QEDE_FRAGMENT 0x0010
#define QEDE_L4_CALCULATED 0x0040
#define QEDE_IP_ERROR 0x0200
#define QEDE_L4_ERROR 0x0400
#define QEDE_TUNNEL 0x0800
#define QEDE_TUNNEL_IP_ERROR 0x2000
#define QEDE_TUNNEL_L4_CALCULATED 0x4000
#define QEDE_TUNNEL_L4_ERROR 0x8000

/* ETH_TUNNEL_PARSING_FLAGS_IPV4_FRAGMENT */
#define QEDE_TUNNEL_FRAGMENT 0x40

static __always_inline __u32 qede_flags(union eth_rx_cqe *cqe)
{
	return md_le16(cqe->fast_path_regular.pars_flags.flags);
}

/*
 * qede_check_csum(). An error of a fragment need not be one, qede_pkt_is_ip_fragmented().
 * Of a tunnel of which the NIC calculated no sum the driver says that it is right, too.
 */
MD_FIELD(csum_status, "eth_fast_path_rx_reg_cqe.pars_flags", union eth_rx_cqe *cqe)
{
	__u32 flags = qede_flags(cqe);
	__u32 calculated = QEDE_L4_CALCULATED, wrong = QEDE_IP_ERROR;

	if (flags & QEDE_L4_CALCULATED)
		wrong |= QEDE_L4_ERROR;
	if (flags & QEDE_TUNNEL) {
		calculated |= QEDE_TUNNEL_L4_CALCULATED;
		wrong |= QEDE_TUNNEL_IP_ERROR;
		if (flags & QEDE_TUNNEL_L4_CALCULATED)
			wrong |= QEDE_TUNNEL_L4_ERROR;
	}
	if (!(flags & wrong))
		return flags & calculated ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
	if (flags & QEDE_FRAGMENT ||
	    cqe->fast_path_regular.tunnel_pars_flags.flags & QEDE_TUNNEL_FRAGMENT)
		return MD_CSUM_NONE;
	return MD_CSUM_BAD;
}

/* qede_skb_receive(): a tag of priority 0 in VLAN 0 is none. */
MD_FIELD(vlan_tci, "eth_fast_path_rx_reg_cqe.vlan_tag", union eth_rx_cqe *cqe)
{
	return md_le16(cqe->fast_path_regular.vlan_tag);
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if vlan_tag is not 0", union eth_rx_cqe *cqe)
{
	return cqe->fast_path_regular.vlan_tag ? MD_VLAN_CTAG : 0;
}

/* PARSING_AND_ERR_FLAGS_L3TYPE and L4PROTOCOL, two bits each: of the inner headers in a tunnel */
MD_FIELD(ptype, "eth_fast_path_rx_reg_cqe.pars_flags", union eth_rx_cqe *cqe)
{
	__u32 flags = qede_flags(cqe), l3 = flags & 3, l4 = flags >> 2 & 3;

	return (l3 == 1 ? MD_PTYPE_IPV4 : 0) | (l3 == 2 ? MD_PTYPE_IPV6 : 0) |
	       (l4 == 1 ? MD_PTYPE_TCP : 0) | (l4 == 2 ? MD_PTYPE_UDP : 0) |
	       (flags & QEDE_FRAGMENT ? MD_PTYPE_FRAGMENT : 0) |
	       (flags & QEDE_TUNNEL ? MD_PTYPE_TUNNELLED : 0);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* mana: Microsoft Azure Network Adapter. The descriptor is the completion, 64 bytes. */

#include "md_driver.h"

MD_DRIVER("mana");
MD_LACKS(rx_timestamp, "the completion has none");
MD_LACKS(csum, "the completion has none");
MD_LACKS(mark, "the completion has none");

/* A completion, as the driver copies it. */
struct gdma_comp {
	__le32 cqe_data[15];
} __core;

/*
 * The words of it. The driver reads struct mana_rxcomp_oob, whose bit-fields are bits of
 * these words; the last two are ppi[0], of a single packet.
 */
enum {
	MANA_HEADER = 0,
	MANA_RESULT = 1,
	MANA_LENGTH = 2,
	MANA_HASH = 4,
};

struct mana_cq {
	struct gdma_comp gdma_comp_buf[1];
	int work_done;
} __core;

struct mana_rxq {
	struct mana_cq rx_cq;
	struct net_device *ndev;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct mana_port_context {
	struct mana_rxq **rxqs;
} __core;

/* enum mana_cqe_type */
#define MANA_TYPE 0x3f
#define MANA_RX_OKAY 1
#define MANA_RX_COALESCED_4 2
#define MANA_RX_COALESCED_8 7

/* bits of the result */
#define MANA_VLAN_ID 0xfff
#define MANA_VLAN_PRESENT (1 << 12)
#define MANA_OUTER_IP_FAIL (1 << 14)
#define MANA_IP_SUCCEED (1 << 25)
#define MANA_IP_FAIL (1 << 26)
#define MANA_TCP_SUCCEED (1 << 27)
#define MANA_TCP_FAIL (1 << 28)
#define MANA_UDP_SUCCEED (1 << 29)
#define MANA_UDP_FAIL (1 << 30)

/* NDIS_HASH_*, at bit 16 of the result */
#define MANA_HASH_IPV4 (1 << 0 | 1 << 1 | 1 << 2)
#define MANA_HASH_IPV6_EX (1 << 6 | 1 << 7 | 1 << 8)
#define MANA_HASH_IPV6 (1 << 3 | 1 << 4 | 1 << 5 | MANA_HASH_IPV6_EX)
#define MANA_HASH_TCP (1 << 1 | 1 << 4 | 1 << 7)
#define MANA_HASH_UDP (1 << 2 | 1 << 5 | 1 << 8)

static __always_inline __u32 mana_type(struct gdma_comp *cqe)
{
	return md_le32(cqe->cqe_data[MANA_HEADER]) & MANA_TYPE;
}

/*
 * mana_poll_rx_cq() copies the completions of a poll, and mana_rx_skb() counts a packet
 * before the program runs; which completion it is in, nothing says. So those are counted
 * that are a packet: not what was truncated, nor the fence of a queue that is taken down.
 *
 * One that is of several packets, which since 7.3 can be asked for, ends the search, with
 * NULL. So do 128, of the 512 that a poll may have: of the branches that it has still to
 * look at, the verifier keeps 8192, and a search takes some 650 of them.
 */
#define MANA_COMPLETIONS 128

static __always_inline struct gdma_comp *mana_find(struct gdma_comp *cqe, __u32 packets)
{
	__u32 i, type;

#pragma clang loop unroll(disable)
	for (i = 0; i < MANA_COMPLETIONS; i++) {
		type = mana_type(cqe);
		if (type == MANA_RX_COALESCED_4 || type == MANA_RX_COALESCED_8)
			return NULL;
		if (type == MANA_RX_OKAY && (__u16)md_le32(cqe->cqe_data[MANA_LENGTH]) && --packets == 0)
			return cqe;
		cqe = md_element(cqe, struct gdma_comp, 1);
	}
	return NULL;
}

MD_DESCRIPTOR(struct gdma_comp, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct mana_port_context *port = md_netdev_priv(dev);
	struct mana_rxq *ring = port->rxqs[rxq->queue_index];

	if (md_at(ring, struct mana_rxq, xdp_rxq) != rxq || *md_at(ring, struct mana_rxq, ndev) != dev)
		return NULL;
	return mana_find((void *)md_at(ring, struct mana_rxq, rx_cq.gdma_comp_buf),
			 *md_at(ring, struct mana_rxq, rx_cq.work_done));
}

static __always_inline __u32 mana_hashed(struct gdma_comp *cqe)
{
	return md_le32(cqe->cqe_data[MANA_RESULT]) >> 16 & 0x1ff;
}

MD_FIELD(hash, "mana_rxcomp_oob.ppi[0].pkt_hash, if rxhash is on", struct gdma_comp *cqe, struct xdp_buff *xdp)
{
	return mana_hashed(cqe) && md_netdev_has(xdp, MD_NETIF_F_RXHASH) ? md_le32(cqe->cqe_data[MANA_HASH]) : 0;
}

MD_FIELD(hash_type, "mana_rxcomp_oob.rx_hashtype, if rxhash is on", struct gdma_comp *cqe, struct xdp_buff *xdp)
{
	__u32 hashed = mana_hashed(cqe), bits = 0;

	if (!md_netdev_has(xdp, MD_NETIF_F_RXHASH))
		return 0;
	if (hashed & MANA_HASH_IPV4)
		bits = MD_HASH_IPV4;
	else if (hashed & MANA_HASH_IPV6)
		bits = hashed & MANA_HASH_IPV6_EX ? MD_HASH_IPV6 | MD_HASH_DYNHDR : MD_HASH_IPV6;
	if (hashed & MANA_HASH_TCP)
		return bits | MD_HASH_TCP;
	return hashed & MANA_HASH_UDP ? bits | MD_HASH_UDP : bits;
}

/* The completion has a bit for right and one for wrong, of which the driver reads the first. */
MD_FIELD(csum_status, "mana_rxcomp_oob.rx_iphdr_csum_*, rx_tcp_csum_* and rx_udp_csum_*, if rx-checksumming is on",
	 struct gdma_comp *cqe, struct xdp_buff *xdp)
{
	__u32 result = md_le32(cqe->cqe_data[MANA_RESULT]);

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	if (result & (MANA_OUTER_IP_FAIL | MANA_IP_FAIL | MANA_TCP_FAIL | MANA_UDP_FAIL))
		return MD_CSUM_BAD;
	return result & MANA_IP_SUCCEED && result & (MANA_TCP_SUCCEED | MANA_UDP_SUCCEED) ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/* Of the tag the NIC gives 12 bits, whatever its priority was. */
MD_FIELD(vlan_tci, "mana_rxcomp_oob.rx_vlan_id, if the NIC took a tag off: the VLAN ID", struct gdma_comp *cqe)
{
	__u32 result = md_le32(cqe->cqe_data[MANA_RESULT]);

	return result & MANA_VLAN_PRESENT ? result & MANA_VLAN_ID : 0;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if the NIC took a tag off", struct gdma_comp *cqe)
{
	return md_le32(cqe->cqe_data[MANA_RESULT]) & MANA_VLAN_PRESENT ? MD_VLAN_CTAG : 0;
}

/* No packet type, but what was hashed and whose checksum was tried. */
MD_FIELD(ptype, "mana_rxcomp_oob.rx_hashtype, rx_tcp_csum_* and rx_udp_csum_*", struct gdma_comp *cqe)
{
	__u32 result = md_le32(cqe->cqe_data[MANA_RESULT]), hashed = mana_hashed(cqe), bits = 0;

	if (hashed & MANA_HASH_IPV4)
		bits = MD_PTYPE_IPV4;
	else if (hashed & MANA_HASH_IPV6)
		bits = MD_PTYPE_IPV6;
	if (hashed & MANA_HASH_TCP || result & (MANA_TCP_SUCCEED | MANA_TCP_FAIL))
		return bits | MD_PTYPE_TCP;
	return hashed & MANA_HASH_UDP || result & (MANA_UDP_SUCCEED | MANA_UDP_FAIL) ? bits | MD_PTYPE_UDP : bits;
}

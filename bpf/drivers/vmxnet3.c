// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* vmxnet3: VMware's network device, since 6.6. The descriptor is the completion. */

#include "md_driver.h"

MD_DRIVER("vmxnet3");
MD_LACKS(csum, "what the completion has is a sum that is still to be finished");
MD_LACKS(mark, "the completion has none");
MD_LACKS(rx_timestamp, "the completion has none");

/* The driver reads struct Vmxnet3_RxCompDesc, whose bit-fields are bits of these words. */
union Vmxnet3_GenericDesc {
	__le32 dword[4];
} __core;

struct vmxnet3_comp_ring {
	union Vmxnet3_GenericDesc *base;
	__u32 next2proc;
} __core;

struct vmxnet3_rx_queue {
	struct vmxnet3_adapter *adapter;
	struct vmxnet3_comp_ring comp_ring;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct vmxnet3_adapter {
	struct vmxnet3_rx_queue rx_queue[1];
} __core;

/* struct Vmxnet3_RxCompDesc of vmxnet3_defs.h; the numbers of its bits, little-endian */
#define VMXNET3_INNER (1 << 13) /* VMXNET3_RCD_HDR_INNER_SHIFT: dword[3] is of inner headers */
#define VMXNET3_EOP (1 << 14)
#define VMXNET3_RSS_TYPE_SHIFT 26
#define VMXNET3_CNC (1 << 30) /* checksum not calculated */

#define VMXNET3_TS (1 << 15)
#define VMXNET3_TCI_SHIFT 16

#define VMXNET3_TUC (1 << 16) /* checksum of TCP or UDP correct */
#define VMXNET3_UDP (1 << 17)
#define VMXNET3_TCP (1 << 18)
#define VMXNET3_IPC (1 << 19) /* checksum of IPv4 correct */
#define VMXNET3_V6 (1 << 20)
#define VMXNET3_V4 (1 << 21)
#define VMXNET3_FRG (1 << 22)

/*
 * vmxnet3_rq_rx_complete() runs XDP for the completion that is next to be processed, and
 * moves on behind that, for packets in pages, vmxnet3_process_xdp(), and for small ones
 * that are copied from the data ring, vmxnet3_process_xdp_small(). The first is only asked
 * for completions that end the packet; the others are of no use, as the device writes what
 * it found out with the last.
 */
MD_DESCRIPTOR(union Vmxnet3_GenericDesc, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct vmxnet3_rx_queue *rq = container_of(rxq, struct vmxnet3_rx_queue, xdp_rxq);
	struct vmxnet3_adapter *adapter = md_netdev_priv(rxq->dev);
	union Vmxnet3_GenericDesc *desc;

	if (rq->adapter != adapter)
		return NULL;
	if (md_element(md_at(adapter, struct vmxnet3_adapter, rx_queue),
		       struct vmxnet3_rx_queue, rxq->queue_index) != rq)
		return NULL;
	desc = md_element(rq->comp_ring.base, union Vmxnet3_GenericDesc, rq->comp_ring.next2proc);
	return md_le32(desc->dword[0]) & VMXNET3_EOP ? desc : NULL;
}

/* VMXNET3_RCD_RSS_TYPE_*: 0 if there is no hash, 9 and above are unknown */
static __always_inline __u32 vmxnet3_rss_type(union Vmxnet3_GenericDesc *desc,
					      struct xdp_buff *xdp)
{
	__u32 type = md_le32(desc->dword[0]) >> VMXNET3_RSS_TYPE_SHIFT & 15;

	return type <= 8 && md_netdev_has(xdp, MD_NETIF_F_RXHASH) ? type : 0;
}

/*
 * The completion of segments that the device has put together (LRO) has other numbers
 * there: under XDP there are none, vmxnet3_xdp_set().
 */
MD_FIELD(hash, "Vmxnet3_RxCompDesc.rssHash, if rxhash is on",
	 union Vmxnet3_GenericDesc *desc, struct xdp_buff *xdp)
{
	return vmxnet3_rss_type(desc, xdp) ? md_le32(desc->dword[1]) : 0;
}

/* six bits for each type from 1 on; the last two, ESP, are asked for */
#define VMXNET3_TYPE(number, bits) ((__u64)(bits) << 6 * (number))

MD_FIELD(hash_type, "Vmxnet3_RxCompDesc.rssType, if rxhash is on",
	 union Vmxnet3_GenericDesc *desc, struct xdp_buff *xdp)
{
	__u64 types = VMXNET3_TYPE(1, MD_HASH_IPV4) |
		      VMXNET3_TYPE(2, MD_HASH_IPV4 | MD_HASH_TCP) |
		      VMXNET3_TYPE(3, MD_HASH_IPV6) |
		      VMXNET3_TYPE(4, MD_HASH_IPV6 | MD_HASH_TCP) |
		      VMXNET3_TYPE(5, MD_HASH_IPV4 | MD_HASH_UDP) |
		      VMXNET3_TYPE(6, MD_HASH_IPV6 | MD_HASH_UDP);
	__u32 type = vmxnet3_rss_type(desc, xdp);

	if (type >= 7)
		return MD_HASH_IPSEC | (type == 7 ? MD_HASH_IPV4 : MD_HASH_IPV6);
	return types >> 6 * type & 63;
}

/*
 * What is right: as in vmxnet3_rx_csum(). There are bits for "right" and one for "not
 * calculated". So calculated and not right is wrong, which the driver does not go into;
 * DPDK's takes it so. It is left open of what may have had no sum: UDP over IPv4,
 * fragments, and tunnels, where it is not said whose headers were looked at.
 */
MD_FIELD(csum_status, "Vmxnet3_RxCompDesc: cnc, ipc and tuc, if rx-checksumming is on",
	 union Vmxnet3_GenericDesc *desc, struct xdp_buff *xdp)
{
	__u32 first = md_le32(desc->dword[0]), found = md_le32(desc->dword[3]), right;

	if (first & VMXNET3_CNC || !(found & (VMXNET3_V4 | VMXNET3_V6)) ||
	    !md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;

	right = found & VMXNET3_V4 ? VMXNET3_IPC | VMXNET3_TUC : VMXNET3_TUC;
	if ((found & right) == right)
		return MD_CSUM_UNNECESSARY;
	if (first & VMXNET3_INNER)
		return MD_CSUM_NONE;
	if (right & ~found & VMXNET3_IPC)
		return MD_CSUM_BAD;
	if (found & VMXNET3_FRG)
		return MD_CSUM_NONE;
	if (found & VMXNET3_TCP || (found & VMXNET3_UDP && !(found & VMXNET3_V4)))
		return MD_CSUM_BAD;
	return MD_CSUM_NONE;
}

MD_FIELD(vlan_tci, "Vmxnet3_RxCompDesc.tci, if the device took a tag off",
	 union Vmxnet3_GenericDesc *desc)
{
	__u32 word = md_le32(desc->dword[2]);

	return word & VMXNET3_TS ? word >> VMXNET3_TCI_SHIFT : 0;
}

MD_FIELD(vlan_proto, "802.1Q, if the device took a tag off", union Vmxnet3_GenericDesc *desc)
{
	return md_le32(desc->dword[2]) & VMXNET3_TS ? MD_VLAN_CTAG : 0;
}

MD_FIELD(ptype, "Vmxnet3_RxCompDesc: v4, v6, tcp, udp and frg", union Vmxnet3_GenericDesc *desc)
{
	__u32 found = md_le32(desc->dword[3]), bits = 0;

	if (found & VMXNET3_V4)
		bits = MD_PTYPE_IPV4;
	else if (found & VMXNET3_V6)
		bits = MD_PTYPE_IPV6;

	if (found & VMXNET3_TCP)
		bits |= MD_PTYPE_TCP;
	else if (found & VMXNET3_UDP)
		bits |= MD_PTYPE_UDP;

	if (found & VMXNET3_FRG)
		bits |= MD_PTYPE_FRAGMENT;
	return md_le32(desc->dword[0]) & VMXNET3_INNER ? bits | MD_PTYPE_TUNNELLED : bits;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* mvpp2: Marvell Armada 375, 7000, 8000 and CN913x. The descriptor is the one of the receive ring. */

#include "md_driver.h"

MD_DRIVER("mvpp2");
MD_LACKS(csum, "the descriptor has none");
MD_LACKS(hash, "the driver does not know the descriptor's");
MD_LACKS(hash_type, "the driver does not know the descriptor's hash");
MD_LACKS(mark, "the descriptor has none");
MD_LACKS(rx_timestamp, "needs a clock that distributions leave out (CONFIG_MVPP2_PTP)");
MD_LACKS(vlan_proto, "the tag stays in the packet");
MD_LACKS(vlan_tci, "the tag stays in the packet");

/* status is the first member of pp21 as well, which is the Armada 375's. */
struct mvpp2_rx_desc {
	struct {
		__le32 status;
	} pp22;
} __core;

struct mvpp2_rx_queue {
	struct mvpp2_rx_desc *descs;
	int last_desc;
	int next_desc_to_proc;
	struct xdp_rxq_info xdp_rxq_short;
	struct xdp_rxq_info xdp_rxq_long;
} __core;

struct mvpp2_port {
	struct net_device *dev;
	struct mvpp2_rx_queue **rxqs;
} __core;

/* A queue has an xdp_rxq_info for each of two sizes of buffers. mvpp2_rxq_next_desc_get() is one ahead. */
MD_DESCRIPTOR(struct mvpp2_rx_desc, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct mvpp2_port *port = md_netdev_priv(dev);
	struct mvpp2_rx_queue *queue;
	__u32 next;

	if (port->dev != dev)
		return NULL;
	queue = port->rxqs[rxq->queue_index];
	if (rxq != md_at(queue, struct mvpp2_rx_queue, xdp_rxq_short) &&
	    rxq != md_at(queue, struct mvpp2_rx_queue, xdp_rxq_long))
		return NULL;
	next = queue->next_desc_to_proc;
	return md_element(queue->descs, struct mvpp2_rx_desc, next ? next - 1 : queue->last_desc);
}

/* MVPP2_RXD_* */
#define MVPP2_L4_CSUM_OK (1 << 22)
#define MVPP2_IP4_HEADER_ERR (1 << 24)
#define MVPP2_L4_TCP (1 << 25)
#define MVPP2_L4_UDP (1 << 26)
#define MVPP2_L3_IP4 (1 << 28)
#define MVPP2_L3_IP6 (1 << 30)

static __always_inline __u32 mvpp2_status(struct mvpp2_rx_desc *desc)
{
	return md_le32(desc->pp22.status);
}

/*
 * mvpp2_rx_csum(), which asks for no feature. A wrong header of IPv4 need not have a wrong
 * sum, and of the sum behind it there is no bit for "wrong".
 */
MD_FIELD(csum_status, "mvpp2_rx_desc.pp22.status", struct mvpp2_rx_desc *desc)
{
	__u32 status = mvpp2_status(desc);

	if (!(status & MVPP2_L3_IP6) && (status & (MVPP2_L3_IP4 | MVPP2_IP4_HEADER_ERR)) != MVPP2_L3_IP4)
		return MD_CSUM_NONE;
	if (!(status & (MVPP2_L4_TCP | MVPP2_L4_UDP)))
		return MD_CSUM_NONE;
	return status & MVPP2_L4_CSUM_OK ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/*
 * Two numbers of three bits, of which those above are bits: MVPP2_PRS_RI_L3_* and
 * MVPP2_PRS_RI_L4_* of mvpp2_prs.h.
 */
MD_FIELD(ptype, "mvpp2_rx_desc.pp22.status", struct mvpp2_rx_desc *desc)
{
	__u32 status = mvpp2_status(desc), l3 = status >> 28 & 7, l4 = status >> 25 & 7, bits;

	if (l3 >= 1 && l3 <= 3) /* without options, with some, others */
		bits = MD_PTYPE_IPV4;
	else if (l3 == 4 || l3 == 5) /* without extensions, with some */
		bits = MD_PTYPE_IPV6;
	else
		return 0;
	return bits | (l4 == 1 ? MD_PTYPE_TCP : 0) | (l4 == 2 ? MD_PTYPE_UDP : 0) |
	       (l4 == 3 ? MD_PTYPE_OTHER_L4 : 0);
}

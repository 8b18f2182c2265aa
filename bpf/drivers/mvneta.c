// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* mvneta: Marvell Armada 370 to 3700. The descriptor is the one of the receive ring. */

#include "md_driver.h"

MD_DRIVER("mvneta");
MD_LACKS(csum, "the descriptor has none");
MD_LACKS(hash, "the descriptor has none");
MD_LACKS(hash_type, "the descriptor has no hash");
MD_LACKS(mark, "the descriptor has none");
MD_LACKS(rx_timestamp, "the descriptor has none");
MD_LACKS(vlan_proto, "the tag stays in the packet");
MD_LACKS(vlan_tci, "the tag stays in the packet");

/* In the byte order of the host: MVNETA_DESC_SWAP. */
struct mvneta_rx_desc {
	__u32 status;
} __core;

struct mvneta_rx_queue {
	struct mvneta_rx_desc *descs;
	int last_desc;
	int next_desc_to_proc;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct mvneta_port {
	struct net_device *dev;
	struct mvneta_rx_queue *rxqs;
} __core;

/* MVNETA_RXD_* */
#define MVNETA_L3_IP4 (1 << 25)
#define MVNETA_FIRST_DESC (1 << 27)
#define MVNETA_L4_CSUM_OK (1 << 30)

/*
 * mvneta_rxq_next_desc_get() is one ahead of the packet's last descriptor. What the NIC says
 * of a packet is in the first: there is no descriptor for one that has several.
 */
MD_DESCRIPTOR(struct mvneta_rx_desc, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct mvneta_rx_queue *queue = container_of(rxq, struct mvneta_rx_queue, xdp_rxq);
	struct mvneta_port *port = md_netdev_priv(dev);
	struct mvneta_rx_desc *desc;
	__u32 next;

	if (port->dev != dev)
		return NULL;
	if (md_element(port->rxqs, struct mvneta_rx_queue, rxq->queue_index) != queue)
		return NULL;
	next = queue->next_desc_to_proc;
	desc = md_element(queue->descs, struct mvneta_rx_desc, next ? next - 1 : queue->last_desc);
	return desc->status & MVNETA_FIRST_DESC ? desc : NULL;
}

/* mvneta_rx_csum(). There is no bit for "wrong". */
MD_FIELD(csum_status, "mvneta_rx_desc.status, if rx-checksumming is on",
	 struct mvneta_rx_desc *desc, struct xdp_buff *xdp)
{
	__u32 status = desc->status;

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	return status & MVNETA_L3_IP4 && status & MVNETA_L4_CSUM_OK ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/* The only header that the driver has a bit of. */
MD_FIELD(ptype, "mvneta_rx_desc.status: IPv4", struct mvneta_rx_desc *desc)
{
	return desc->status & MVNETA_L3_IP4 ? MD_PTYPE_IPV4 : 0;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * veth: what the sender, or the NIC that the packet once came from, has put into
 * the skb that XDP was given.
 */

#include "sk_buff.h"

MD_DRIVER("veth");
MD_LACKS(ptype, "no member of struct sk_buff");

struct veth_rq {
	struct net_device *dev;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct veth_priv {
	struct veth_rq *rq;
} __core;

struct veth_xdp_buff {
	struct sk_buff *skb;
} __core;

/*
 * The buff is veth's if its receive queue is an element of the device's own array.
 * Generic mode and BPF_PROG_TEST_RUN take the queue from net_device._rx, cpumap and
 * devmap one on the stack, though with the same dev. On another driver's device
 * rq->dev and priv->rq are whatever is at these places.
 *
 * No skb: the packet came as a frame, by XDP_TX or XDP_REDIRECT of the peer.
 */
MD_DESCRIPTOR(struct sk_buff, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct veth_rq *rq = container_of(rxq, struct veth_rq, xdp_rxq);
	struct veth_priv *priv;

	if (rq->dev != dev)
		return NULL;
	priv = md_netdev_priv(dev);
	if (md_element(priv->rq, struct veth_rq, rxq->queue_index) != rq)
		return NULL;
	return ((struct veth_xdp_buff *)xdp)->skb;
}

MD_FIELD(rx_timestamp, SKB_RX_TIMESTAMP, struct sk_buff *skb)
{
	return skb_rx_timestamp(skb);
}

MD_FIELD(hash, SKB_HASH, struct sk_buff *skb)
{
	return skb->hash;
}

MD_FIELD(hash_type, SKB_HASH_TYPE, struct sk_buff *skb)
{
	return skb_hash_type(skb);
}

MD_FIELD(csum, SKB_CSUM, struct sk_buff *skb)
{
	return skb_csum(skb);
}

MD_FIELD(csum_status, SKB_CSUM_STATUS, struct sk_buff *skb)
{
	return skb_csum_status(skb);
}

MD_FIELD(vlan_tci, SKB_VLAN_TCI, struct sk_buff *skb)
{
	return skb_vlan_tci(skb);
}

MD_FIELD(vlan_proto, SKB_VLAN_PROTO, struct sk_buff *skb)
{
	return skb_vlan_proto(skb);
}

MD_FIELD(mark, SKB_MARK, struct sk_buff *skb)
{
	return skb->mark;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * fbnic: Meta's NIC. What the driver keeps of a packet while it collects its completions is
 * the buff, and the time. All else is in the completion that it has in a variable.
 */

#include "md_driver.h"

MD_DRIVER("fbnic");

#define FBNIC_VARIABLE "the driver has it in a variable, and nothing leads there"

MD_LACKS(hash, FBNIC_VARIABLE);
MD_LACKS(hash_type, FBNIC_VARIABLE);
MD_LACKS(csum, FBNIC_VARIABLE);
MD_LACKS(csum_status, FBNIC_VARIABLE);
MD_LACKS(ptype, FBNIC_VARIABLE);
MD_LACKS(vlan_tci, "the NIC leaves the tag in the packet");
MD_LACKS(vlan_proto, "the NIC leaves the tag in the packet");
MD_LACKS(mark, "the NIC tells of no rule");

/* hwtstamp, xdp_rxq: since 6.18 */
struct fbnic_pkt_buff {
	__s64 hwtstamp;
} __core;

struct fbnic_ring {
	struct fbnic_pkt_buff *pkt;
	__u8 q_idx;
} __core;

struct fbnic_q_triad {
	struct fbnic_ring cmpl;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct fbnic_net {
	struct fbnic_ring *rx[128];
} __core;

/*
 * The number of the receive queue is that of the ring of headers, which is always 0. The
 * device has the rings of completions by theirs, and such a ring its one buff.
 */
MD_DESCRIPTOR(struct fbnic_pkt_buff, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct fbnic_q_triad *triad = container_of(rxq, struct fbnic_q_triad, xdp_rxq);
	struct fbnic_ring *ring = md_at(triad, struct fbnic_q_triad, cmpl);
	struct fbnic_net *net = md_netdev_priv(rxq->dev);

	if ((void *)ring->pkt != (void *)xdp)
		return NULL;
	return net->rx[ring->q_idx] == ring ? ring->pkt : NULL;
}

/* 0 in a packet without one: fbnic_pkt_prepare() */
MD_FIELD(rx_timestamp, "fbnic_pkt_buff.hwtstamp, if hardware timestamps are on (hwstamp_ctl)",
	 struct fbnic_pkt_buff *pkt)
{
	return pkt->hwtstamp;
}

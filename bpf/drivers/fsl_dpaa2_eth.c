// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * fsl_dpaa2_eth: NXP LS1088A, LS2088A and LX2160A. The descriptor is the annotation that the
 * NIC writes where a packet's buffer starts. The driver believes what it says of sums if the
 * frame descriptor, of which only a local variable knows, says that it is valid.
 */

#include "md_driver.h"

MD_DRIVER("fsl_dpaa2_eth");
MD_LACKS(csum, "the annotation has none");
MD_LACKS(csum_status, "whether it is valid is in a local variable of the driver");
MD_LACKS(hash, "the driver does not ask for it");
MD_LACKS(hash_type, "the driver does not ask for a hash");
MD_LACKS(mark, "the driver does not ask for it");
MD_LACKS(ptype, "the driver does not decode the parser's result");
MD_LACKS(vlan_proto, "the tag stays in the packet");
MD_LACKS(vlan_tci, "the tag stays in the packet");

struct dpaa2_eth_priv;

struct dpaa2_eth_channel {
	struct dpaa2_eth_priv *priv;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct dpaa2_eth_fq {
	struct dpaa2_eth_channel *channel;
} __core;

struct dpaa2_eth_priv {
	struct dpaa2_eth_fq fq[1];
	__u8 num_channels;
	bool rx_tstamp;
} __core;

static __always_inline struct dpaa2_eth_channel *dpaa2_channel(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct dpaa2_eth_channel, xdp_rxq);
}

/*
 * Frame queues of one number share a channel with its xdp_rxq. dpaa2_eth_setup_fqs() puts
 * those for sent frames first, as many as there are channels.
 *
 * dpaa2_eth_run_xdp() has buffers that are a page, in which the packet is no farther than
 * the 12 bits of FD_OFFSET_MASK can say; dpaa2_xsk_run_xdp() has the start at hand.
 */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct dpaa2_eth_channel *channel = dpaa2_channel(xdp);
	struct dpaa2_eth_priv *priv = channel->priv;
	struct dpaa2_eth_fq *queue;
	__u32 number;

	if (priv != md_netdev_priv(rxq->dev))
		return NULL;
	number = *md_at(priv, struct dpaa2_eth_priv, num_channels) + rxq->queue_index;
	queue = md_element(md_at(priv, struct dpaa2_eth_priv, fq), struct dpaa2_eth_fq, number);
	if (queue->channel != channel)
		return NULL;
	if (rxq->mem.type == bpf_core_enum_value(enum xdp_mem_type, MEM_TYPE_XSK_BUFF_POOL))
		return xdp->data_hard_start;
	return (void *)((__u64)xdp->data_hard_start & ~0xfffULL);
}

/* DPAA2_TS_OFFSET; a unit of it is DPAA2_PTP_CLK_PERIOD_NS, 1. */
#define DPAA2_STAMP 8

MD_FIELD(rx_timestamp, "the annotation's stamp, if hardware timestamps are on (hwstamp_ctl)",
	 void *annotation, struct xdp_buff *xdp)
{
	if (!*md_at(dpaa2_channel(xdp)->priv, struct dpaa2_eth_priv, rx_tstamp))
		return 0;
	return md_le64(*(__le64 *)(annotation + DPAA2_STAMP));
}

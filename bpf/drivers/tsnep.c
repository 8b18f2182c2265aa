// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* tsnep: Engleder's NIC for time-sensitive networks. It has a time, and nothing else. */

#include "md_driver.h"

MD_DRIVER("tsnep");
MD_LACKS(hash, "the NIC makes none");
MD_LACKS(hash_type, "the NIC makes no hash");
MD_LACKS(csum, "the NIC makes none");
MD_LACKS(csum_status, "the NIC checks none");
MD_LACKS(vlan_tci, "the NIC leaves the tag in the packet");
MD_LACKS(vlan_proto, "the NIC leaves the tag in the packet");
MD_LACKS(mark, "the NIC tells of no rule");
MD_LACKS(ptype, "the NIC does not say what it has found");

struct tsnep_rx_inline {
	__le64 timestamp;
} __core;

/* xdp_rxq_zc: that of AF_XDP's zero copy */
struct tsnep_rx {
	struct xdp_rxq_info xdp_rxq;
	struct xdp_rxq_info xdp_rxq_zc;
} __core;

struct tsnep_adapter {
	struct net_device *netdev;
	struct {
		int rx_filter;
	} hwtstamp_config;
	struct tsnep_rx rx[1];
} __core;

MD_DESCRIPTOR(struct tsnep_adapter, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct tsnep_adapter *adapter = md_netdev_priv(dev);
	struct tsnep_rx *rx = md_element(md_at(adapter, struct tsnep_adapter, rx[0]), struct tsnep_rx,
					 rxq->queue_index);

	if (rxq != md_at(rx, struct tsnep_rx, xdp_rxq) && rxq != md_at(rx, struct tsnep_rx, xdp_rxq_zc))
		return NULL;
	return adapter->netdev == dev ? adapter : NULL;
}

#define HWTSTAMP_FILTER_ALL 1
#define XDP_PACKET_HEADROOM 256 /* of uapi/linux/bpf.h */

/*
 * Whether the packet is where the driver has put it, behind the stamps, with no metadata in
 * between: a program that ran before this one may have moved it. data_meta is behind data
 * where the driver has no room for metadata.
 */
static __always_inline bool tsnep_is_in_place(struct xdp_buff *xdp, __u64 stamps)
{
	return xdp->data == xdp->data_hard_start + XDP_PACKET_HEADROOM + stamps &&
	       xdp->data_meta >= xdp->data;
}

/* The NIC writes it in front of each packet: tsnep_build_skb(), and what that leads to. */
MD_PACKET_FIELD(rx_timestamp, "the 16 bytes in front of the packet, if hardware timestamps are on (hwstamp_ctl)",
		struct tsnep_adapter *adapter, struct xdp_buff *xdp)
{
	__u64 size = bpf_core_type_size(struct tsnep_rx_inline);
	struct tsnep_rx_inline *stamps;

	if (adapter->hwtstamp_config.rx_filter != HWTSTAMP_FILTER_ALL || !tsnep_is_in_place(xdp, size))
		return 0;
	stamps = xdp->data - size;
	return md_le64(stamps->timestamp);
}

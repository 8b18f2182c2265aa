/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __SFC_H__
#define __SFC_H__

/*
 * What sfc and sfc_siena, once one driver, have in common. The descriptor is the driver's
 * rx_buffer, which has some bits of the event of the packet; the prefix that the NIC writes
 * is in front of the packet.
 */

#include "md_driver.h"

MD_LACKS(csum, "the prefix has none");
MD_LACKS(hash_type, "the prefix does not say what was hashed");
MD_LACKS(mark, "the prefix has none");
MD_LACKS(vlan_proto, "the tag stays in the packet");
MD_LACKS(vlan_tci, "the tag stays in the packet");

enum efx_sync_events_state {
	SYNC_EVENTS_VALID = 3,
};

struct efx_rx_buffer {
	__u16 flags;
} __core;

struct efx_nic;

struct efx_rx_queue {
	struct efx_nic *efx;
	struct efx_rx_buffer *buffer;
	struct xdp_rxq_info xdp_rxq_info;
} __core;

struct efx_channel {
	unsigned int rx_pkt_index;
	struct efx_rx_queue rx_queue;
	enum efx_sync_events_state sync_events_state;
	__u32 sync_timestamp_major;
	__u32 sync_timestamp_minor;
} __core;

struct efx_ptp_data {
	struct {
		__u32 minor_max;
		__u32 sync_event_diff_min;
		__u32 sync_event_diff_max;
	} nic_time;
	struct {
		__s32 general_rx;
	} ts_corrections;
} __core;

struct efx_nic {
	struct efx_channel *channel[32];
	int rx_packet_hash_offset;
	int rx_packet_ts_offset;
	struct efx_ptp_data *ptp_data;
} __core;

/* only there if the device's private data is a pointer */
struct efx_probe_data {
	struct efx_nic efx;
} __core;

/* #defines of net_driver.h */
#define EFX_XDP_HEADROOM 128
#define EFX_RX_PKT_CSUMMED 0x0002
#define EFX_RX_PKT_TCP 0x0040
#define EFX_RX_PKT_CSUM_LEVEL 0x0200

/*
 * efx_netdev_priv(): where the driver has a device's state. Of md_netdev_priv(), which may be
 * the address of an array of bytes, no pointer is read; it is at the end of the struct.
 */
static __always_inline void *sfc_own(struct net_device *dev)
{
	void **priv = (void *)dev + ((bpf_core_type_size(struct net_device) + 31) & ~31ULL);

	if (bpf_core_type_exists(struct efx_probe_data))
		return md_at(*priv, struct efx_probe_data, efx);
	return priv;
}

static __always_inline struct efx_channel *sfc_channel(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct efx_channel, rx_queue.xdp_rxq_info);
}

/*
 * Queue and channel have one number, core_index, but for the channel of PTP, which has that
 * of another. __efx_rx_packet() is at rx_pkt_index, one behind what efx_rx_packet() takes
 * from the events. A program that ran before this one, and called it by a tail call, may
 * have moved the packet from where efx_do_xdp() has put it, over the prefix.
 */
MD_DESCRIPTOR(struct efx_rx_buffer, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct efx_channel *channel = sfc_channel(xdp);
	struct efx_nic *efx = channel->rx_queue.efx;

	if (efx != sfc_own(rxq->dev))
		return NULL;
	if (efx->channel[rxq->queue_index] != channel)
		return NULL;
	if (xdp->data != xdp->data_hard_start + EFX_XDP_HEADROOM)
		return NULL;
	return md_element(channel->rx_queue.buffer, struct efx_rx_buffer, channel->rx_pkt_index);
}

/* Offsets into the prefix are negative, from the packet. */
static __always_inline __u32 sfc_prefix(struct xdp_buff *xdp, int offset)
{
	return md_le32(*(__le32 *)(xdp->data + offset));
}

/* efx_rx_buf_hash(); efx_rx_packet_gro() is the only place that asks for it, for TCP. */
MD_PACKET_FIELD(hash, "the prefix in front of the packet, if rxhash is on",
		struct efx_rx_buffer *buffer, struct xdp_buff *xdp)
{
	if (!md_netdev_has(xdp, MD_NETIF_F_RXHASH))
		return 0;
	return sfc_prefix(xdp, sfc_channel(xdp)->rx_queue.efx->rx_packet_hash_offset);
}

/* What was wrong is not in the flags. */
MD_FIELD(csum_status, "efx_rx_buffer.flags, if rx-checksumming is on",
	 struct efx_rx_buffer *buffer, struct xdp_buff *xdp)
{
	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	return buffer->flags & EFX_RX_PKT_CSUMMED ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/* CSUM_LEVEL is a tunnel in which both sums were right. */
MD_FIELD(ptype, "efx_rx_buffer.flags", struct efx_rx_buffer *buffer)
{
	__u32 flags = buffer->flags;

	return (flags & EFX_RX_PKT_TCP ? MD_PTYPE_TCP : 0) |
	       (flags & EFX_RX_PKT_CSUM_LEVEL ? MD_PTYPE_TUNNELLED : 0);
}

#endif /* __SFC_H__ */

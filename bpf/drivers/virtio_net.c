// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * virtio_net: the network device of virtual machines. The descriptor is the header that
 * the device writes in front of each packet.
 */

#include "md_driver.h"

MD_DRIVER("virtio_net");
MD_LACKS(csum, "the header says where one belongs, not what it is");
MD_LACKS(mark, "the header has none");
MD_LACKS(rx_timestamp, "the header has none");
MD_LACKS(vlan_proto, "the tag stays in the packet");
MD_LACKS(vlan_tci, "the tag stays in the packet");

struct virtio_net_hdr_v1 {
	__u8 flags;
} __core;

/* hash_value: in two halves since 6.18, which need not be aligned to four bytes */
struct virtio_net_hdr_v1_hash {
	struct virtio_net_hdr_v1 hdr;
	__le32 hash_value;
	__le16 hash_value_lo;
	__le16 hash_value_hi;
	__le16 hash_report;
} __core;

struct receive_queue {
	struct xdp_rxq_info xdp_rxq;
	struct xdp_rxq_info xsk_rxq_info; /* since 6.12, for AF_XDP */
} __core;

struct virtnet_info {
	struct net_device *dev;
	struct receive_queue *rq;
	bool mergeable_rx_bufs;
	bool has_rss_hash_report;
	__u8 hdr_len;
} __core;

/* since 6.3 */
struct net_device___xdp_metadata {
	void *xdp_metadata_ops;
} __core;

/* Macro of uapi/linux/bpf.h, and VIRTIO_XDP_HEADROOM of the driver in 6.1 */
#define VIRTIO_HEADROOM 256

/*
 * Where data starts: xdp_prepare_buff() in receive_small_xdp() (in receive_small(), 6.1)
 * and virtnet_build_xdp_buff_mrg(). In mergeable buffers the room is counted up to the
 * header since 6.3, which brought multi-buffer XDP there; the release has no name for
 * that in its BTF, but net_device.xdp_metadata_ops is of the same one.
 */
static __always_inline __u64 virtio_headroom(struct virtnet_info *vi, __u64 hdr_len)
{
	if (!bpf_core_field_exists(struct net_device___xdp_metadata, xdp_metadata_ops))
		return VIRTIO_HEADROOM;
	return vi->mergeable_rx_bufs ? VIRTIO_HEADROOM + hdr_len : VIRTIO_HEADROOM;
}

/*
 * The header is in front of the packet in each mode: the device writes both into one
 * buffer, and xdp_linearize_page() copies both. AF_XDP's zero copy has it in the headroom,
 * virtnet_add_recvbuf_xsk(). Big buffers never get to XDP.
 *
 * There is none left where a program has moved the packet, or put metadata in front of it:
 * one that ran before this one, and called it by a tail call, say.
 */
MD_DESCRIPTOR(struct virtio_net_hdr_v1_hash, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct virtnet_info *vi = md_netdev_priv(dev);
	__u64 hdr_len, headroom = VIRTIO_HEADROOM;
	struct receive_queue *rq;
	char *start;

	if (vi->dev != dev)
		return NULL;
	rq = md_element(vi->rq, struct receive_queue, rxq->queue_index);
	hdr_len = vi->hdr_len;
	if (rxq == md_at(rq, struct receive_queue, xdp_rxq))
		headroom = virtio_headroom(vi, hdr_len);
	else if (!bpf_core_field_exists(rq->xsk_rxq_info) ||
		 rxq != md_at(rq, struct receive_queue, xsk_rxq_info))
		return NULL;

	start = xdp->data;
	if (start != (char *)xdp->data_meta || start != (char *)xdp->data_hard_start + headroom)
		return NULL;
	return (void *)(start - hdr_len);
}

/*
 * VIRTIO_NET_HASH_REPORT_*: what was hashed, 0 if nothing was. The driver's kfunc does not
 * ask for has_rss_hash_report: of a device that only spreads by the hash (RSS) it reads
 * the packet's own bytes, as the header is shorter there.
 *
 * In 6.1 attaching XDP sets the number of queues by VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, which
 * ends RSS and the reports with it: until rxhash is switched off and on again.
 */
static __always_inline __u32 virtio_hash_report(struct virtio_net_hdr_v1_hash *hdr,
						struct xdp_buff *xdp)
{
	struct net_device *dev = xdp->rxq->dev;
	struct virtnet_info *vi = md_netdev_priv(dev);

	if (!(dev->features & MD_NETIF_F_RXHASH) || !vi->has_rss_hash_report)
		return 0;
	return md_le16(hdr->hash_report);
}

static __always_inline bool virtio_is_hashed(__u32 report)
{
	return report - 1 < 9;
}

MD_PACKET_FIELD(hash, "virtio_net_hdr_v1_hash.hash_value, if rxhash is on and the device reports hashes",
		struct virtio_net_hdr_v1_hash *hdr, struct xdp_buff *xdp)
{
	if (!virtio_is_hashed(virtio_hash_report(hdr, xdp)))
		return 0;
	if (bpf_core_field_exists(hdr->hash_value))
		return md_le32(hdr->hash_value);
	return md_le16(hdr->hash_value_lo) | (__u32)md_le16(hdr->hash_value_hi) << 16;
}

/*
 * A report's six bits of a number that has some for each: IPv4, TCP and UDP over it, IPv6,
 * TCP and UDP over that, and these three with an address of an extension header hashed.
 */
#define VIRTIO_REPORTS(number, bits) ((__u64)(bits) << 6 * (number))

static __always_inline __u32 virtio_reported(__u64 bits, struct virtio_net_hdr_v1_hash *hdr,
					     struct xdp_buff *xdp)
{
	__u32 report = virtio_hash_report(hdr, xdp);

	return virtio_is_hashed(report) ? bits >> 6 * report & 63 : 0;
}

MD_PACKET_FIELD(hash_type, "virtio_net_hdr_v1_hash.hash_report, if rxhash is on and the device reports hashes",
		struct virtio_net_hdr_v1_hash *hdr, struct xdp_buff *xdp)
{
	__u64 types = VIRTIO_REPORTS(1, MD_HASH_IPV4) |
		      VIRTIO_REPORTS(2, MD_HASH_IPV4 | MD_HASH_TCP) |
		      VIRTIO_REPORTS(3, MD_HASH_IPV4 | MD_HASH_UDP) |
		      VIRTIO_REPORTS(4, MD_HASH_IPV6) |
		      VIRTIO_REPORTS(5, MD_HASH_IPV6 | MD_HASH_TCP) |
		      VIRTIO_REPORTS(6, MD_HASH_IPV6 | MD_HASH_UDP) |
		      VIRTIO_REPORTS(7, MD_HASH_IPV6 | MD_HASH_DYNHDR) |
		      VIRTIO_REPORTS(8, MD_HASH_IPV6 | MD_HASH_DYNHDR | MD_HASH_TCP) |
		      VIRTIO_REPORTS(9, MD_HASH_IPV6 | MD_HASH_DYNHDR | MD_HASH_UDP);

	return virtio_reported(types, hdr, xdp);
}

/*
 * VIRTIO_NET_HDR_F_DATA_VALID, without NEEDS_CSUM, of which the driver drops all since
 * 6.12 before XDP sees them: packets from within the host that are not summed up yet.
 * There is no bit for "wrong". No feature is asked for, as in the driver. It takes
 * VIRTIO_NET_F_GUEST_CSUM back when XDP is attached; hosts say it of some packets all the
 * same.
 */
MD_PACKET_FIELD(csum_status, "virtio_net_hdr_v1.flags, if the host says DATA_VALID in spite of XDP",
		struct virtio_net_hdr_v1_hash *hdr)
{
	return (hdr->hdr.flags & 3) == 2 ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/* What the hash is of; a hash without ports says nothing of what is in the packet. */
MD_PACKET_FIELD(ptype, "virtio_net_hdr_v1_hash.hash_report, if rxhash is on and the device reports hashes",
		struct virtio_net_hdr_v1_hash *hdr, struct xdp_buff *xdp)
{
	__u64 types = VIRTIO_REPORTS(1, MD_PTYPE_IPV4) |
		      VIRTIO_REPORTS(2, MD_PTYPE_IPV4 | MD_PTYPE_TCP) |
		      VIRTIO_REPORTS(3, MD_PTYPE_IPV4 | MD_PTYPE_UDP) |
		      VIRTIO_REPORTS(4, MD_PTYPE_IPV6) |
		      VIRTIO_REPORTS(5, MD_PTYPE_IPV6 | MD_PTYPE_TCP) |
		      VIRTIO_REPORTS(6, MD_PTYPE_IPV6 | MD_PTYPE_UDP) |
		      VIRTIO_REPORTS(7, MD_PTYPE_IPV6) |
		      VIRTIO_REPORTS(8, MD_PTYPE_IPV6 | MD_PTYPE_TCP) |
		      VIRTIO_REPORTS(9, MD_PTYPE_IPV6 | MD_PTYPE_UDP);

	return virtio_reported(types, hdr, xdp);
}

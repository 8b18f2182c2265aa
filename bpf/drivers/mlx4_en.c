// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* mlx4_en: NVIDIA ConnectX-3. The descriptor is the completion (CQE), big-endian. */

#include "md_driver.h"

MD_DRIVER("mlx4_en");
MD_LACKS(csum, "the NIC's sum has to be mended by a look at the packet");
MD_LACKS(mark, "the completion has none");

struct mlx4_cqe {
	__be32 vlan_my_qpn;
	__be32 immed_rss_invalid;
	__be16 sl_vid;
	__be16 status;
	__u8 ipv6_ext_mask;
	__be16 checksum;
} __core;

/* The same with a time stamp, which is where sl_vid was. */
struct mlx4_ts_cqe {
	__be32 timestamp_hi;
	__be16 timestamp_lo;
} __core;

struct mlx4_cq {
	__u32 cons_index;
} __core;

struct mlx4_en_cq {
	struct mlx4_cq mcq;
	void *buf;
} __core;

struct seqcount {
	__u32 sequence;
} __core;

struct mlx4_en_profile {
	int udp_rss;
} __core;

struct mlx4_caps {
	__u32 cqe_size;
} __core;

struct mlx4_dev {
	struct mlx4_caps caps;
} __core;

struct mlx4_en_dev {
	struct mlx4_dev *dev;
	struct timecounter clock;
	struct {
		struct {
			struct seqcount seqcount;
		} seqcount;
	} clock_lock;
	struct mlx4_en_profile profile;
} __core;

struct mlx4_en_rx_ring {
	__u32 size_mask;
	int hwtstamp_rx_filter;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct mlx4_en_priv {
	struct net_device *dev;
	struct mlx4_en_dev *mdev;
	struct mlx4_en_rx_ring *rx_ring[1];
	struct mlx4_en_cq *rx_cq[1];
} __core;

/* since 6.3 */
struct mlx4_en_xdp_buff {
	struct mlx4_cqe *cqe;
} __core;

struct net_device___enc {
	__u64 hw_enc_features;
} __core;

#define MLX4_CQE_SIZE 32 /* of struct mlx4_cqe */

/* MLX4_CQE_STATUS_* */
#define MLX4_IPV4 (1 << 6)
#define MLX4_IPV4F (1 << 7)
#define MLX4_IPV6 (1 << 8)
#define MLX4_IPV4OPT (1 << 9)
#define MLX4_TCP (1 << 10)
#define MLX4_UDP (1 << 11)
#define MLX4_IPOK (1 << 12)

/* bits of vlan_my_qpn */
#define MLX4_L2_TUNNEL (1 << 27)
#define MLX4_CVLAN_PRESENT (1 << 29)
#define MLX4_SVLAN_PRESENT (1 << 30)

/* of linux/net_tstamp.h */
#define HWTSTAMP_FILTER_NONE 0
#define HWTSTAMP_FILTER_ALL 1

/*
 * From where element [0] of an array of pointers is number index. The arrays are too far
 * behind for a load to say, and their offset, which is in a register, may be added to one
 * address, but not to a sum. The mask, which takes nothing off, makes one of it.
 */
static __always_inline struct mlx4_en_priv *mlx4_from(struct mlx4_en_priv *priv, __u32 index)
{
	__u64 from = (__u64)priv + index * sizeof(void *);

	return (void *)(from & ~(sizeof(void *) - 1));
}

/*
 * Before 6.3 the buff does not know its completion. mlx4_en_process_rx_cq() counts on behind
 * the program. Of a completion of 64 bytes it is the second half, and of what is larger, on
 * machines with larger cache lines, the beginning: cqe_factor of mlx4_en_init_netdev().
 */
static __always_inline struct mlx4_cqe *mlx4_current(struct mlx4_en_priv *priv, struct mlx4_en_rx_ring *ring, __u32 queue)
{
	struct mlx4_en_cq *cq = *md_at(mlx4_from(priv, queue), struct mlx4_en_priv, rx_cq[0]);
	__u32 index = cq->mcq.cons_index & ring->size_mask;
	__u32 size = priv->mdev->dev->caps.cqe_size;

	return cq->buf + index * size + (size == 2 * MLX4_CQE_SIZE ? MLX4_CQE_SIZE : 0);
}

MD_DESCRIPTOR(struct mlx4_cqe, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct mlx4_en_priv *priv = md_netdev_priv(dev);
	struct mlx4_en_rx_ring *ring = container_of(rxq, struct mlx4_en_rx_ring, xdp_rxq);
	__u32 queue = rxq->queue_index;

	if (priv->dev != dev || *md_at(mlx4_from(priv, queue), struct mlx4_en_priv, rx_ring[0]) != ring)
		return NULL;
	if (bpf_core_type_exists(struct mlx4_en_xdp_buff))
		return ((struct mlx4_en_xdp_buff *)xdp)->cqe;
	return mlx4_current(priv, ring, queue);
}

static __always_inline struct mlx4_en_dev *mlx4_dev(struct xdp_buff *xdp)
{
	struct mlx4_en_priv *priv = md_netdev_priv(xdp->rxq->dev);

	return priv->mdev;
}

static __always_inline int mlx4_rx_filter(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct mlx4_en_rx_ring, xdp_rxq)->hwtstamp_rx_filter;
}

static __always_inline __u32 mlx4_sequence(struct mlx4_en_dev *mdev)
{
	__u32 sequence;

	barrier();
	sequence = mdev->clock_lock.seqcount.seqcount.sequence;
	barrier();
	return sequence;
}

/*
 * mlx4_en_get_cqe_ts(), where the lower half counts on before the upper one does. During
 * an update of the clock, once in some seconds: no stamp rather than a wrong one.
 */
MD_FIELD(rx_timestamp, "mlx4_ts_cqe.timestamp_hi/lo in ns, if hardware timestamps are on (hwstamp_ctl)",
	 struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	struct mlx4_ts_cqe *stamp = (void *)cqe;
	struct mlx4_en_dev *mdev;
	__u32 begin, changed;
	__u64 low, cycles, ns;

	if (mlx4_rx_filter(xdp) != HWTSTAMP_FILTER_ALL)
		return 0;
	mdev = mlx4_dev(xdp);
	low = md_be16(stamp->timestamp_lo);
	cycles = ((__u64)md_be32(stamp->timestamp_hi) + !low) << 16 | low;
	begin = mlx4_sequence(mdev);
	ns = md_timecounter_ns(md_at(mdev, struct mlx4_en_dev, clock), cycles);
	changed = (begin & 1) | (begin ^ mlx4_sequence(mdev));
	return changed ? 0 : ns;
}

#define MLX4_HASHED (MLX4_IPV4 | MLX4_IPV4F | MLX4_IPV6)

/* mlx4_en_xdp_rx_hash(), without what is no IP */
MD_FIELD(hash, "mlx4_cqe.immed_rss_invalid of IP, if rxhash is on", struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	return md_be16(cqe->status) & MLX4_HASHED && md_netdev_has(xdp, MD_NETIF_F_RXHASH) ?
		       md_be32(cqe->immed_rss_invalid) : 0;
}

/* Ports are hashed of TCP, of UDP if the driver was loaded with that, and not of fragments. */
MD_FIELD(hash_type, "mlx4_cqe.status, if rxhash is on", struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	__u32 status = md_be16(cqe->status), bits = MD_HASH_IPV4;

	if (!(status & MLX4_HASHED) || !md_netdev_has(xdp, MD_NETIF_F_RXHASH))
		return 0;
	if (status & MLX4_IPV4F)
		return bits;
	if (status & MLX4_IPV6)
		bits = cqe->ipv6_ext_mask ? MD_HASH_IPV6 | MD_HASH_DYNHDR : MD_HASH_IPV6;
	if (status & MLX4_TCP)
		return bits | MD_HASH_TCP;
	return status & MLX4_UDP && mlx4_dev(xdp)->profile.udp_rss ? bits | MD_HASH_UDP : bits;
}

/*
 * No MD_CSUM_BAD: the sum is not 0xffff of a fragment either, and IPOK is not set of what
 * is not IPv4. Of what is neither TCP nor UDP the driver makes a sum of the whole packet,
 * with a look at its headers.
 */
MD_FIELD(csum_status, "mlx4_cqe.status and checksum of TCP and UDP, if rx-checksumming is on",
	 struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	__u32 status = md_be16(cqe->status);

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM) || !(status & (MLX4_TCP | MLX4_UDP)) || !(status & MLX4_IPOK))
		return MD_CSUM_NONE;
	return cqe->checksum == 0xffff ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/*
 * Where the completion has a stamp, it has no tag. The driver then takes the feature
 * C-tag off the device, but not S-tag: mlx4_en_reset_config().
 */
static __always_inline __be16 mlx4_tag_type(struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	__u32 bits = md_be32(cqe->vlan_my_qpn);

	if (mlx4_rx_filter(xdp) != HWTSTAMP_FILTER_NONE)
		return 0;
	if (bits & MLX4_CVLAN_PRESENT && md_netdev_has(xdp, MD_NETIF_F_HW_VLAN_CTAG_RX))
		return MD_VLAN_CTAG;
	return bits & MLX4_SVLAN_PRESENT && md_netdev_has(xdp, MD_NETIF_F_HW_VLAN_STAG_RX) ? MD_VLAN_STAG : 0;
}

MD_FIELD(vlan_tci, "mlx4_cqe.sl_vid, if the NIC took a tag off, and hardware timestamps are off",
	 struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	return mlx4_tag_type(cqe, xdp) ? md_be16(cqe->sl_vid) : 0;
}

MD_FIELD(vlan_proto, "mlx4_cqe.vlan_my_qpn, if the NIC took a tag off, and hardware timestamps are off",
	 struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	return mlx4_tag_type(cqe, xdp);
}

/* The driver asks hw_enc_features before it believes the bit for a tunnel. */
static __always_inline bool mlx4_is_tunnelled(struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	struct net_device___enc *dev = (void *)xdp->rxq->dev;

	return md_be32(cqe->vlan_my_qpn) & MLX4_L2_TUNNEL && dev->hw_enc_features & MD_NETIF_F_RXCSUM;
}

/* Of a fragment no transport header, which only the first has. */
MD_FIELD(ptype, "mlx4_cqe.status and vlan_my_qpn", struct mlx4_cqe *cqe, struct xdp_buff *xdp)
{
	__u32 status = md_be16(cqe->status), bits = mlx4_is_tunnelled(cqe, xdp) ? MD_PTYPE_TUNNELLED : 0;

	if (status & MLX4_IPV4F)
		return bits | MD_PTYPE_IPV4 | MD_PTYPE_FRAGMENT;
	if (status & (MLX4_IPV4 | MLX4_IPV4OPT))
		bits |= MD_PTYPE_IPV4;
	else if (status & MLX4_IPV6)
		bits |= MD_PTYPE_IPV6;
	if (status & MLX4_TCP)
		return bits | MD_PTYPE_TCP;
	return status & MLX4_UDP ? bits | MD_PTYPE_UDP : bits;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* mlx5_core: NVIDIA ConnectX-4 and later. The descriptor is the completion (CQE). */

#include "md_driver.h"

MD_DRIVER("mlx5_core");

struct mlx5_cqe64 {
	__u8 tls_outer_l3_tunneled;
	__be32 rss_hash_result;
	__u8 rss_hash_type;
	__be16 check_sum;
	__u8 hds_ip_ext;
	__u8 l4_l3_hdr_type;
	__be16 vlan_info;
	__be32 srqn;
	__be32 ft_metadata;
	__be32 byte_cnt;
	__be32 timestamp_h;
	__be32 timestamp_l;
	__be32 sop_drop_qpn;
} __core;

struct mlx5_buf_list {
	void *buf;
} __core;

struct mlx5_frag_buf_ctrl {
	struct mlx5_buf_list *frags;
	__u32 sz_m1;
	__u16 frag_sz_m1;
	__u16 strides_offset;
	__u8 log_stride;
	__u8 log_frag_strides;
} __core;

struct mlx5_cqwq {
	struct mlx5_frag_buf_ctrl fbc;
	__u32 cc;
} __core;

struct mlx5e_cq {
	struct mlx5_cqwq wq;
} __core;

struct mlx5e_cq_decomp {
	struct mlx5_cqe64 title;
	__u16 left;
} __core;

struct hwtstamp_config {
	int rx_filter;
} __core;

struct kernel_hwtstamp_config {
	int rx_filter;
} __core;

struct seqcount {
	__u32 sequence;
} __core;

struct mlx5_timer {
	struct timecounter tc;
} __core;

struct mlx5_clock {
	struct {
		struct {
			struct seqcount seqcount;
		} seqcount;
	} lock;
	struct mlx5_timer timer;
} __core;

struct mlx5_hca_cap {
	__u32 cur[1];
} __core;

/* One byte for each bit of what the device answers. */
struct mlx5_ifc_cmd_hca_cap_bits {
	__u8 rq_ts_format[2];
} __core;

struct mlx5_eswitch {
	int mode;
} __core;

struct mlx5_priv {
	struct mlx5_eswitch *eswitch;
} __core;

struct mlx5_core_dev {
	struct {
		struct mlx5_hca_cap *hca[1];
	} caps;
	struct mlx5_priv priv;
} __core;

/* hwtstamp_config: what tstamp has become in later kernels */
struct mlx5e_rq {
	struct net_device *netdev;
	struct mlx5e_cq cq;
	struct mlx5e_cq_decomp cqd;
	struct hwtstamp_config *tstamp;
	struct kernel_hwtstamp_config *hwtstamp_config;
	struct mlx5_clock *clock;
	unsigned long state;
	struct mlx5_core_dev *mdev;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct mlx5e_channel {
	struct mlx5e_rq rq;
	struct mlx5e_rq xskrq;
} __core;

struct mlx5e_channels {
	struct mlx5e_channel **c;
} __core;

struct mlx5e_priv {
	struct mlx5e_channels channels;
} __core;

/* since 6.3 */
struct mlx5e_xdp_buff {
	struct mlx5_cqe64 *cqe;
} __core;

/* only there if the driver can decrypt PSP */
struct mlx5e_psp {
	void *psp;
} __core;

/*
 * mlx5e_xdp_buff.rq would be shorter, but AF_XDP's path of a legacy (cyclic) receive
 * queue never sets it.
 */
static __always_inline struct mlx5e_rq *mlx5_rq(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct mlx5e_rq, xdp_rxq);
}

/*
 * Before 6.3 the buff does not know its completion. It is the one that the consumer
 * counter has just passed, or, within a block of compressed ones, the driver's own.
 */
static __always_inline struct mlx5_cqe64 *mlx5_last_cqe(struct mlx5e_rq *rq)
{
	struct mlx5_frag_buf_ctrl *fbc = md_at(rq, struct mlx5e_rq, cq.wq.fbc);
	struct mlx5_buf_list *frag;
	__u32 ix, stride;
	char *cqe;

	if (rq->cqd.left)
		return md_at(rq, struct mlx5e_rq, cqd.title);
	ix = ((rq->cq.wq.cc - 1) & fbc->sz_m1) + fbc->strides_offset;
	frag = md_element(fbc->frags, struct mlx5_buf_list, ix >> (fbc->log_frag_strides & 31));
	stride = fbc->log_stride & 31;
	cqe = (char *)frag->buf + ((__u64)(ix & fbc->frag_sz_m1) << stride);

	/* Of a completion of 128 bytes, the second half. */
	return (void *)(stride == 7 ? cqe + 64 : cqe);
}

MD_DESCRIPTOR(struct mlx5_cqe64, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct mlx5e_rq *rq = container_of(rxq, struct mlx5e_rq, xdp_rxq);
	struct mlx5e_channel *channel;
	struct mlx5e_priv *priv;

	if (rq->netdev != dev)
		return NULL;
	priv = md_netdev_priv(dev);
	channel = priv->channels.c[rxq->queue_index];
	if (rq != md_at(channel, struct mlx5e_channel, rq) &&
	    rq != md_at(channel, struct mlx5e_channel, xskrq))
		return NULL;
	if (bpf_core_type_exists(struct mlx5e_xdp_buff))
		return ((struct mlx5e_xdp_buff *)xdp)->cqe;
	return mlx5_last_cqe(rq);
}

/*
 * rq->ptp_cyc2time tells too, but not by a name: it points to a static inline function
 * that several files have a copy of. So, as in mlx5_is_real_time_rq(): the general
 * capability rq_ts_format, of which 1 is real time and 2 both.
 */
static __always_inline bool mlx5_is_real_time(struct mlx5e_rq *rq)
{
	struct mlx5_hca_cap **hca = md_at(rq->mdev, struct mlx5_core_dev, caps.hca[0]);
	__u8 *general = (void *)md_at(hca[0], struct mlx5_hca_cap, cur);
	__u32 bit = bpf_core_field_offset(struct mlx5_ifc_cmd_hca_cap_bits, rq_ts_format);
	__u32 format = general[bit / 8] >> (6 - bit % 8) & 3;

	return format == 1 || format == 2;
}

static __always_inline int mlx5_rx_filter(struct mlx5e_rq *rq)
{
	if (bpf_core_field_exists(rq->hwtstamp_config))
		return rq->hwtstamp_config->rx_filter;
	return rq->tstamp->rx_filter;
}

#define HWTSTAMP_FILTER_ALL 1

static __always_inline __u32 mlx5_sequence(struct mlx5_clock *clock)
{
	__u32 sequence;

	barrier();
	sequence = clock->lock.seqcount.seqcount.sequence;
	barrier();
	return sequence;
}

/* During an update, once in some seconds: no stamp rather than a wrong one. */
static __always_inline __u64 mlx5_cycles_to_ns(struct mlx5_clock *clock, __u64 cycles)
{
	__u32 begin = mlx5_sequence(clock);
	__u64 ns = md_timecounter_ns(md_at(clock, struct mlx5_clock, timer.tc), cycles);

	__u32 changed = (begin & 1) | (begin ^ mlx5_sequence(clock));

	return changed ? 0 : ns;
}

/*
 * Whether the completion is the driver's own, which it fills in for each packet of a block
 * of compressed ones: mlx5e_decompress_cqe(). What is not compressed is the same for all of
 * them, but for the time, which stays that of the first.
 */
static __always_inline bool mlx5_is_decompressed(struct mlx5_cqe64 *cqe, struct mlx5e_rq *rq)
{
	return cqe == md_at(rq, struct mlx5e_rq, cqd.title);
}

MD_FIELD(rx_timestamp, "mlx5_cqe64.timestamp_h/l in ns, if hardware timestamps are on (hwstamp_ctl) and it was not compressed",
	 struct mlx5_cqe64 *cqe, struct xdp_buff *xdp)
{
	struct mlx5e_rq *rq = mlx5_rq(xdp);

	if (mlx5_rx_filter(rq) != HWTSTAMP_FILTER_ALL || mlx5_is_decompressed(cqe, rq))
		return 0;
	if (!mlx5_is_real_time(rq))
		return mlx5_cycles_to_ns(rq->clock, (__u64)md_be32(cqe->timestamp_h) << 32 |
							    md_be32(cqe->timestamp_l));
	return md_be32(cqe->timestamp_h) * 1000000000ULL + md_be32(cqe->timestamp_l);
}

MD_FIELD(hash, "mlx5_cqe64.rss_hash_result, if rxhash is on",
	 struct mlx5_cqe64 *cqe, struct xdp_buff *xdp)
{
	if (!md_netdev_has(xdp, MD_NETIF_F_RXHASH))
		return 0;
	return md_be32(cqe->rss_hash_result);
}

/* Bits 2 and 3 the L3 part, 6 and 7 the L4 part: CQE_RSS_HTYPE_*. */
MD_FIELD(hash_type, "mlx5_cqe64.rss_hash_type, if rxhash is on",
	 struct mlx5_cqe64 *cqe, struct xdp_buff *xdp)
{
	__u8 type = cqe->rss_hash_type;
	__u32 l3 = type >> 2 & 3, l4 = type >> 6, bits;

	if (!md_netdev_has(xdp, MD_NETIF_F_RXHASH) || l3 == 0 || l3 == 3)
		return 0;
	bits = l3 == 1 ? MD_HASH_IPV4 : MD_HASH_IPV6;
	if (l4 == 1)
		return bits | MD_HASH_TCP;
	if (l4 == 2)
		return bits | MD_HASH_UDP;
	return l4 == 3 ? bits | MD_HASH_IPSEC : bits;
}

/* enum of the driver without a name; the same in 6.1, 6.12, 6.18 and 7.3 */
#define MLX5E_RQ_STATE_CSUM_FULL 4

/* ETH_ZLEN + ETH_FCS_LEN: the sum of such a frame lacks its padding. */
#define MLX5_SHORT_FRAME 64

#define CQE_L3_OK (1 << 1)
#define CQE_L4_OK (1 << 2)

/*
 * Whether check_sum is the sum of the whole packet.
 *
 * The driver itself never says CHECKSUM_COMPLETE under XDP, as a program may change
 * the packet; the NIC sums it up all the same. Without CSUM_FULL the sum lacks VLAN
 * headers and padding, which takes a look at the packet to mend.
 */
static __always_inline bool mlx5_csum_is_complete(struct mlx5_cqe64 *cqe, struct xdp_buff *xdp)
{
	if (!(mlx5_rq(xdp)->state & 1 << MLX5E_RQ_STATE_CSUM_FULL))
		return false;
	if (!(cqe->l4_l3_hdr_type >> 2 & 3))
		return false;

	/* Decrypted by kTLS or PSP: of the ciphertext on some NICs. */
	if (cqe->tls_outer_l3_tunneled >> 3 & 3)
		return false;
	if (bpf_core_type_exists(struct mlx5e_psp) && md_be32(cqe->ft_metadata) >> 30 == 3)
		return false;
	return (md_be32(cqe->byte_cnt) & 0xffff) > MLX5_SHORT_FRAME;
}

/*
 * No MD_CSUM_BAD: the completion only has bits for "right", and they are off for what
 * was not checked as well.
 */
static __always_inline __u32 mlx5_csum_status(struct mlx5_cqe64 *cqe, struct xdp_buff *xdp)
{
	__u8 ok = CQE_L3_OK | CQE_L4_OK;

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;

	/* Segments that the NIC has put together (LRO), and checked before. */
	if (md_be32(cqe->srqn) >> 24)
		return MD_CSUM_UNNECESSARY;
	if (mlx5_csum_is_complete(cqe, xdp))
		return MD_CSUM_COMPLETE;
	return (cqe->hds_ip_ext & ok) == ok ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

MD_FIELD(csum, "mlx5_cqe64.check_sum, if csum_status is MD_CSUM_COMPLETE",
	 struct mlx5_cqe64 *cqe, struct xdp_buff *xdp)
{
	return mlx5_csum_status(cqe, xdp) == MD_CSUM_COMPLETE ? cqe->check_sum : 0;
}

MD_FIELD(csum_status, "mlx5_cqe64: CSUM_FULL, or hds_ip_ext L3_OK and L4_OK, if rx-checksumming is on",
	 struct mlx5_cqe64 *cqe, struct xdp_buff *xdp)
{
	return mlx5_csum_status(cqe, xdp);
}

static __always_inline bool mlx5_has_vlan(struct mlx5_cqe64 *cqe)
{
	return cqe->l4_l3_hdr_type & 1;
}

MD_FIELD(vlan_tci, "mlx5_cqe64.vlan_info, if the NIC took a tag off", struct mlx5_cqe64 *cqe)
{
	return mlx5_has_vlan(cqe) ? md_be16(cqe->vlan_info) : 0;
}

MD_FIELD(vlan_proto, "802.1Q, if the NIC took a tag off", struct mlx5_cqe64 *cqe)
{
	return mlx5_has_vlan(cqe) ? MD_VLAN_CTAG : 0;
}

/* enum without a name; the same in 6.1, 6.12, 6.18 and 7.3 */
#define MLX5_ESWITCH_OFFLOADS 1

/*
 * In switchdev mode the same bits are the driver's own number for a chain. A device
 * without a switch has a NULL eswitch, which does not read as 0 on all machines.
 */
MD_FIELD(mark, "mlx5_cqe64.sop_drop_qpn: mark of the tc rule, not in switchdev mode",
	 struct mlx5_cqe64 *cqe, struct xdp_buff *xdp)
{
	struct mlx5_priv *priv = md_at(mlx5_rq(xdp)->mdev, struct mlx5_core_dev, priv);
	struct mlx5_eswitch *eswitch = priv->eswitch;

	if (eswitch && eswitch->mode == MLX5_ESWITCH_OFFLOADS)
		return 0;
	return md_be32(cqe->sop_drop_qpn) & 0xffff;
}

/*
 * Bits 2 and 3 CQE_L3_HDR_TYPE_*, 4 to 6 CQE_L4_HDR_TYPE_*. Bit 7, a fragment, is in
 * no header of this driver, but in the format of the completion.
 */
MD_FIELD(ptype, "mlx5_cqe64.l4_l3_hdr_type and tls_outer_l3_tunneled", struct mlx5_cqe64 *cqe)
{
	__u8 type = cqe->l4_l3_hdr_type;
	__u32 l3 = type >> 2 & 3, l4 = type >> 4 & 7, bits = 0;

	if (l3 == 1)
		bits = MD_PTYPE_IPV6;
	else if (l3 == 2)
		bits = MD_PTYPE_IPV4;

	if (bits && (l4 == 1 || l4 == 3 || l4 == 4))
		bits |= MD_PTYPE_TCP;
	else if (bits && l4 == 2)
		bits |= MD_PTYPE_UDP;
	else if (bits && type & 0x80)
		bits |= MD_PTYPE_FRAGMENT;

	return cqe->tls_outer_l3_tunneled & 1 ? bits | MD_PTYPE_TUNNELLED : bits;
}

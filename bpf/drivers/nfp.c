// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * nfp: Netronome NFP-4000 to 6000 and Corigine NFP-3800, and their virtual functions. The
 * descriptor is the one of the receive ring; most of what the NIC says is in a chain of words
 * in front of the packet.
 */

#include "md_driver.h"

MD_DRIVER("nfp nfp_netvf");
MD_LACKS(rx_timestamp, "the NIC makes none");

struct nfp_net_rx_desc {
	struct {
		__u8 meta_len_dd;
		__le16 flags;
		__le16 vlan;
	} rxd;
} __core;

struct nfp_net_rx_ring;

enum nfp_nfd_version {
	NFP_NFD_VER_NFDK = 1,
};

struct nfp_dp_ops {
	enum nfp_nfd_version version;
} __core;

struct nfp_net_dp {
	__u8 chained_metadata_format : 1;
	__u8 rx_offset;
	__u32 rx_dma_off;
	struct nfp_net_rx_ring *rx_rings;
	struct nfp_dp_ops *ops;
} __core;

struct nfp_net {
	struct nfp_net_dp dp;
} __core;

struct nfp_net_r_vector {
	struct nfp_net *nfp_net;
} __core;

struct nfp_net_rx_ring {
	struct nfp_net_r_vector *r_vec;
	__u32 cnt;
	__u32 rd_p;
	struct nfp_net_rx_desc *rxds;
	struct xdp_rxq_info xdp_rxq;
} __core;

/* PCIE_DESC_RX_* of nfp_net.h. Each bit that a sum is right is below the one that it was checked. */
#define NFP_META_LEN 0x7f
#define NFP_RSS 0x8000
#define NFP_INNER_IP4 0x4000
#define NFP_INNER_TCP 0x1000
#define NFP_INNER_UDP 0x0400
#define NFP_IP4 0x0040
#define NFP_TCP 0x0010
#define NFP_UDP 0x0004
#define NFP_VLAN 0x0001
#define NFP_INNER (NFP_INNER_IP4 | NFP_INNER_TCP | NFP_INNER_UDP)
#define NFP_CHECKED (NFP_INNER | NFP_IP4 | NFP_TCP | NFP_UDP)
#define NFP_L4_RIGHT ((NFP_INNER_TCP | NFP_INNER_UDP | NFP_TCP | NFP_UDP) >> 1)

/* Macro of uapi/linux/bpf.h */
#define XDP_PACKET_HEADROOM 256

/*
 * What holds for all packets of the device is asked for once a packet, and kept where the
 * address of a descriptor, a multiple of its size, has zeros.
 */
#define NFP_DESC_SIZE 8
#define NFP_RXHASH 1
#define NFP_RXCSUM 2
#define NFP_CHAINED 4

static __always_inline bool nfp_has(void *found, __u64 kept)
{
	return (__u64)found & kept;
}

static __always_inline struct nfp_net_rx_desc *nfp_desc(void *found)
{
	return (void *)((__u64)found & ~(NFP_DESC_SIZE - 1ULL));
}

/* nfp_nfdk_rx() does not ask whether the metadata is a chain: such firmware has no other. */
static __always_inline bool nfp_is_chained(struct nfp_net *nn)
{
	return md_bits(nn, dp.chained_metadata_format) ||
	       nn->dp.ops->version == bpf_core_enum_value(enum nfp_nfd_version, NFP_NFD_VER_NFDK);
}

static __always_inline __u64 nfp_kept(struct nfp_net *nn, __u64 features)
{
	return (features & MD_NETIF_F_RXHASH ? NFP_RXHASH : 0) |
	       (features & MD_NETIF_F_RXCSUM ? NFP_RXCSUM : 0) |
	       (nfp_is_chained(nn) ? NFP_CHAINED : 0);
}

/*
 * Whether the packet is where the driver has put it, behind the chain: a program that ran
 * before this one, and called it by a tail call, may have moved it, or put metadata in
 * between. nfp_nfd3_rx() and nfp_nfdk_rx(), and nfp_nfd3_xsk_rx(), in whose buffers there
 * is no metadata.
 */
static __always_inline bool nfp_is_in_place(struct xdp_buff *xdp, struct nfp_net *nn,
					    __u32 len)
{
	void *place;

	if (xdp->rxq->mem.type == bpf_core_enum_value(enum xdp_mem_type, MEM_TYPE_XSK_BUFF_POOL))
		return xdp->data == xdp->data_hard_start + XDP_PACKET_HEADROOM + len;
	if (nn->dp.rx_offset)
		len = nn->dp.rx_offset;
	place = xdp->data_hard_start + (__u64)nn->dp.rx_dma_off + len;
	return xdp->data == place && xdp->data_meta == place;
}

/* All of them move rd_p on in front of the program. cnt is a power of two: D_IDX(). */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct nfp_net_rx_ring *ring = container_of(rxq, struct nfp_net_rx_ring, xdp_rxq);
	struct nfp_net *nn = ring->r_vec->nfp_net;
	struct nfp_net_rx_desc *desc;

	if (nn != md_netdev_priv(dev))
		return NULL;
	if (md_element(nn->dp.rx_rings, struct nfp_net_rx_ring, rxq->queue_index) != ring)
		return NULL;
	desc = (void *)((char *)ring->rxds + ((ring->rd_p - 1) & (ring->cnt - 1)) * (__u64)NFP_DESC_SIZE);
	if (!nfp_is_in_place(xdp, nn, desc->rxd.meta_len_dd & NFP_META_LEN))
		return NULL;
	return (void *)((__u64)desc | nfp_kept(nn, dev->features));
}

static __always_inline __u32 nfp_flags(void *found)
{
	return md_le16(nfp_desc(found)->rxd.flags);
}

/* NFP_NET_META_* of nfp_net_ctrl.h */
#define NFP_META_HASH 1
#define NFP_META_MARK 2
#define NFP_META_VLAN 4
#define NFP_META_CSUM 6
#define NFP_META_RESYNC_INFO 8

/*
 * nfp_nfd3_parse_meta(): the first word of a chain has the types of what follows, four bits
 * each from the lowest on; of a hash four more say what was hashed. Each is a word, but for
 * struct nfp_net_tls_resync_req. A chain that does not end at the packet, or has a type that
 * the driver doesn't know, does not get to a program.
 */
struct nfp_chain {
	__u32 types;
	__u32 hashed;
	__be32 *at;
	__be32 *found;
};

/* Looks at the next of a chain, and returns whether there are more. */
static __always_inline bool nfp_next(struct nfp_chain *chain, __u32 wanted)
{
	__u32 type = chain->types & 15;

	chain->types >>= 4;
	if (type == wanted)
		chain->found = chain->at;
	if (type == NFP_META_HASH) {
		chain->hashed = chain->types & 15;
		chain->types >>= 4;
	}
	chain->at += type == NFP_META_RESYNC_INFO ? 4 : 1;
	return chain->types;
}

static __always_inline __be32 *nfp_find_chained(void *found, struct xdp_buff *xdp, __u32 wanted,
						__u32 *hashed)
{
	__u32 len = nfp_desc(found)->rxd.meta_len_dd & NFP_META_LEN;
	struct nfp_chain chain = {};

	if (!nfp_has(found, NFP_CHAINED) || !len)
		return NULL;
	chain.at = xdp->data - len;
	chain.types = md_be32(*chain.at++);

	/* No loop, which would make the function one that is called: there is room for eight. */
	(void)(nfp_next(&chain, wanted) && nfp_next(&chain, wanted) &&
	       nfp_next(&chain, wanted) && nfp_next(&chain, wanted) &&
	       nfp_next(&chain, wanted) && nfp_next(&chain, wanted) &&
	       nfp_next(&chain, wanted) && nfp_next(&chain, wanted));
	*hashed = chain.hashed;
	return chain.found;
}

static __always_inline __be32 *nfp_find(void *found, struct xdp_buff *xdp, __u32 wanted)
{
	__u32 unused;

	return nfp_find_chained(found, xdp, wanted, &unused);
}

/* nfp_nfd3_set_hash_desc(): what is no chain has a word for what was hashed, and the hash. */
static __always_inline __be32 *nfp_find_hash(void *found, struct xdp_buff *xdp, __u32 *hashed)
{
	__be32 *at;

	if (nfp_has(found, NFP_CHAINED))
		return nfp_find_chained(found, xdp, NFP_META_HASH, hashed);
	if (!(nfp_flags(found) & NFP_RSS))
		return NULL;
	at = xdp->data - (nfp_desc(found)->rxd.meta_len_dd & NFP_META_LEN);
	*hashed = md_be32(at[0]);
	return at + 1;
}

/* NFP_NET_RSS_* of nfp_net_ctrl.h: what was hashed; 0 is nothing. */
static __always_inline bool nfp_is_hashed(__u32 hashed)
{
	return hashed - 1 < 9;
}

MD_PACKET_FIELD(hash, "the word of type HASH in front of the packet, if rxhash is on",
		void *found, struct xdp_buff *xdp)
{
	__u32 hashed = 0;
	__be32 *hash = nfp_find_hash(found, xdp, &hashed);

	if (!hash || !nfp_has(found, NFP_RXHASH) || !nfp_is_hashed(hashed))
		return 0;
	return md_be32(*hash);
}

/*
 * Six bits of a number that has some for each: IPv4, IPv6, with an address of an extension
 * header, and TCP and UDP over these three.
 */
#define NFP_HASHED(number, bits) ((__u64)(bits) << 6 * (number))

static __always_inline __u32 nfp_hashed(__u64 bits, void *found, struct xdp_buff *xdp)
{
	__u32 hashed = 0;

	if (!nfp_find_hash(found, xdp, &hashed) || !nfp_is_hashed(hashed))
		return 0;
	return bits >> 6 * hashed & 63;
}

MD_PACKET_FIELD(hash_type, "the type of the word HASH in front of the packet, if rxhash is on",
		void *found, struct xdp_buff *xdp)
{
	__u64 types = NFP_HASHED(1, MD_HASH_IPV4) |
		      NFP_HASHED(2, MD_HASH_IPV6) |
		      NFP_HASHED(3, MD_HASH_IPV6 | MD_HASH_DYNHDR) |
		      NFP_HASHED(4, MD_HASH_IPV4 | MD_HASH_TCP) |
		      NFP_HASHED(5, MD_HASH_IPV6 | MD_HASH_TCP) |
		      NFP_HASHED(6, MD_HASH_IPV6 | MD_HASH_DYNHDR | MD_HASH_TCP) |
		      NFP_HASHED(7, MD_HASH_IPV4 | MD_HASH_UDP) |
		      NFP_HASHED(8, MD_HASH_IPV6 | MD_HASH_UDP) |
		      NFP_HASHED(9, MD_HASH_IPV6 | MD_HASH_DYNHDR | MD_HASH_UDP);

	return nfp_has(found, NFP_RXHASH) ? nfp_hashed(types, found, xdp) : 0;
}

MD_PACKET_FIELD(mark, "the word of type MARK in front of the packet",
		void *found, struct xdp_buff *xdp)
{
	__be32 *mark = nfp_find(found, xdp, NFP_META_MARK);

	return mark ? md_be32(*mark) : 0;
}

MD_PACKET_FIELD(csum, "the word of type CSUM in front of the packet, if rx-checksumming is on",
		void *found, struct xdp_buff *xdp)
{
	__be32 *csum = nfp_find(found, xdp, NFP_META_CSUM);

	return csum && nfp_has(found, NFP_RXCSUM) ? *csum : 0;
}

/* nfp_nfd3_rx_csum(): a sum goes before the bits. */
MD_PACKET_FIELD(csum_status, "the word of type CSUM, or nfp_net_rx_desc.rxd.flags, if rx-checksumming is on",
		void *found, struct xdp_buff *xdp)
{
	__u32 flags = nfp_flags(found), right = flags << 1;

	if (!nfp_has(found, NFP_RXCSUM))
		return MD_CSUM_NONE;
	if (nfp_find(found, xdp, NFP_META_CSUM))
		return MD_CSUM_COMPLETE;
	if (flags & ~right & NFP_CHECKED)
		return MD_CSUM_BAD;
	if (right & ~flags & NFP_CHECKED)
		return MD_CSUM_NONE;
	return flags & NFP_L4_RIGHT ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/* nfp_net_vlan_strip(): the descriptor's tag goes before the chain's. */
static __always_inline __u32 nfp_chained_vlan(void *found, struct xdp_buff *xdp)
{
	__be32 *vlan = nfp_find(found, xdp, NFP_META_VLAN);

	return vlan ? md_be32(*vlan) : 0;
}

/* NFP_NET_META_VLAN_* of nfp_net_ctrl.h: whether it was taken off, and 0 or 1 for 802.1Q or 802.1ad. */
#define NFP_VLAN_STRIP (1U << 31)
#define NFP_VLAN_TPID (15U << 16)
#define NFP_VLAN_STAG (1U << 16)

MD_PACKET_FIELD(vlan_tci, "nfp_net_rx_desc.rxd.vlan, or the word of type VLAN, if the NIC took a tag off",
		void *found, struct xdp_buff *xdp)
{
	__u32 vlan;

	if (nfp_flags(found) & NFP_VLAN)
		return md_le16(nfp_desc(found)->rxd.vlan);
	vlan = nfp_chained_vlan(found, xdp);
	return vlan & NFP_VLAN_STRIP && (vlan & NFP_VLAN_TPID) <= NFP_VLAN_STAG ? vlan : 0;
}

MD_PACKET_FIELD(vlan_proto, "ETH_P_8021Q, or what the word of type VLAN says, if the NIC took a tag off",
		void *found, struct xdp_buff *xdp)
{
	__u32 vlan;

	if (nfp_flags(found) & NFP_VLAN)
		return MD_VLAN_CTAG;
	vlan = nfp_chained_vlan(found, xdp);
	if (!(vlan & NFP_VLAN_STRIP) || (vlan & NFP_VLAN_TPID) > NFP_VLAN_STAG)
		return 0;
	return vlan & NFP_VLAN_STAG ? MD_VLAN_STAG : MD_VLAN_CTAG;
}

/*
 * The headers whose sums the NIC has checked, the inner ones in a tunnel. IPv6 has no sum:
 * there, and where nothing was checked, it is what was hashed.
 */
MD_PACKET_FIELD(ptype, "nfp_net_rx_desc.rxd.flags, or the type of the word HASH",
		void *found, struct xdp_buff *xdp)
{
	__u64 types = NFP_HASHED(1, MD_PTYPE_IPV4) |
		      NFP_HASHED(2, MD_PTYPE_IPV6) |
		      NFP_HASHED(3, MD_PTYPE_IPV6) |
		      NFP_HASHED(4, MD_PTYPE_IPV4 | MD_PTYPE_TCP) |
		      NFP_HASHED(5, MD_PTYPE_IPV6 | MD_PTYPE_TCP) |
		      NFP_HASHED(6, MD_PTYPE_IPV6 | MD_PTYPE_TCP) |
		      NFP_HASHED(7, MD_PTYPE_IPV4 | MD_PTYPE_UDP) |
		      NFP_HASHED(8, MD_PTYPE_IPV6 | MD_PTYPE_UDP) |
		      NFP_HASHED(9, MD_PTYPE_IPV6 | MD_PTYPE_UDP);
	__u32 flags = nfp_flags(found), bits;

	if (flags & NFP_INNER)
		return MD_PTYPE_TUNNELLED |
		       (flags & NFP_INNER_IP4 ? MD_PTYPE_IPV4 : 0) |
		       (flags & NFP_INNER_TCP ? MD_PTYPE_TCP : 0) |
		       (flags & NFP_INNER_UDP ? MD_PTYPE_UDP : 0);
	bits = (flags & NFP_TCP ? MD_PTYPE_TCP : 0) | (flags & NFP_UDP ? MD_PTYPE_UDP : 0);
	if (flags & NFP_IP4)
		return bits | MD_PTYPE_IPV4;
	return bits | nfp_hashed(types, found, xdp);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* i40e: Intel X710, XL710, XXV710 and X722. The descriptor is the one of 16 bytes. */

#include "intel_rx.h"
#include "libie_rx.h"

MD_DRIVER("i40e");
MD_LACKS(rx_timestamp, "a register of the NIC");
MD_LACKS(csum, "the NIC does not hand out the sum");

union i40e_16byte_rx_desc {
	struct {
		struct {
			struct {
				__le16 l2tag1;
			} lo_dword;
			union {
				__le32 rss;
				__le32 fd_id;
			} hi_dword;
		} qword0;
		struct {
			__le64 status_error_len;
		} qword1;
	} wb;
} __core;

struct i40e_vsi;

/* xdp and next_to_process: since 6.4 */
struct i40e_ring {
	void *desc;
	struct xdp_buff **rx_bi_zc;
	struct xdp_buff xdp;
	__u16 next_to_process;
	__u16 count;
	__u16 next_to_clean;
	struct i40e_vsi *vsi;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct i40e_vsi {
	struct i40e_ring **rx_rings;
} __core;

struct i40e_netdev_priv {
	struct i40e_vsi *vsi;
} __core;

/* I40E_RX_DESC_STATUS_* and I40E_RX_DESC_ERROR_* of the driver, as bits of status_error_len */
#define I40E_EOF (1ULL << 1)
#define I40E_L2TAG1P (1ULL << 2)
#define I40E_L3L4P (1ULL << 3)
#define I40E_FLTSTAT (3ULL << 12)
#define I40E_FLTSTAT_FD_ID (1ULL << 12)
#define I40E_FLTSTAT_RSS_HASH (3ULL << 12)
#define I40E_IPV6EXADD (1ULL << 15)
#define I40E_IPE (1ULL << 22)
#define I40E_L4E (1ULL << 23)
#define I40E_EIPE (1ULL << 24)
#define I40E_PPRS (1ULL << 26)

static __always_inline union i40e_16byte_rx_desc *i40e_desc(void *found)
{
	return intel_desc(found);
}

static __always_inline __u64 i40e_status(void *found)
{
	return md_le64(i40e_desc(found)->wb.qword1.status_error_len);
}

static __always_inline __u32 i40e_ptype(__u64 status)
{
	return status >> 30 & 0xff;
}

/* i40e_clean_rx_irq() has moved on behind the last descriptor of the packet. */
static __always_inline __u64 i40e_last(struct i40e_ring *ring)
{
	__u64 next = ring->next_to_process;

	return (next ? next : ring->count) - 1;
}

/*
 * i40e_clean_rx_irq_zc() counts in a variable, as it does before 6.4, where
 * i40e_clean_rx_irq() moves next_to_clean on behind the program.
 */
static __always_inline __u64 i40e_first(struct i40e_ring *ring, struct xdp_buff *xdp)
{
	if (!bpf_core_field_exists(ring->next_to_process) && !intel_is_zero_copy(xdp->rxq))
		return ring->next_to_clean;
	return intel_find_buff(ring->rx_bi_zc, sizeof(xdp), ring->next_to_clean, ring->count, xdp);
}

static __always_inline void *i40e_at(struct i40e_ring *ring, __u64 index)
{
	return (char *)ring->desc + index * INTEL_DESC_SIZE;
}

/*
 * Since 6.4 the buff is in the ring itself. That takes the place of half a proof; otherwise
 * it is where i40e_clean_rx_irq_zc() keeps it, as on every queue before. What is found there
 * is the first descriptor, which says nothing of a packet in several.
 */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct net_device *dev = rxq->dev;
	struct i40e_vsi *vsi = ((struct i40e_netdev_priv *)md_netdev_priv(dev))->vsi;
	struct i40e_ring *ring = container_of(rxq, struct i40e_ring, xdp_rxq);
	struct net_device *volatile kept;
	void *desc;
	__u64 index;

	if (bpf_core_field_exists(ring->xdp) && xdp == md_at(ring, struct i40e_ring, xdp)) {
		if (!vsi || ring->vsi != vsi)
			return NULL;
		return intel_keep(i40e_at(ring, i40e_last(ring)), dev->features);
	}
	if (vsi->rx_rings[rxq->queue_index] != ring)
		return NULL;
	kept = dev; /* on the stack: what is kept over a load has seven registers */
	index = i40e_first(ring, xdp);
	if (index == INTEL_NOT_FOUND)
		return NULL;
	desc = i40e_at(ring, index);
	return i40e_status(desc) & I40E_EOF ? intel_keep(desc, kept->features) : NULL;
}

static __always_inline bool i40e_has_hash(void *found, __u64 status)
{
	return intel_has(found, INTEL_RXHASH) && (status & I40E_FLTSTAT) == I40E_FLTSTAT_RSS_HASH;
}

MD_FIELD(hash, "i40e_16byte_rx_desc.wb.qword0.hi_dword.rss, if rxhash is on and no flow director rule matched",
	 void *found)
{
	return i40e_has_hash(found, i40e_status(found)) ? md_le32(i40e_desc(found)->wb.qword0.hi_dword.rss) : 0;
}

MD_FIELD(hash_type, "i40e_16byte_rx_desc.wb.qword1.status_error_len, if there is a hash", void *found)
{
	__u64 status = i40e_status(found);

	return i40e_has_hash(found, status) ? libie_hash_type(i40e_ptype(status)) : 0;
}

/*
 * In the hash's place. i40e_add_fdir_ethtool() makes the location of the rule this number;
 * filters that the driver adds by itself (i40e_atr()) have 0.
 */
MD_FIELD(mark, "i40e_16byte_rx_desc.wb.qword0.hi_dword.fd_id: location of the flow director rule (ethtool -N)",
	 void *found)
{
	if ((i40e_status(found) & I40E_FLTSTAT) != I40E_FLTSTAT_FD_ID)
		return 0;
	return md_le32(i40e_desc(found)->wb.qword0.hi_dword.fd_id);
}

/* i40e_rx_checksum() */
MD_FIELD(csum_status, "i40e_16byte_rx_desc.wb.qword1.status_error_len, if rx-checksumming is on", void *found)
{
	__u64 status = i40e_status(found);
	__u32 ptype = i40e_ptype(status);
	enum libie_l4 l4 = libie_ptype_l4(ptype);

	if (!intel_has(found, INTEL_RXCSUM) || !(status & I40E_L3L4P))
		return MD_CSUM_NONE;
	if (l4 == LIBIE_L4_UNKNOWN || l4 == LIBIE_L4_FRAGMENT || l4 == LIBIE_L4_NONE)
		return MD_CSUM_NONE;

	/* Packets came too fast to look at this one. */
	if (status & I40E_PPRS)
		return MD_CSUM_NONE;
	if (libie_ptype_is_ipv6(ptype)) {
		/*
		 * Extension headers: the L4 sum may have been taken of the wrong bytes. An
		 * IP header called wrong may be one inside, which the driver does not ask.
		 */
		if (status & (I40E_IPV6EXADD | I40E_IPE | I40E_EIPE))
			return MD_CSUM_NONE;
	} else if (status & (I40E_IPE | I40E_EIPE)) {
		return MD_CSUM_BAD;
	}
	if (status & I40E_L4E)
		return MD_CSUM_BAD;

	/* Of ICMP only the IP header is checked. */
	return l4 == LIBIE_L4_ICMP ? MD_CSUM_NONE : MD_CSUM_UNNECESSARY;
}

/* With rxvlan off the driver has the NIC leave tags in the packet: i40e_vlan_stripping_disable(). */
MD_FIELD(vlan_tci, "i40e_16byte_rx_desc.wb.qword0.lo_dword.l2tag1, if the NIC took a tag off", void *found)
{
	return i40e_status(found) & I40E_L2TAG1P ? md_le16(i40e_desc(found)->wb.qword0.lo_dword.l2tag1) : 0;
}

MD_FIELD(vlan_proto, "ETH_P_8021Q, if the NIC took a tag off", void *found)
{
	return i40e_status(found) & I40E_L2TAG1P ? MD_VLAN_CTAG : 0;
}

MD_FIELD(ptype, "i40e_16byte_rx_desc.wb.qword1.status_error_len", void *found)
{
	return libie_ptype(i40e_ptype(i40e_status(found)));
}

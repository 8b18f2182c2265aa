// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * bnxt_en: Broadcom NetXtreme-C and -E. The descriptor is the receive completion, two
 * entries of 16 bytes each.
 */

#include "md_driver.h"

MD_DRIVER("bnxt_en");
MD_LACKS(csum, "the driver asks for no sum of the whole packet");
MD_LACKS(mark, "the completion has the number of a flow, by which the driver finds a representor");

struct rx_cmp {
	__le32 rx_cmp_len_flags_type;
	__le32 rx_cmp_misc_v1;
	__le32 rx_cmp_rss_hash;
} __core;

struct rx_cmp_ext {
	__le32 rx_cmp_flags2;
	__le32 rx_cmp_meta_data;
	__le32 rx_cmp_cfa_code_errors_v2;
	__le32 rx_cmp_timestamp;
} __core;

/* since 7.1 */
struct bnxt_xdp_buff {
	struct rx_cmp *rxcmp;
	struct rx_cmp_ext *rxcmp1;
} __core;

struct bnxt_cp_ring_info {
	__u32 cp_raw_cons;
	struct tx_cmp **cp_desc_ring;
} __core;

struct bnxt;

struct bnxt_napi {
	struct bnxt_cp_ring_info cp_ring;
	struct bnxt *bp;
} __core;

/* before 6.8 */
struct bnxt_napi___arr {
	struct {
		struct bnxt_cp_ring_info *cp_ring_arr[2];
	} cp_ring;
} __core;

/* rx_cpr: since 6.8 */
struct bnxt_rx_ring_info {
	struct bnxt_napi *bnapi;
	struct bnxt_cp_ring_info *rx_cpr;
	__u16 rx_next_cons;
	struct xdp_rxq_info xdp_rxq;
} __core;

struct seqcount {
	__u32 sequence;
} __core;

/* In earlier kernels ptp_lock is a spinlock, and old_time all of the counter in 64 bits. */
struct bnxt_ptp_cfg {
	struct timecounter tc;
	struct {
		struct {
			struct seqcount seqcount;
		} seqcount;
	} ptp_lock;
	__u32 old_time;
} __core;

/* rss_cap: since 6.8 */
struct bnxt {
	__u32 flags;
	__u32 cp_ring_mask;
	int cp_nr_pages;
	__u32 rss_hash_cfg;
	__u32 rss_cap;
	struct bnxt_rx_ring_info *rx_ring;
	struct bnxt_ptp_cfg *ptp_cfg;
	__u8 ptp_all_rx_tstamp;
} __core;

/* RX_CMP_* and CMP_TYPE_* of rx_cmp_len_flags_type */
#define BNXT_TYPE 0x3f
#define BNXT_TYPE_L2 17
#define BNXT_TYPE_L2_V3 23
#define BNXT_RSS_VALID (1 << 10)
#define BNXT_PKT_METADATA_PRESENT (1 << 11)

/* RX_CMP_FLAGS_ITYPE_* */
#define BNXT_ITYPE_IP 1
#define BNXT_ITYPE_TCP 2
#define BNXT_ITYPE_UDP 3
#define BNXT_ITYPE_ICMP 7
#define BNXT_ITYPE_PTP_W_TS 9

/* RX_CMP_FLAGS2_* */
#define BNXT_L4_CS_CALC (1 << 1)
#define BNXT_T_IP_CS_CALC (1 << 2)
#define BNXT_T_L4_CS_CALC (1 << 3)
#define BNXT_META_FORMAT_VLAN 1
#define BNXT_IP_TYPE (1 << 8)

/* RX_CMP_METADATA1_* */
#define BNXT_VLAN_VALID (1U << 31)
#define BNXT_TPID_8021AD 0
#define BNXT_TPID_8021Q 1

/* #defines of the driver */
#define BNXT_FLAG_CHIP_P5_PLUS 1
#define BNXT_RSS_CAP_RSS_TCAM (1 << 3)

/* VNIC_RSS_CFG_REQ_HASH_TYPE_* */
#define BNXT_HASH_TCP_IPV4 (1 << 1)
#define BNXT_HASH_UDP_IPV4 (1 << 2)
#define BNXT_HASH_TCP_IPV6 (1 << 4)
#define BNXT_HASH_UDP_IPV6 (1 << 5)

static __always_inline struct bnxt *bnxt_priv(struct xdp_buff *xdp)
{
	return container_of(xdp->rxq, struct bnxt_rx_ring_info, xdp_rxq)->bnapi->bp;
}

/* Since the chips of P5 there is a ring of completions for receiving alone. */
static __always_inline struct bnxt_cp_ring_info *bnxt_completions(struct bnxt_rx_ring_info *ring)
{
	struct bnxt_cp_ring_info *own;

	if (bpf_core_field_exists(ring->rx_cpr))
		return ring->rx_cpr;
	own = *md_at(ring->bnapi, struct bnxt_napi___arr, cp_ring.cp_ring_arr[0]);
	return own ? own : md_at(ring->bnapi, struct bnxt_napi, cp_ring);
}

/*
 * Before 7.1 the buff does not know its completion. bnxt_rx_pkt() counts in a variable, and
 * leaves cp_raw_cons where the poll has begun; rx_next_cons is the packet's buffer, whose
 * number the completion has. What is in between is walked over, entry by entry: the lowest
 * bit of a type says whether it has one or two, as in "type" of struct rx_pkt_cmpl, "odd
 * values indicate 32B records". The second one of a completion is not mistaken for a first.
 *
 * A packet takes two entries at least, and a poll takes 64 packets. With many buffers a
 * packet, or packets sent in between, there may be more entries: NULL.
 *
 * The entries are on pages, whose size BTF does not have. The two of a completion may be on
 * different ones, where such with one entry are among them: NULL as well.
 */
#define BNXT_ENTRIES 256
#define BNXT_ENTRY_SIZE 16

/* The place of an entry on its page. */
static __always_inline __u32 bnxt_place(__u32 index, __u32 on_page)
{
	asm volatile("" : "+r"(on_page)); /* the mask anew, not kept in the loop */
	return index & (on_page - 1);
}

/*
 * Both in one load: of the first 8 bytes of an entry, the first has the type, and the last
 * four are rx_cmp_opaque, in the byte order of the host.
 */
static __always_inline __u32 bnxt_type(__u64 head)
{
	return md_le64(head) & BNXT_TYPE;
}

static __always_inline bool bnxt_is_of(__u64 head, __u32 buffer)
{
	__u32 type = bnxt_type(head), opaque = md_le64(head) >> 32;

	return md_le32(opaque) == buffer && (type == BNXT_TYPE_L2 || type == BNXT_TYPE_L2_V3);
}

static __always_inline struct rx_cmp *bnxt_find(struct bnxt_rx_ring_info *ring)
{
	struct bnxt_cp_ring_info *completions = bnxt_completions(ring);
	void **pages = (void **)completions->cp_desc_ring;
	__u32 index = completions->cp_raw_cons, buffer = ring->rx_next_cons;
	struct bnxt *bp = ring->bnapi->bp;
	__u32 mask = bp->cp_ring_mask, on_page = (mask + 1) / (__u32)bp->cp_nr_pages, i;
	__u64 *entry, head;

#pragma clang loop unroll(disable)
	for (i = 0; i < BNXT_ENTRIES; i++) {
		index &= mask;
		entry = pages[index / on_page] + (__u64)bnxt_place(index, on_page) * BNXT_ENTRY_SIZE;
		head = *entry;
		if (bnxt_is_of(head, buffer))
			return bnxt_place(index + 1, on_page) ? (void *)entry : NULL;
		index += 1 + (bnxt_type(head) & 1);
	}
	entry = NULL;
	asm volatile("" : "+r"(entry)); /* now, not kept in the loop */
	return (void *)entry;
}

MD_DESCRIPTOR(struct rx_cmp, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = xdp->rxq;
	struct bnxt_rx_ring_info *ring = container_of(rxq, struct bnxt_rx_ring_info, xdp_rxq);
	struct bnxt *bp = md_netdev_priv(rxq->dev);

	if (ring->bnapi->bp != bp)
		return NULL;
	if (md_element(bp->rx_ring, struct bnxt_rx_ring_info, rxq->queue_index) != ring)
		return NULL;
	if (bpf_core_type_exists(struct bnxt_xdp_buff))
		return ((struct bnxt_xdp_buff *)xdp)->rxcmp;
	return bnxt_find(ring);
}

static __always_inline struct rx_cmp_ext *bnxt_ext(struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	if (bpf_core_type_exists(struct bnxt_xdp_buff))
		return ((struct bnxt_xdp_buff *)xdp)->rxcmp1;
	return (void *)md_element(cmp, struct rx_cmp, 1);
}

static __always_inline bool bnxt_is_v3(__u32 flags)
{
	return (flags & BNXT_TYPE) == BNXT_TYPE_L2_V3;
}

/* What the innermost headers are, as bits of md_ptype. */
static __always_inline __u32 bnxt_headers(__u32 flags, __u32 flags2)
{
	__u32 itype = flags >> 12 & 0xf, ip;

	if (itype != BNXT_ITYPE_IP && itype != BNXT_ITYPE_TCP && itype != BNXT_ITYPE_UDP && itype != BNXT_ITYPE_ICMP)
		return 0;
	ip = flags2 & BNXT_IP_TYPE ? MD_PTYPE_IPV6 : MD_PTYPE_IPV4;
	if (itype == BNXT_ITYPE_TCP)
		return ip | MD_PTYPE_TCP;
	if (itype == BNXT_ITYPE_UDP)
		return ip | MD_PTYPE_UDP;
	return itype == BNXT_ITYPE_ICMP ? ip | MD_PTYPE_ICMP : ip;
}

/* That there was a checksum in front of the innermost headers is all that tells of a tunnel. */
MD_FIELD(ptype, "rx_cmp.rx_cmp_len_flags_type, rx_cmp_ext.rx_cmp_flags2",
	 struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	__u32 flags2 = md_le32(bnxt_ext(cmp, xdp)->rx_cmp_flags2);
	__u32 bits = bnxt_headers(md_le32(cmp->rx_cmp_len_flags_type), flags2);

	return flags2 & (BNXT_T_IP_CS_CALC | BNXT_T_L4_CS_CALC) ? bits | MD_PTYPE_TUNNELLED : bits;
}

/* The driver does not ask whether rxhash is on. Of what is no IP it is not known what was hashed. */
MD_FIELD(hash, "rx_cmp.rx_cmp_rss_hash of IP", struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	__u32 flags = md_le32(cmp->rx_cmp_len_flags_type), flags2 = md_le32(bnxt_ext(cmp, xdp)->rx_cmp_flags2);

	return flags & BNXT_RSS_VALID && bnxt_headers(flags, flags2) ? md_le32(cmp->rx_cmp_rss_hash) : 0;
}

/* bnxt_rss_ext_op(): what was hashed with its ports, the innermost headers or those of a tunnel */
#define BNXT_OP_INNER_4 0
#define BNXT_OP_OUTER_4 2
#define BNXT_OP_INNFL_3 8
#define BNXT_OP_OUTFL_3 10

static __always_inline __u32 bnxt_v3_op(struct rx_cmp *cmp, struct bnxt *bp)
{
	__u32 misc = md_le32(cmp->rx_cmp_misc_v1);

	if (bpf_core_field_exists(bp->rss_cap) && *md_at(bp, struct bnxt, rss_cap) & BNXT_RSS_CAP_RSS_TCAM)
		return misc >> 8 & 0xf;
	return misc >> 12 & 0xf;
}

/* Before V3, a packet's ports are hashed if the driver has asked for that: bnxt_hwrm_vnic_set_rss(). */
static __always_inline bool bnxt_hashes_ports(__u32 headers, struct bnxt *bp)
{
	__u32 asked = *md_at(bp, struct bnxt, rss_hash_cfg);

	if (headers & MD_PTYPE_TCP)
		return asked & (headers & MD_PTYPE_IPV4 ? BNXT_HASH_TCP_IPV4 : BNXT_HASH_TCP_IPV6);
	return headers & MD_PTYPE_UDP && asked & (headers & MD_PTYPE_IPV4 ? BNXT_HASH_UDP_IPV4 : BNXT_HASH_UDP_IPV6);
}

/* The headers that are known are the innermost. Where a tunnel's were hashed, that there were ports is all. */
MD_FIELD(hash_type, "rx_cmp: rx_cmp_len_flags_type, of P7 rx_cmp_misc_v1", struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	__u32 flags = md_le32(cmp->rx_cmp_len_flags_type), headers, bits, op;
	struct bnxt *bp = bnxt_priv(xdp);
	bool ports;

	headers = bnxt_headers(flags, md_le32(bnxt_ext(cmp, xdp)->rx_cmp_flags2));
	if (!(flags & BNXT_RSS_VALID) || !headers)
		return 0;
	if (bnxt_is_v3(flags)) {
		op = bnxt_v3_op(cmp, bp);
		if (op == BNXT_OP_OUTER_4 || op == BNXT_OP_OUTFL_3)
			return MD_HASH_L4;
		ports = op == BNXT_OP_INNER_4 || op == BNXT_OP_INNFL_3;
	} else {
		ports = bnxt_hashes_ports(headers, bp);
	}
	bits = headers & MD_PTYPE_IPV4 ? MD_HASH_IPV4 : MD_HASH_IPV6;
	if (!ports)
		return bits;
	if (headers & MD_PTYPE_TCP)
		return bits | MD_HASH_TCP;
	return headers & MD_PTYPE_UDP ? bits | MD_HASH_UDP : bits | MD_HASH_L4;
}

/*
 * Four bits each say what was calculated, and what was wrong: the IP header, TCP or UDP,
 * and both of the tunnel. An error of what was not calculated says nothing.
 */
MD_FIELD(csum_status, "rx_cmp_ext: rx_cmp_flags2 and rx_cmp_cfa_code_errors_v2, if rx-checksumming is on",
	 struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	__u32 l4 = BNXT_L4_CS_CALC | BNXT_T_L4_CS_CALC, calculated, wrong;
	struct rx_cmp_ext *ext = bnxt_ext(cmp, xdp);

	if (!md_netdev_has(xdp, MD_NETIF_F_RXCSUM))
		return MD_CSUM_NONE;
	calculated = md_le32(ext->rx_cmp_flags2) & 0xf;
	wrong = md_le32(ext->rx_cmp_cfa_code_errors_v2) >> 4 & 0xf;
	if (calculated & wrong)
		return MD_CSUM_BAD;
	return calculated & l4 && !(wrong & l4) ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

/* The EtherType of the tag above its 16 bits, or 0: bnxt_rx_vlan() */
static __always_inline __u32 bnxt_tag(struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	struct rx_cmp_ext *ext = bnxt_ext(cmp, xdp);
	__u32 tag, type;

	if (!md_netdev_has(xdp, MD_NETIF_F_HW_VLAN_CTAG_RX | MD_NETIF_F_HW_VLAN_STAG_RX))
		return 0;
	if (bnxt_is_v3(md_le32(cmp->rx_cmp_len_flags_type))) {
		tag = md_le32(cmp->rx_cmp_misc_v1);
		type = tag >> 28 & 7;
		if (!(tag & BNXT_VLAN_VALID) || (type != BNXT_TPID_8021Q && type != BNXT_TPID_8021AD))
			return 0;
		return (type == BNXT_TPID_8021Q ? 0x8100U : 0x88a8U) << 16 | md_le32(ext->rx_cmp_cfa_code_errors_v2) >> 16;
	}
	tag = md_le32(ext->rx_cmp_meta_data);
	type = tag >> 16;
	if ((md_le32(ext->rx_cmp_flags2) >> 4 & 0xf) != BNXT_META_FORMAT_VLAN || (type != 0x8100 && type != 0x88a8))
		return 0;
	return tag;
}

MD_FIELD(vlan_tci, "rx_cmp_ext.rx_cmp_meta_data, of P7 rx_cmp_cfa_code_errors_v2, if the NIC took a tag off",
	 struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	return bnxt_tag(cmp, xdp);
}

MD_FIELD(vlan_proto, "rx_cmp_ext.rx_cmp_meta_data, of P7 rx_cmp.rx_cmp_misc_v1, if the NIC took a tag off",
	 struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	return bpf_htons(bnxt_tag(cmp, xdp) >> 16);
}

/* bnxt_rx_ts_valid() */
static __always_inline bool bnxt_has_stamp(__u32 flags, __u32 stamp, struct bnxt *bp)
{
	if ((flags >> 12 & 0xf) == BNXT_ITYPE_PTP_W_TS)
		return true;
	return stamp && !(flags & BNXT_PKT_METADATA_PRESENT) && *md_at(bp, struct bnxt, ptp_all_rx_tstamp);
}

/* bnxt_get_rx_ts_p5(): to 32 bits the upper 16 of the counter, as the driver has last read it */
static __always_inline __u64 bnxt_cycles(struct bnxt_ptp_cfg *ptp, __u32 stamp)
{
	__u64 time = md_bits(ptp, old_time), cycles; /* of 32 bits or 64 */

	if (bpf_core_field_size(ptp->old_time) == 4)
		time <<= 24; /* BNXT_HI_TIMER_SHIFT */
	cycles = (time & 0xffff00000000) | stamp;
	return stamp < (__u32)time ? cycles + (1ULL << 32) : cycles;
}

static __always_inline __u32 bnxt_sequence(struct bnxt_ptp_cfg *ptp)
{
	__u32 sequence;

	if (!bpf_core_field_exists(ptp->ptp_lock.seqcount))
		return 0;
	barrier();
	sequence = ptp->ptp_lock.seqcount.seqcount.sequence;
	barrier();
	return sequence;
}

/* During an update, once in some minutes: no stamp rather than a wrong one. */
MD_FIELD(rx_timestamp, "rx_cmp_ext.rx_cmp_timestamp in ns, if hardware timestamps are on (hwstamp_ctl), since P5",
	 struct rx_cmp *cmp, struct xdp_buff *xdp)
{
	__u32 stamp = md_le32(bnxt_ext(cmp, xdp)->rx_cmp_timestamp), begin, changed;
	struct bnxt *bp = bnxt_priv(xdp);
	struct bnxt_ptp_cfg *ptp;
	__u64 ns;

	if (!bnxt_has_stamp(md_le32(cmp->rx_cmp_len_flags_type), stamp, bp) || !(bp->flags & BNXT_FLAG_CHIP_P5_PLUS))
		return 0;
	ptp = *md_at(bp, struct bnxt, ptp_cfg);
	if (!ptp)
		return 0;
	begin = bnxt_sequence(ptp);
	ns = md_timecounter_ns(md_at(ptp, struct bnxt_ptp_cfg, tc), bnxt_cycles(ptp, stamp));
	changed = (begin & 1) | (begin ^ bnxt_sequence(ptp));
	return changed ? 0 : ns;
}

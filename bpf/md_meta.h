/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __MD_META_H__
#define __MD_META_H__

/*
 * What bpf/examples/receive.c puts in front of each packet that it redirects to an
 * AF_XDP socket, and how to read it there. Plain C: for BPF programs and for those
 * in user space, over libxdp or without it.
 *
 *	const char *packet = xsk_umem__get_data(umem_area, desc->addr);
 *	struct md_meta meta;
 *
 *	if (place == MD_META_IN_PACKET)
 *		packet += sizeof(meta);
 *	md_meta_read(&meta, packet);
 *	if (meta.fields & MD_META_HASH)
 *		queue = meta.hash % queues;
 *
 * It is there in every packet that the program redirects, whatever the NIC and
 * its driver, in the byte order of the host unless a field says otherwise.
 */

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif
#ifndef __bpf__
#include <string.h>
#endif

/*
 * enum md_meta_fields - bits of md_meta.fields
 *
 * One that is not set: the consumer did not ask for it, or the NIC never tells it, or
 * has nothing on this packet at all. What belongs to it is zero then.
 */
enum md_meta_fields {
	MD_META_RX_TIMESTAMP = 1 << 0,
	MD_META_HASH = 1 << 1,	/* hash, hash_type */
	MD_META_CSUM = 1 << 2,	/* csum_status, csum */
	MD_META_VLAN = 1 << 3,	/* vlan_tci, vlan_proto */
	MD_META_MARK = 1 << 4,
	MD_META_PTYPE = 1 << 5,

	MD_META_ALL = (1 << 6) - 1,
};

/*
 * struct md_meta - the 32 bytes right in front of the packet
 *
 * As many as the metadata area of any kernel has room for. What the fields mean,
 * struct md_desc in md_desc.h says; they have its names.
 */
struct md_meta {
	__u64 rx_timestamp;	/* ns of the NIC's clock, 0: no stamp */
	__u32 hash;
	__u32 hash_type;	/* enum xdp_rss_hash_type, 0: no hash */
	__u32 csum;		/* if csum_status is MD_CSUM_COMPLETE */
	__u32 mark;
	__u16 vlan_tci;
	__be16 vlan_proto;	/* in network byte order, 0: no tag */
	__u16 ptype;		/* enum md_ptype */
	__u8 csum_status;	/* enum md_csum_status */
	__u8 fields;		/* enum md_meta_fields */
};

/*
 * enum md_meta_place - where the struct is, as the program's variable "place" says
 *
 * It is the same for all packets, and known with the first one.
 */
enum md_meta_place {
	MD_META_NOWHERE = 0,	/* there was no packet yet */
	MD_META_IN_AREA = 1,	/* in front of where desc->addr leads to */
	/*
	 * Where desc->addr leads to, and desc->len counts it: the driver has no
	 * metadata area. The packet is what follows.
	 */
	MD_META_IN_PACKET = 2,
};

#ifndef __bpf__

/* As in md_desc.h, which takes headers for BPF. */
enum md_csum_status {
	MD_CSUM_NONE = 0,
	MD_CSUM_UNNECESSARY = 1,
	MD_CSUM_COMPLETE = 2,
	MD_CSUM_BAD = 4,
};

enum md_ptype {
	MD_PTYPE_IPV4 = 1 << 0,
	MD_PTYPE_IPV6 = 1 << 1,
	MD_PTYPE_FRAGMENT = 1 << 2,
	MD_PTYPE_TCP = 1 << 3,
	MD_PTYPE_UDP = 1 << 4,
	MD_PTYPE_SCTP = 1 << 5,
	MD_PTYPE_ICMP = 1 << 6,
	MD_PTYPE_TUNNELLED = 1 << 7,
	MD_PTYPE_OTHER_L4 = 1 << 8,
};

#define MD_HASH_SOFTWARE (1U << 31)

/*
 * md_meta_read(meta, packet) - what is in front of a packet
 * @packet: where the packet starts in its frame of the UMEM, which need not be at
 *	    an address that the struct is aligned at
 */
static inline void md_meta_read(struct md_meta *meta, const void *packet)
{
	memcpy(meta, (const char *)packet - sizeof(*meta), sizeof(*meta));
}

/* md_meta_csum_right(meta) - whether the NIC found the checksum right */
static inline int md_meta_csum_right(const struct md_meta *meta)
{
	return meta->csum_status == MD_CSUM_UNNECESSARY;
}

/* md_meta_csum_wrong(meta) - whether the NIC found the checksum wrong */
static inline int md_meta_csum_wrong(const struct md_meta *meta)
{
	return meta->csum_status == MD_CSUM_BAD;
}

/* md_meta_vlan(meta) - the ID of the VLAN whose tag the NIC took off, -1 if none */
static inline int md_meta_vlan(const struct md_meta *meta)
{
	return meta->vlan_proto ? meta->vlan_tci & 0xfff : -1;
}

#endif /* __bpf__ */

#endif /* __MD_META_H__ */

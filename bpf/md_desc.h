/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __MD_DESC_H__
#define __MD_DESC_H__

/*
 * What a NIC can say of a packet, as a BPF program sees it.
 *
 *	#include <linux/bpf.h>		(or "vmlinux.h")
 *	#include "md_desc.h"
 *
 *	SEC("xdp") int prog(struct xdp_md *ctx)
 *	{
 *		struct md_desc *md = md_desc(ctx);
 *
 *		if (md && md->hash % 4 == 1)
 *			return XDP_DROP;
 *		return XDP_PASS;
 *	}
 *
 * Compile with plain "clang -O2 -g -target bpf". -g is what makes clang record
 * the accesses.
 */

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

/*
 * enum md_csum_status - what a NIC found out about a packet's checksums
 *
 * Names and values are those of CHECKSUM_* in the kernel's
 * include/linux/skbuff.h.
 */
enum md_csum_status {
	/*
	 * Not looked at, not provided, or wrong where the NIC does not tell the
	 * two apart: software has to check.
	 */
	MD_CSUM_NONE = 0,
	/* The NIC checked it and found it right. */
	MD_CSUM_UNNECESSARY = 1,
	/* The NIC summed up the packet; the sum is in md_desc.csum. */
	MD_CSUM_COMPLETE = 2,
	/*
	 * The NIC checked it and found it wrong. No CHECKSUM_* is this one: to
	 * the kernel it is CHECKSUM_NONE.
	 */
	MD_CSUM_BAD = 4,
};

/*
 * enum md_ptype - what a NIC's parser found in a packet: bits of md_desc.ptype
 *
 * In a tunnelled packet whose inner headers the NIC understands, the other bits
 * describe those. Not every NIC looks for everything: a bit that is not set is
 * no proof of the contrary.
 */
enum md_ptype {
	MD_PTYPE_IPV4 = 1 << 0,
	MD_PTYPE_IPV6 = 1 << 1,
	/* A fragment of an IP packet, the first or a later one. */
	MD_PTYPE_FRAGMENT = 1 << 2,
	MD_PTYPE_TCP = 1 << 3,
	MD_PTYPE_UDP = 1 << 4,
	MD_PTYPE_SCTP = 1 << 5,
	/* ICMP or ICMPv6. */
	MD_PTYPE_ICMP = 1 << 6,
	/* The other bits are about the headers inside the tunnel. */
	MD_PTYPE_TUNNELLED = 1 << 7,
	/* A transport header that is none of those above. */
	MD_PTYPE_OTHER_L4 = 1 << 8,
};

/*
 * struct md_desc - the metadata descriptor
 *
 * No NIC keeps its metadata in this order or in these widths. The struct only
 * names the fields and gives them the types that a program computes with:
 * preserve_access_index makes clang record every access instead of fixing it,
 * and xdp-load puts in the offset and width of the NIC at hand.
 *
 * Unless a field says otherwise it is in the byte order of the host. A field
 * that the NIC knows but has no value for in this packet is zero. A field that
 * the NIC does not know at all is not zero but an error at load time, unless
 * the program asks first:
 *
 *	if (bpf_core_field_exists(md->rx_timestamp))
 *		t = md->rx_timestamp;
 *
 * The answer is a constant by then: of a field that is not there the verifier
 * drops question and access, of one that is there a jump remains, never taken.
 *
 * Fields that are not here are added by a flavour: a struct of one's own with
 * a name that starts with "md_desc___". What follows the three underscores is
 * not compared with anything; fields are found by name, their order and the
 * fields left out don't matter:
 *
 *	struct md_desc___mine {
 *		__u16 queue;
 *	} __attribute__((preserve_access_index));
 *
 *	queue = ((struct md_desc___mine *)md)->queue;
 *
 * md_desc(ctx) has checked the bounds of the NIC's whole descriptor, so a
 * flavour needs no second check.
 */
struct md_desc {
	/*
	 * When the packet arrived, in nanoseconds of the clock that the NIC
	 * stamps with, which need not be one of the host's. Zero: no stamp.
	 */
	__u64 rx_timestamp;

	/*
	 * The flow hash (RSS). Zero is also a valid hash: hash_type tells
	 * whether there is one.
	 */
	__u32 hash;

	/*
	 * What went into the hash: bits of enum xdp_rss_hash_type, documented
	 * in the kernel's include/net/xdp.h. Bits 0-2 are the L3 part (IPv4,
	 * IPv6, header of dynamic length), bit 3 says that L4 was hashed too,
	 * bits 4-8 which (TCP, UDP, SCTP, IPsec, ICMP). Zero: no hash.
	 */
	__u32 hash_type;

	/*
	 * The sum of the bytes after the Ethernet header, as in skb->csum: a
	 * ones' complement sum that is not folded or inverted yet. Only
	 * meaningful if csum_status is MD_CSUM_COMPLETE; zero otherwise.
	 */
	__u32 csum;

	/* enum md_csum_status. Zero (MD_CSUM_NONE): not provided. */
	__u32 csum_status;

	/*
	 * The tag control information of the VLAN tag that the NIC took off:
	 * 3 bits priority, 1 bit DEI, 12 bits VLAN ID. Only meaningful if
	 * vlan_proto is not zero: priority 0 in VLAN 0 is a tag too.
	 */
	__u16 vlan_tci;

	/*
	 * The EtherType of that tag, in network byte order: compare with
	 * bpf_htons(ETH_P_8021Q) or bpf_htons(ETH_P_8021AD). Zero: no tag.
	 */
	__be16 vlan_proto;

	/*
	 * The mark of the rule that the packet matched in the NIC's flow
	 * table, as a number of the host. Zero: no rule, or one without a mark.
	 */
	__u32 mark;

	/*
	 * The headers that the NIC's parser found: bits of enum md_ptype. Zero:
	 * it did not say.
	 */
	__u32 ptype;

	/* Zero. The struct has no padding, which a copy would leave as it was. */
	__u32 reserved;
} __attribute__((preserve_access_index));

/*
 * struct xdp_load_source - the mark of the two sources of a descriptor
 *
 * No kernel and no layout has this type. Its records tell xdp-load the place
 * where md_desc() gets the descriptor from: the answer to whether the type
 * exists is 1 where it comes from the driver, and the load of desc from ctx then
 * becomes what finds it there. It is 0 where it comes from the metadata area,
 * and for any other loader.
 */
struct xdp_load_source {
	void *desc;
} __attribute__((preserve_access_index));

/*
 * md_desc(ctx) - the metadata descriptor of a packet
 * @ctx: struct xdp_md * in an XDP program, struct __sk_buff * in a TC program
 *
 * Where the descriptor is, is decided when the program is loaded: in the metadata
 * area, the bytes from ctx->data_meta to ctx->data, or in what the driver keeps of
 * the packet.
 *
 * Returns NULL if the metadata area is too small for the descriptor of the NIC
 * that the program was loaded for, or if the driver has none for this packet. That
 * is the normal case wherever the NIC, or the program that produces its metadata,
 * has not put anything there.
 *
 * The pointer is dead after bpf_xdp_adjust_meta() and whatever else moves the
 * packet (bpf_xdp_adjust_head, bpf_skb_change_*, ...); the verifier refuses
 * its use. Call md_desc() again.
 *
 * What it costs over the metadata area, as clang 14, 16, 19 and 22 compile it for
 * -mcpu=v1 to v4:
 *
 *	r3 = 32				CO-RE <type_size> struct md_desc
 *	r2 = *(u32 *)(r1 + 8)		ctx->data_meta
 *	r4 = r2
 *	r4 += r3
 *	r1 = *(u32 *)(r1 + 0)		ctx->data
 *	if r4 > r1 goto ...		NULL
 *
 * and then one load for each md->field. This is the guard that the verifier
 * asks of any access to the metadata area. The same in C with a fixed layout
 * is shorter by the first line, as a size that is known at compile time is
 * added as an immediate. A test of the result, as in "if (md && ...)", is free
 * where nothing comes between the two: the failed guard jumps to where the test
 * would have gone. Elsewhere, and with clang 14, it is one jump, as with any pointer.
 *
 * In the object, the question which of the two sources it is stands in front of
 * the guard. xdp-load puts in the answer and takes out the question, the jump that
 * depends on it, and the side that is not taken.
 *
 * The size must be the one of the NIC's descriptor, as the verifier allows
 * loads only inside the bytes that the guard has seen. "md + 1 > data" would
 * fix the size of the struct above and leave no record of it.
 *
 * An object that xdp-load has not rewritten does not read garbage. The kernel
 * knows neither struct, so for libbpf the source is the metadata area, the size
 * becomes 0 and every access invalid. The guard then always passes, and the
 * verifier refuses the first access that can be reached:
 *
 *	11: <invalid CO-RE relocation>
 *	failed to resolve CO-RE relocation <byte_off> [8] struct md_desc.hash
 *
 * A program that only tests md_desc(ctx) for NULL and reads nothing, or asks
 * bpf_core_field_exists() before each read, is not refused: it loads, with a
 * pointer that is never NULL and fields that don't exist.
 */
#define md_desc(ctx)							\
({									\
	__typeof__(ctx) __md_ctx = (ctx);				\
									\
	(struct md_desc *)						\
	(bpf_core_type_exists(struct xdp_load_source) ?			\
		((struct xdp_load_source *)(void *)__md_ctx)->desc :	\
		__md_desc((void *)(long)__md_ctx->data_meta,		\
			  (void *)(long)__md_ctx->data,			\
			  bpf_core_type_size(struct md_desc)));		\
})

static __always_inline struct md_desc *__md_desc(void *meta, void *data, __u64 size)
{
	if (meta + size > data)
		return (void *)0;

	/*
	 * The packet is never at address 0, but clang can't know that: without
	 * this, a caller's "if (md)" is compiled to a second test, as it is by
	 * clang 14 all the same.
	 */
	__builtin_assume(meta != (void *)0);
	return meta;
}

/*
 * md_desc_copy(dst, md) - keep what the descriptor says of a packet
 * @dst: the program's own struct md_desc: on the stack, in a map value, in global
 *	 data, in a ring buffer record
 * @md: the descriptor, from md_desc()
 *
 * Copies the fields of the struct above one by one; what the NIC does not know
 * becomes zero. The copy has the fields where the struct above has them, in its
 * types, whatever the NIC: it can be read after the packet has moved, in another
 * program, and in user space.
 *
 *	struct md_desc kept;
 *
 *	md_desc_copy(&kept, md);
 *	if (bpf_xdp_adjust_head(ctx, 14))
 *		return XDP_ABORTED;
 *	mark = kept.mark;
 *
 * "kept = *md" would take the bytes that the NIC has where the struct above has
 * its fields: of a copy as a whole clang leaves no record. Fields that a flavour
 * adds are copied in the same way, by hand.
 *
 * It costs a load and a store for each field, and a store for each that the NIC
 * does not know: the question is answered when the program is loaded.
 */
static __always_inline void md_desc_copy(struct md_desc *dst, const struct md_desc *md)
{
#define __md_desc_copy_field(field)					\
	(dst->field = bpf_core_field_exists(md->field) ? md->field : 0)

	__md_desc_copy_field(rx_timestamp);
	__md_desc_copy_field(hash);
	__md_desc_copy_field(hash_type);
	__md_desc_copy_field(csum);
	__md_desc_copy_field(csum_status);
	__md_desc_copy_field(vlan_tci);
	__md_desc_copy_field(vlan_proto);
	__md_desc_copy_field(mark);
	__md_desc_copy_field(ptype);
	dst->reserved = 0;

#undef __md_desc_copy_field
}

/*
 * MD_HASH_SOFTWARE - a bit of md_desc.hash_type: the hash is not the NIC's, but was
 * computed from the packet, which "xdp-load --software hash" asks for
 *
 * No bit of enum xdp_rss_hash_type is this one.
 */
#define MD_HASH_SOFTWARE (1U << 31)

#endif /* __MD_DESC_H__ */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __MD_DRIVER_H__
#define __MD_DRIVER_H__

/*
 * For the C files that read struct md_desc out of what a driver keeps of a packet.
 *
 *	#include "md_driver.h"
 *
 *	MD_DRIVER("toy");
 *
 *	struct toy_cqe {
 *		__le32 hash;
 *	} __core;
 *
 *	struct toy_ring {
 *		struct net_device *netdev;
 *		struct xdp_rxq_info xdp_rxq;
 *	} __core;
 *
 *	struct toy_priv {
 *		struct toy_ring **rings;
 *	} __core;
 *
 *	struct toy_xdp_buff {
 *		struct toy_cqe *cqe;
 *	} __core;
 *
 *	MD_DESCRIPTOR(struct toy_cqe, struct xdp_buff *xdp)
 *	{
 *		struct xdp_rxq_info *rxq = xdp->rxq;
 *		struct toy_ring *ring = container_of(rxq, struct toy_ring, xdp_rxq);
 *		struct toy_priv *priv = md_netdev_priv(rxq->dev);
 *
 *		if (ring->netdev != rxq->dev)
 *			return NULL;
 *		if (priv->rings[rxq->queue_index] != ring)
 *			return NULL;
 *		return ((struct toy_xdp_buff *)xdp)->cqe;
 *	}
 *
 *	MD_FIELD(hash, "toy_cqe.hash", struct toy_cqe *cqe)
 *	{
 *		return md_le32(cqe->hash);
 *	}
 *
 * Compile with "clang -O2 -g -target bpf -mcpu=v3 -fno-delete-null-pointer-checks".
 * Without the last flag clang takes a pointer that was read through for one that
 * is not NULL, and drops a test of it.
 *
 * The functions run where the program says md_desc(ctx) and md->hash. A load is
 * written as in the kernel and becomes one that can't fault: a wild address reads
 * as 0. Structs are declared with the members that are used, in any order, under
 * the names and types of the driver's, and with __core behind them: their offsets,
 * widths and sizes are those of the running kernel. What differs between kernels is
 * asked for: bpf_core_field_exists(), bpf_core_type_exists(), flavours. A number in a
 * fixed byte order is to be declared so, __be32 or __le32: of a __u32 it is taken to
 * be wanted in the order of the host.
 *
 * The functions are cut from the object one by one. They may call what is
 * __always_inline, and nothing else, but for a metadata kfunc in the function of a
 * field that does not load; there are no globals and no constants in memory.
 */

#include "md_desc.h"
#include <bpf/bpf_endian.h>

#ifndef __VMLINUX_H__
#include <stdbool.h>
#endif

#ifndef NULL
#define NULL ((void *)0)
#endif

/* A struct of the kernel: clang records each access instead of fixing it. */
#define __core __attribute__((preserve_access_index))

/*
 * MD_DRIVER(names) - the drivers that the file is for
 * @names: as "ethtool -i" has them, with a space between two
 */
#define MD_DRIVER(names) char _md_drivers[] SEC("md_drivers") = names

/*
 * MD_MODULE(name) - the kernel module that has the driver's types in its BTF
 *
 * Only needed where it is not named as the (first) driver.
 */
#define MD_MODULE(name) char _md_module[] SEC("md_module") = name

/*
 * MD_LACKS(field, why) - a field that the driver can't give
 * @field: its name in struct md_desc
 * @why: for those who ask for it; not a sentence: "a register of the NIC"
 *
 * For what no kernel has. Of a field whose function reads what some kernels lack, the
 * kernel's BTF says so.
 */
#define MD_LACKS(field, why)						\
	_Static_assert(sizeof(((struct md_desc *)0)->field), "");	\
	char _md_lacks_##field[] SEC("md_lacks_" #field) = why

/*
 * MD_DESCRIPTOR(type, ctx) { ... } - finds what the NIC wrote for a packet
 * @type: what it returns the address of
 * @ctx: the only parameter: struct xdp_buff * in a file for XDP programs, struct
 *	 sk_buff * in one for TC programs
 *
 * It returns NULL for a packet that the driver has no descriptor of. Before it
 * believes anything behind struct xdp_buff or around *xdp->rxq it has to prove that
 * they are the driver's. They are not in generic mode and under BPF_PROG_TEST_RUN,
 * where rxq is one of net_device._rx[], in programs of a cpumap or devmap, where it
 * is on the stack, and on another driver's device. In all but the last, rxq->dev may
 * well be this driver's device. What proves it is that the device itself has this
 * ring as number rxq->queue_index, and the ring this device.
 */
#define MD_DESCRIPTOR(type, ctx) \
	static __attribute__((noinline, used)) type *md_descriptor(ctx)

/*
 * MD_FIELD(field, from, descriptor[, ctx]) { ... } - reads a field of struct md_desc
 * @field: its name; the function returns its type, in the units and the byte order
 *	   that md_desc.h promises
 * @from: where it comes from and when it is there, for the report
 * @descriptor: the parameter that is what md_descriptor() returned, never NULL
 * @ctx: where it is needed, a second parameter, as that of the descriptor
 */
#define MD_FIELD(field, from, ...)					\
	static __attribute__((noinline, used))				\
	__attribute__((btf_decl_tag("from: " from)))			\
	__typeof__(((struct md_desc *)0)->field) md_field_##field(__VA_ARGS__)

/*
 * MD_PACKET_FIELD(field, from, descriptor[, ctx]) { ... } - the same, from the
 * bytes beside the packet
 *
 * For what the NIC puts in front of the packet or behind it. Programs overwrite
 * that when they move the packet or write metadata, and are not given the field
 * from there on.
 */
#define MD_PACKET_FIELD(field, from, ...)				\
	__attribute__((btf_decl_tag("packet")))				\
	MD_FIELD(field, from, __VA_ARGS__)

#ifndef __VMLINUX_H__

/* features: bits MD_NETIF_F_*, below */
struct net_device {
	__u64 features;
} __core;

enum xdp_mem_type {
	MEM_TYPE_XSK_BUFF_POOL = 3,
};

struct xdp_mem_info {
	__u32 type;
} __core;

struct xdp_rxq_info {
	struct net_device *dev;
	__u32 queue_index;
	struct xdp_mem_info mem;
} __core;

struct xdp_buff {
	void *data;
	void *data_end;
	void *data_meta;
	void *data_hard_start;
	struct xdp_rxq_info *rxq;
} __core;

struct cyclecounter {
	__u64 mask;
	__u32 mult;
	__u32 shift;
} __core;

struct timecounter {
	struct cyclecounter *cc;
	__u64 cycle_last;
	__u64 nsec;
	__u64 frac;
} __core;

#endif

/*
 * container_of(ptr, type, member) is libbpf's: with a __core type, by the
 * kernel's offset.
 */

/*
 * md_at(ptr, type, member) - the address of a member
 *
 * For a struct to go on from, or an array, of which it is that of element [0]; and for
 * what may lie farther behind ptr than the 32767 bytes that a load can say: the offset
 * is put into a register and added.
 */
#define md_at(ptr, type, member)					\
({									\
	__u64 __md_offset = bpf_core_field_offset(type, member);	\
									\
	asm("" : "+r"(__md_offset));					\
	(__typeof__(&((type *)0)->member))((char *)(ptr) + __md_offset);\
})

/*
 * md_element(base, type, i) - the address of element i of an array of structs
 *
 * base[i] would take this file's size of the struct.
 */
#define md_element(base, type, i)					\
	((type *)((char *)(base) + (__u64)bpf_core_type_size(type) * (i)))

/*
 * md_bits(ptr, member) - the value of a bit-field
 *
 * Of ptr->member only the load would follow the kernel, not the shifts.
 */
#define md_bits(ptr, member) BPF_CORE_READ_BITFIELD(ptr, member)

/* Numbers that the NIC writes in a byte order of its own. */
#define md_be16(x) bpf_ntohs(x)
#define md_be32(x) bpf_ntohl(x)
#define md_be64(x) bpf_be64_to_cpu(x)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define md_le16(x) ((__u16)(x))
#define md_le32(x) ((__u32)(x))
#define md_le64(x) ((__u64)(x))
#else
#define md_le16(x) __builtin_bswap16(x)
#define md_le32(x) __builtin_bswap32(x)
#define md_le64(x) __builtin_bswap64(x)
#endif

/* md_desc.vlan_proto: ETH_P_8021Q and ETH_P_8021AD in network byte order. */
#define MD_VLAN_CTAG bpf_htons(0x8100)
#define MD_VLAN_STAG bpf_htons(0x88a8)

/*
 * Bits of md_desc.hash_type, as enum xdp_rss_hash_type has them. They are numbers
 * here because kernels before 6.3 have no such enum.
 */
enum {
	MD_HASH_IPV4 = 1 << 0,
	MD_HASH_IPV6 = 1 << 1,
	MD_HASH_DYNHDR = 1 << 2,
	MD_HASH_L4 = 1 << 3,
	MD_HASH_TCP = MD_HASH_L4 | 1 << 4,
	MD_HASH_UDP = MD_HASH_L4 | 1 << 5,
	MD_HASH_SCTP = MD_HASH_L4 | 1 << 6,
	MD_HASH_IPSEC = MD_HASH_L4 | 1 << 7,
	MD_HASH_ICMP = MD_HASH_L4 | 1 << 8,
};

/*
 * Bits of net_device.features: what of the descriptor the stack would believe. With
 * a feature switched off ("ethtool -K eth0 rxhash off") many NICs go on writing
 * the descriptor as if it were on.
 *
 * NETIF_F_*_BIT are enumerators of an enum without a name, for which there is no
 * record. Their values were the same in 6.1, 6.12, 6.18 and 7.3.
 */
#define MD_NETIF_F_HW_VLAN_CTAG_RX (1ULL << 8)
#define MD_NETIF_F_RXHASH (1ULL << 39)
#define MD_NETIF_F_RXCSUM (1ULL << 40)
#define MD_NETIF_F_HW_VLAN_STAG_RX (1ULL << 46)

/* md_netdev_has(xdp, feature) - whether the device has a feature switched on */
static __always_inline bool md_netdev_has(struct xdp_buff *xdp, __u64 feature)
{
	return xdp->rxq->dev->features & feature;
}

/* since 6.10 */
struct net_device___priv {
	__u8 priv[0];
} __core;

/* md_netdev_priv(dev) - netdev_priv() of the kernel: before it was a member, what follows */
static __always_inline void *md_netdev_priv(struct net_device *dev)
{
	if (bpf_core_field_exists(struct net_device___priv, priv))
		return (char *)dev + bpf_core_field_offset(struct net_device___priv, priv);
	return (char *)dev + ((bpf_core_type_size(struct net_device) + 31) & ~31ULL);
}

/*
 * md_timecounter_ns(tc, cycles) - timecounter_cyc2time() of the kernel
 *
 * The driver's lock can't be taken here. Where it is a seqlock, its sequence has
 * to be read before and after, with a barrier() to either side; where it is a
 * spinlock, an update in between, once in some seconds, is not noticed.
 */
static __always_inline __u64 md_timecounter_ns(struct timecounter *tc, __u64 cycles)
{
	struct cyclecounter *cc = tc->cc;
	__u64 mask = cc->mask;
	__u64 ahead = (cycles - tc->cycle_last) & mask, behind = mask - ahead, ns;

	/* The stamp is older than the counter's last update. */
	if (ahead > behind) {
		ns = (behind + 1) * cc->mult - tc->frac;
		return tc->nsec - (ns >> (cc->shift & 63));
	}
	ns = ahead * cc->mult + tc->frac;
	return tc->nsec + (ns >> (cc->shift & 63));
}

/*
 * MD_START_FIELD(field, from) { ... } - reads a field when the program starts
 * @field: as in MD_FIELD, and so is @from
 *
 * Whenever the program reads it, and how often, it is what it was then. There is no
 * descriptor yet: this is for what helpers tell. One field of a file may be such.
 */
#define MD_START_FIELD(field, from)					\
	__attribute__((btf_decl_tag("start")))				\
	MD_FIELD(field, from, void)

#endif /* __MD_DRIVER_H__ */

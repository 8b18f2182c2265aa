/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Accessors of a driver that nobody has. kernel.c has its structs as its module would
 * have them, with everything in another place.
 */

#include "md_driver.h"

MD_DRIVER("nic nicvf");
MD_MODULE("nic_core");

struct net_device___index {
	int ifindex;
} __core;

enum nic_flags { NIC_HASHED = 1 };

struct nic_clock {
	__u64 base;
} __core;

struct nic_ring {
	struct nic_clock *clock;
	struct nic_ring *next;
	__u32 mask;
} __core;

struct nic_far {
	__u16 words[2];
} __core;

struct nic_rx {
	__u32 hash;
	__u16 flags;
	__s8 delta;
	__u8 low : 3;
	__u8 kind : 5;
	__be16 proto;
	struct nic_ring *ring;
	__u16 tci[4];
	__u32 absent;
	struct nic_far far;
} __core;

struct nic_buff {
	struct xdp_buff xdp;
	struct nic_rx *rx;
} __core;

static __always_inline int index_of(struct xdp_buff *xdp)
{
	return ((struct net_device___index *)xdp->rxq->dev)->ifindex;
}

MD_DESCRIPTOR(struct nic_rx, struct xdp_buff *xdp)
{
	return index_of(xdp) == 1 ? (struct nic_rx *)(long)(xdp->rxq->queue_index + 77) : NULL;
}

/* One load. */
MD_FIELD(hash, "nic_rx.hash", struct nic_rx *rx)
{
	return rx->hash;
}

/* Two loads from one place, with a branch between. */
MD_FIELD(hash_type, "nic_rx.kind", struct nic_rx *rx)
{
	if (!(rx->flags & NIC_HASHED))
		return 0;
	return md_bits(rx, kind);
}

/* Four hops, and a number that is there from before. */
MD_FIELD(rx_timestamp, "nic_clock.base", struct nic_rx *rx)
{
	return rx->ring->next->clock->base + rx->delta;
}

/* A table of the file's own. */
static const __u32 status[] = { 5, 6, 7, 9 };

MD_FIELD(csum_status, "nic_rx.flags", struct nic_rx *rx)
{
	return status[rx->flags >> 4 & 3];
}

/* By way of the stack; one address serves several loads. */
MD_FIELD(vlan_tci, "nic_rx.tci", struct nic_rx *rx)
{
	__u16 *tci = *md_at(rx, struct nic_rx, tci);
	volatile __u16 copy[4];

	for (int i = 0; i < 4; i++)
		copy[i] = tci[i];
	return rx->flags & 1 ? copy[1] : copy[2];
}

MD_FIELD(vlan_proto, "nic_rx.proto", struct nic_rx *rx)
{
	return rx->proto;
}

/* From ctx as well; what one load is from, a branch decides. */
MD_PACKET_FIELD(mark, "net_device.ifindex", struct nic_rx *rx, struct xdp_buff *xdp)
{
	struct nic_ring *ring = rx->ring;
	__u32 mark = index_of(xdp);

	if (bpf_core_field_exists(rx->absent))
		return rx->absent;
	return mark + (ring ? ring->mask : rx->hash);
}

/* Not there. */
MD_FIELD(csum, "nic_rx.absent", struct nic_rx *rx)
{
	return rx->absent;
}

/* Farther than a load reaches; and in front of an address. */
MD_FIELD(ptype, "nic_far.words", struct nic_rx *rx)
{
	__u16 *words = *md_at(rx, struct nic_rx, far.words);

	return (words[0] << 16 | words[1]) + ((__u32 *)(void *)rx->ring)[-1];
}

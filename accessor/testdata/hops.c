/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/* Accessors that differ in how many loads lead to the field. */

#include "md_driver.h"

MD_DRIVER("nic");

struct nic_clock {
	__u64 base;
} __core;

struct nic_ring {
	struct nic_clock *clock;
	struct nic_ring *next;
} __core;

struct nic_rx {
	__u32 hash;
	__u16 flags;
	struct nic_ring *ring;
} __core;

MD_DESCRIPTOR(struct nic_rx, struct xdp_buff *xdp)
{
	return NULL;
}

MD_FIELD(mark, "0 loads", struct nic_rx *rx)
{
	return 5;
}

MD_FIELD(hash, "1 load", struct nic_rx *rx)
{
	return rx->hash;
}

MD_FIELD(hash_type, "2 loads of one struct", struct nic_rx *rx)
{
	return rx->flags & 1 ? rx->hash : 0;
}

MD_FIELD(csum, "2 loads", struct nic_rx *rx)
{
	return (long)rx->ring->next;
}

MD_FIELD(rx_timestamp, "4 loads", struct nic_rx *rx)
{
	return rx->ring->next->clock->base;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* igb, with the descriptor of the packet after. */

#define md_descriptor right_descriptor
#include "drivers/igb.c"
#undef md_descriptor

MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	struct igb_ring *ring = igb_ring(xdp);
	__u32 index = ring->next_to_clean, count = ring->count;
	void *desc;

	index = index + 1 < count ? index + 1 : 0;
	desc = (char *)ring->desc + index * INTEL_DESC_SIZE;
	return intel_keep(desc, xdp->rxq->dev->features);
}

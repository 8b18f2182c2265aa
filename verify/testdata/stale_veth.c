// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* veth, with the packet before as the descriptor. */

#define md_descriptor right_descriptor
#include "drivers/veth.c"
#undef md_descriptor

struct ptr_ring {
	int consumer_head;
	int size;
	void **queue;
} __core;

struct veth_rq___ring {
	struct ptr_ring xdp_ring;
} __core;

MD_DESCRIPTOR(struct sk_buff, struct xdp_buff *xdp)
{
	struct veth_rq *rq = container_of(xdp->rxq, struct veth_rq, xdp_rxq);
	struct ptr_ring *ring = md_at((struct veth_rq___ring *)rq, struct veth_rq___ring, xdp_ring);
	__u32 before = ring->consumer_head;

	before = before >= 2 ? before - 2 : before + ring->size - 2;
	return ring->queue[before];
}

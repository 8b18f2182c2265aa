// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* vmxnet3, with the completion of the packet before. */

#define md_descriptor right_descriptor
#include "drivers/vmxnet3.c"
#undef md_descriptor

MD_DESCRIPTOR(union Vmxnet3_GenericDesc, struct xdp_buff *xdp)
{
	struct vmxnet3_rx_queue *rq = container_of(xdp->rxq, struct vmxnet3_rx_queue, xdp_rxq);
	__u32 next = rq->comp_ring.next2proc;

	return md_element(rq->comp_ring.base, union Vmxnet3_GenericDesc, next ? next - 1 : 0);
}

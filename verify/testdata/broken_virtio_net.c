// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* virtio_net, with what people get wrong. */

#include "drivers/virtio_net.c"
#include "broken.h"

/* the report itself */
BROKEN(hash_type, raw, struct virtio_net_hdr_v1_hash *hdr, struct xdp_buff *xdp)
{
	return virtio_hash_report(hdr, xdp);
}

/* the report one off */
BROKEN(ptype, shifted, struct virtio_net_hdr_v1_hash *hdr, struct xdp_buff *xdp)
{
	__u64 types = VIRTIO_REPORTS(1, MD_PTYPE_IPV4 | MD_PTYPE_TCP) |
		      VIRTIO_REPORTS(2, MD_PTYPE_IPV4 | MD_PTYPE_UDP) |
		      VIRTIO_REPORTS(3, MD_PTYPE_IPV6) |
		      VIRTIO_REPORTS(4, MD_PTYPE_IPV6 | MD_PTYPE_TCP) |
		      VIRTIO_REPORTS(5, MD_PTYPE_IPV6 | MD_PTYPE_UDP);

	return virtio_reported(types, hdr, xdp);
}

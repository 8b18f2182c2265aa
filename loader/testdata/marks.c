/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Accessors for veth, of packets that have a mark, and of no other field. */

#include "md_driver.h"

MD_DRIVER("veth");

struct sk_buff {
	__u32 mark;
} __core;

struct veth_xdp_buff {
	struct sk_buff *skb;
} __core;

MD_DESCRIPTOR(struct sk_buff, struct xdp_buff *xdp)
{
	struct sk_buff *skb = ((struct veth_xdp_buff *)xdp)->skb;

	return skb->mark ? skb : NULL;
}

MD_FIELD(mark, "sk_buff.mark", struct sk_buff *skb)
{
	return skb->mark;
}

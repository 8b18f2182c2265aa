// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* What observe.c reads of an skb besides. */

#include "md_driver.h"

MD_DRIVER("observe");

struct sk_buff {
	__u8 sw_hash : 1;
} __core;

MD_DESCRIPTOR(void, struct sk_buff *skb)
{
	return (void *)1;
}

static __attribute__((noinline, used))
__attribute__((btf_decl_tag("from: sk_buff.sw_hash: whether the stack computed the hash")))
__u32 md_field_sw_hash(void *desc, struct sk_buff *skb)
{
	return md_bits(skb, sw_hash);
}

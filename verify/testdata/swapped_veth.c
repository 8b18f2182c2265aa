// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* veth, with the hash the wrong way round. */

#define md_field_hash right_hash
#include "drivers/veth.c"
#undef md_field_hash

MD_FIELD(hash, "sk_buff.hash, the wrong way round", struct sk_buff *skb)
{
	return __builtin_bswap32(skb->hash);
}

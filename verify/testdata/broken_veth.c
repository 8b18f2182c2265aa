// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* veth, with what people get wrong. */

#include "drivers/veth.c"
#include "broken.h"

BROKEN(hash, swapped, struct sk_buff *skb)
{
	return __builtin_bswap32(skb->hash);
}

BROKEN(hash, masked, struct sk_buff *skb)
{
	return skb->hash & 0xffffff;
}

/* another member */
BROKEN(hash, mistaken, struct sk_buff *skb)
{
	return skb->mark;
}

BROKEN(hash, shifted, struct sk_buff *skb)
{
	return skb->hash >> 1;
}

BROKEN(hash_type, inverted, struct sk_buff *skb)
{
	return md_bits(skb, l4_hash) ? 0 : MD_HASH_L4;
}

BROKEN(hash_type, invented, struct sk_buff *skb)
{
	return MD_HASH_IPV6 | MD_HASH_TCP;
}

/* CHECKSUM_PARTIAL as it is */
BROKEN(csum_status, raw, struct sk_buff *skb)
{
	return md_bits(skb, ip_summed);
}

BROKEN(csum_status, always, struct sk_buff *skb)
{
	return MD_CSUM_UNNECESSARY;
}

BROKEN(vlan_tci, masked, struct sk_buff *skb)
{
	return skb_vlan_tci(skb) & 0xfff;
}

BROKEN(vlan_tci, swapped, struct sk_buff *skb)
{
	return __builtin_bswap16(skb_vlan_tci(skb));
}

BROKEN(vlan_proto, swapped, struct sk_buff *skb)
{
	return __builtin_bswap16(skb_vlan_proto(skb));
}

BROKEN(vlan_proto, always, struct sk_buff *skb)
{
	return MD_VLAN_CTAG;
}

BROKEN(mark, narrow, struct sk_buff *skb)
{
	return *(__u8 *)md_at(skb, struct sk_buff, mark);
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* TC programs of any device: ctx is the skb. */

#include "sk_buff.h"

MD_DRIVER("skb");
MD_LACKS(ptype, "no member of struct sk_buff");

/* Every packet has one. ctx is no number that could be returned. */
MD_DESCRIPTOR(void, struct sk_buff *skb)
{
	return (void *)1;
}

MD_FIELD(rx_timestamp, SKB_RX_TIMESTAMP, void *desc, struct sk_buff *skb)
{
	return skb_rx_timestamp(skb);
}

MD_FIELD(hash, SKB_HASH, void *desc, struct sk_buff *skb)
{
	return skb->hash;
}

MD_FIELD(hash_type, SKB_HASH_TYPE, void *desc, struct sk_buff *skb)
{
	return skb_hash_type(skb);
}

MD_FIELD(csum, SKB_CSUM, void *desc, struct sk_buff *skb)
{
	return skb_csum(skb);
}

MD_FIELD(csum_status, SKB_CSUM_STATUS, void *desc, struct sk_buff *skb)
{
	return skb_csum_status(skb);
}

MD_FIELD(vlan_tci, SKB_VLAN_TCI, void *desc, struct sk_buff *skb)
{
	return skb_vlan_tci(skb);
}

MD_FIELD(vlan_proto, SKB_VLAN_PROTO, void *desc, struct sk_buff *skb)
{
	return skb_vlan_proto(skb);
}

MD_FIELD(mark, SKB_MARK, void *desc, struct sk_buff *skb)
{
	return skb->mark;
}

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* igb, with what people get wrong. */

#include "drivers/igb.c"
#include "broken.h"

BROKEN(hash, swapped, void *found)
{
	return igb_rss_type(found) ? __builtin_bswap32(igb_desc(found)->wb.lower.hi_dword.rss) : 0;
}

/* hash without a look at its type */
BROKEN(hash, beside, void *found)
{
	return md_le32(igb_desc(found)->wb.upper.status_error);
}

BROKEN(hash_type, shifted, void *found)
{
	return IGB_TYPES >> 6 * (igb_rss_type(found) + 1) & 0x3f;
}

BROKEN(hash_type, raw, void *found)
{
	return igb_rss_type(found);
}

BROKEN(csum_status, inverted, void *found)
{
	__u32 status = md_le32(igb_desc(found)->wb.upper.status_error);

	return status & (IGB_TCPCS | IGB_UDPCS) ? MD_CSUM_NONE : MD_CSUM_UNNECESSARY;
}

/* without the error bits */
BROKEN(csum_status, hasty, void *found)
{
	__u32 status = md_le32(igb_desc(found)->wb.upper.status_error);

	return status & (IGB_TCPCS | IGB_UDPCS) ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

BROKEN(vlan_tci, swapped, void *found)
{
	if (!igb_has_tag(found, md_le32(igb_desc(found)->wb.upper.status_error)))
		return 0;
	return __builtin_bswap16(igb_desc(found)->wb.upper.vlan);
}

BROKEN(vlan_tci, masked, void *found)
{
	if (!igb_has_tag(found, md_le32(igb_desc(found)->wb.upper.status_error)))
		return 0;
	return md_le16(igb_desc(found)->wb.upper.vlan) & 0xfff;
}

BROKEN(vlan_proto, swapped, void *found)
{
	return igb_has_tag(found, md_le32(igb_desc(found)->wb.upper.status_error)) ? 0x8100 : 0;
}

/* by the bit beside */
BROKEN(vlan_proto, misjudged, void *found)
{
	return md_le32(igb_desc(found)->wb.upper.status_error) & IGB_IXSM ? 0 : MD_VLAN_CTAG;
}

/* a bit too low */
BROKEN(ptype, shifted, void *found)
{
	__u32 info = md_le16(igb_desc(found)->wb.lower.lo_dword.pkt_info) << 1;

	return (info & IGB_IPV6 ? MD_PTYPE_IPV6 : info & IGB_IPV4 ? MD_PTYPE_IPV4 : 0) |
	       (info & IGB_TCP ? MD_PTYPE_TCP : 0) |
	       (info & IGB_UDP ? MD_PTYPE_UDP : 0);
}

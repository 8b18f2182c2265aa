// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* igb, with what people get wrong. */

#include "drivers/igb.c"
#include "broken.h"

BROKEN(hash, swapped, void *found)
{
	return __builtin_bswap32(intel_adv_hash(found));
}

/* hash without a look at its type */
BROKEN(hash, beside, void *found)
{
	return intel_adv_upper(found);
}

BROKEN(hash_type, shifted, void *found)
{
	return INTEL_ADV_TYPES >> 6 * ((intel_adv_lower(found) & INTEL_ADV_RSS_TYPE) + 1) & 0x3f;
}

BROKEN(hash_type, raw, void *found)
{
	return intel_adv_lower(found) & INTEL_ADV_RSS_TYPE;
}

BROKEN(csum_status, inverted, void *found)
{
	return intel_adv_upper(found) & (IGB_TCPCS | IGB_UDPCS) ? MD_CSUM_NONE : MD_CSUM_UNNECESSARY;
}

/* without the error bits */
BROKEN(csum_status, hasty, void *found)
{
	return intel_adv_upper(found) & (IGB_TCPCS | IGB_UDPCS) ? MD_CSUM_UNNECESSARY : MD_CSUM_NONE;
}

BROKEN(vlan_tci, swapped, void *found)
{
	__u64 upper = intel_adv_upper(found);

	return intel_adv_has_tag(found, upper) ? __builtin_bswap16(intel_adv_tag(upper)) : 0;
}

BROKEN(vlan_tci, masked, void *found)
{
	__u64 upper = intel_adv_upper(found);

	return intel_adv_has_tag(found, upper) ? intel_adv_tag(upper) & 0xfff : 0;
}

BROKEN(vlan_proto, swapped, void *found)
{
	return intel_adv_has_tag(found, intel_adv_upper(found)) ? 0x8100 : 0;
}

/* by the bit beside */
BROKEN(vlan_proto, misjudged, void *found)
{
	return intel_adv_upper(found) & IGB_IXSM ? 0 : MD_VLAN_CTAG;
}

/* a bit too low */
BROKEN(ptype, shifted, void *found)
{
	return intel_adv_ptype(intel_adv_lower(found) << 1);
}

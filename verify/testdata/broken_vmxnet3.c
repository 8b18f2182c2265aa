// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/* vmxnet3, with what people get wrong. */

#include "drivers/vmxnet3.c"
#include "broken.h"

BROKEN(vlan_tci, swapped, union Vmxnet3_GenericDesc *desc)
{
	__u32 word = md_le32(desc->dword[2]);

	return word & VMXNET3_TS ? __builtin_bswap16(word >> VMXNET3_TCI_SHIFT) : 0;
}

/* by the bit beside */
BROKEN(vlan_proto, misjudged, union Vmxnet3_GenericDesc *desc)
{
	return md_le32(desc->dword[2]) & VMXNET3_TS >> 1 ? MD_VLAN_CTAG : 0;
}

BROKEN(csum_status, always, union Vmxnet3_GenericDesc *desc)
{
	return MD_CSUM_UNNECESSARY;
}

/* IPv4 for IPv6 */
BROKEN(ptype, shifted, union Vmxnet3_GenericDesc *desc)
{
	__u32 found = md_le32(desc->dword[3]) << 1;

	return found & VMXNET3_V4 ? MD_PTYPE_IPV4 : found & VMXNET3_V6 ? MD_PTYPE_IPV6 : 0;
}

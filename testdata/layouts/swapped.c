/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Byte orders that differ from the header's: a big-endian hash, and an
 * EtherType that the NIC has already turned into a number of the host.
 */

#include <linux/types.h>

struct md_desc {
	__u64 rx_timestamp;
	__be32 hash;
	__u32 hash_type;
	__u32 csum;
	__u32 csum_status;
	__u16 vlan_tci;
	__u16 vlan_proto;
	__u32 mark;
};

struct md_desc layout;

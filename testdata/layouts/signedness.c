/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A signed hash: the same bits, another number. */

#include <linux/types.h>

struct md_desc {
	__u64 rx_timestamp;
	__s32 hash;
	__u32 hash_type;
	__u32 csum;
	__u32 csum_status;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__u32 mark;
};

struct md_desc layout;

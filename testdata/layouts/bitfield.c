/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bit-fields where the header has plain fields. */

#include <linux/types.h>

struct md_desc {
	__u64 rx_timestamp;
	__u32 hash;
	__u32 hash_type : 9;
	__u32 mark : 20;
	__u32 csum;
	__u32 csum_status;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__u32 ptype;
	__u32 reserved;
};

struct md_desc layout;

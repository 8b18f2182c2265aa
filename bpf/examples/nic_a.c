/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The layout of a made-up NIC: everything in words of 32 bits. */

#include <linux/types.h>

struct md_desc {
	__u32 valid;
	__u32 mark;
	__u32 hash_type;
	__u32 hash;
	__u32 csum_status;
	__u32 csum;
	__u64 rx_timestamp;
	__be16 vlan_proto;
	__u16 vlan_tci;
	__u32 reserved;
};

/* Puts the struct into the BTF. */
struct md_desc layout;

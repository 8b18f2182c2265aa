/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The layout of a third made-up NIC: it knows all that struct md_desc has, some of it in
 * bit-fields.
 */

#include <linux/types.h>

struct md_desc {
	__u64 rx_timestamp;
	__u32 hash;
	__u32 mark;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__u32 hash_type : 9;
	__u32 ptype : 9;
	__u32 csum_status : 3;
	__u32 spare : 11;
	__u32 csum;
	__u32 reserved;
};

/* Puts the struct into the BTF. */
struct md_desc layout;

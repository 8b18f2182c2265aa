/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Two equal copies, as failed deduplication leaves them in a module's BTF:
 * they count as one.
 */

#include <linux/types.h>

struct md_desc___a {
	__u32 mark;
	__u32 hash_type;
	__u64 rx_timestamp;
	__u32 hash;
	__u16 vlan_tci;
	__be16 vlan_proto;
};

struct md_desc___b {
	__u32 mark;
	__u32 hash_type;
	__u64 rx_timestamp;
	__u32 hash;
	__u16 vlan_tci;
	__be16 vlan_proto;
};

struct md_desc___a layout_a;
struct md_desc___b layout_b;

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The layout of another made-up NIC: a completion entry of several formats,
 * with narrow fields, a mark wider than the header's, and no timestamp.
 */

#include <linux/types.h>

struct md_desc {
	__u8 format;
	__u8 hash_type;
	__u8 csum_status;
	__u8 owner;
	union {
		struct {
			__u16 vlan_tci;
			__be16 vlan_proto;
			union {
				struct {
					__u16 csum;
					__u16 length;
					__u32 hash;
				};
				__u64 inline_data;
			};
		};
		__u8 raw[12];
	};
	__u64 mark;
};

/* Puts the struct into the BTF. */
struct md_desc layout;

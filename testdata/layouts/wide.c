/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fields wider than the header's: a descriptor made of 64-bit words. */

#include <linux/types.h>

/* One value is beyond 32 bits, so BTF has it as an enum64. */
enum md_csum_status {
	MD_CSUM_NONE = 0,
	MD_CSUM_UNNECESSARY = 0x80000000,
	MD_CSUM_COMPLETE = 0x123456789abcdef0,
};

struct md_desc {
	__u64 mark;
	__u64 hash;
	__u64 hash_type;
	__u64 csum_status;
	__u64 csum;
	__u64 rx_timestamp;
	__u32 vlan_tci;
	__be16 vlan_proto;
	__u16 reserved;
	__u64 words[4];
	__u16 tag[8];
	struct {
		__u32 buffer;
		__u32 queue;
	} rx;
	union {
		__u64 flow;
		__u8 flow_bytes[8];
	};
	__u64 spare : 30;
	__u64 l3_ok : 3;
	__u64 queue_prio : 11;
	__s64 delta : 17;
	__u64 port;
	__s32 skew;
};

struct md_desc layout;
enum md_csum_status layout_csum_status;

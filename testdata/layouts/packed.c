/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packed: the header's widths at odd offsets. */

#include <linux/types.h>

/* A negative value makes the enum a signed one. */
enum md_csum_status {
	MD_CSUM_NONE = -1,
	MD_CSUM_UNNECESSARY = 0,
	MD_CSUM_COMPLETE = 1,
	MD_CSUM_BAD = 2,
};

struct md_desc {
	__u8 format;
	__u32 hash;
	__u64 rx_timestamp;
	__u8 status;
	__u8 tag[8];
	__u32 mark;
	__u16 vlan_tci;
	__u8 l3_ok : 1;
	__u8 queue_prio : 7;
	__be16 vlan_proto;
	struct {
		__u8 lane;
		__u16 queue;
	} __attribute__((packed)) rx;
	__u32 csum;
	__u32 words[4];
	__u8 spare : 2;
	__s8 delta : 5;
	union {
		__u32 flow;
		__u8 flow_bytes[4];
	};
	__u32 csum_status;
	__u32 port;
	__s32 skew;
	__u32 hash_type;
	__u32 ptype;
	__u32 reserved;
	__u8 trailer[1];
} __attribute__((packed));

struct md_desc layout;
enum md_csum_status layout_csum_status;

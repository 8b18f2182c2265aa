/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The header's widths in another order, with padding and reserved words. */

#include <linux/types.h>

enum md_csum_status {
	MD_CSUM_COMPLETE = 1,
	MD_CSUM_UNNECESSARY = 2,
	MD_CSUM_NONE = 4,
	MD_CSUM_BAD = 3,
};

struct md_desc {
	__be16 vlan_proto;
	__u16 vlan_tci;
	__u32 mark;
	__u8 tag[8];
	__u8 status;
	/* three bytes of padding */
	__u32 hash_type;
	__u32 spare : 3;
	__u32 l3_ok : 1;
	__u32 queue_prio : 7;
	__u32 spare2 : 9;
	__s32 delta : 5;
	__u32 hash;
	struct {
		__u16 buffer;
		__u16 queue;
	} rx;
	__u16 port16;
	/* two bytes of padding */
	__u32 port;
	__u64 rx_timestamp;
	__s32 skew;
	__u32 csum_status;
	__u32 words[4];
	union {
		__u32 flow;
		__u8 flow_bytes[4];
	};
	__u32 ptype;
	__u32 reserved;
	__u32 csum;
};

struct md_desc layout;
enum md_csum_status layout_csum_status;

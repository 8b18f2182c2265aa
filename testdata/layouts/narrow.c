/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fields narrower than the header's: a descriptor that saves every byte. */

#include <linux/types.h>

/* Has no word for a checksum that was only summed up. */
enum md_csum_status {
	MD_CSUM_NONE = 0,
	MD_CSUM_UNNECESSARY = 3,
};

struct md_desc {
	__u8 hash_type;
	__u8 csum_status;
	__u16 csum;
	__u32 rx_timestamp;
	__u16 mark;
	__u16 hash;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__u16 words[4];
	__u8 tag[8];
	struct {
		__u8 queue;
		__u8 buffer;
	} rx;
	union {
		__u16 flow;
		__u8 flow_bytes[2];
	};
	__u8 port;
	__u8 l3_ok : 1;
	__u8 queue_prio : 7;
	__s16 delta : 5;
	__s32 skew;
};

struct md_desc layout;
enum md_csum_status layout_csum_status;

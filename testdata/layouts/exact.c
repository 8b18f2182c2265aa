/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The very struct of bpf/md_desc.h: rewriting for it changes no instruction. */

#include <linux/types.h>

enum md_csum_status {
	MD_CSUM_NONE = 0,
	MD_CSUM_UNNECESSARY = 1,
	MD_CSUM_COMPLETE = 2,
	MD_CSUM_BAD = 4,
};

struct md_desc {
	__u64 rx_timestamp;
	__u32 hash;
	__u32 hash_type;
	__u32 csum;
	__u32 csum_status;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__u32 mark;
	__u32 ptype;
	__u32 reserved;
};

struct md_desc layout;
enum md_csum_status layout_csum_status;

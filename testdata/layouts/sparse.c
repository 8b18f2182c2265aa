/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A NIC that knows the hash and nothing else of what the header names. */

#include <linux/types.h>

/* Never says that it did not look. */
enum md_csum_status {
	MD_CSUM_UNNECESSARY = 1,
	MD_CSUM_COMPLETE = 2,
};

struct md_desc {
	__u32 reserved;
	/* An array too short for words[2]: that element is not there. */
	__u32 words[2];
	__u32 hash;
	__u8 tag[8];
	__u32 spare : 20;
	__u32 queue_prio : 7;
};

struct md_desc layout;
enum md_csum_status layout_csum_status;

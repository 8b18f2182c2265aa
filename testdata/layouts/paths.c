/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Five fields that the programs of paths.c have as __u32, each kept in another way. */

#include <linux/types.h>

struct md_desc {
	__u8 spare[3];
	__u8 small;
	__be32 swapped;
	__u64 large;
	__u32 : 6;
	__u32 nine : 9;
	__u32 : 0;
	__u32 plain;
};

struct md_desc layout;

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Two descriptors that agree on what both have. */

#include <linux/types.h>

struct md_desc___a {
	__u32 mark;
	__u32 hash;
};

struct md_desc___b {
	__u32 reserved;
	__u32 hash;
};

struct md_desc___a layout_a;
struct md_desc___b layout_b;

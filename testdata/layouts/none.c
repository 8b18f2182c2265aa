/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* BTF without any descriptor. */

#include <linux/types.h>

struct descriptor {
	__u32 hash;
	__u32 mark;
};

struct descriptor layout;

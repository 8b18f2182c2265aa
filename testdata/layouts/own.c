/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the header's struct has other fields, or ends: for programs that keep
 * copies of it.
 */

#include <linux/types.h>

struct md_desc {
	__u64 stamp;
	__u32 rest[5], hash, mark;
};

struct md_desc layout;

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The structs that programs/nests.c has, under another name and in other places. */

#include <linux/types.h>

struct fw_tag {
	__u16 vid;
	__u16 prio;
	__u8 marks[4];
};

enum color {
	COLOR_RED = 3,
	COLOR_BLUE = 9,
};

struct md_desc {
	struct fw_tag inner;
	__u32 spare;
	enum color color;
	struct {
		__u16 kind;
		__u16 length;
	} chunks[3];
	__be32 hash;
	struct fw_tag tags[4];
};

struct md_desc layout;

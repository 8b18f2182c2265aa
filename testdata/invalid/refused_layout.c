/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What refused.c does not fit. */

#include <linux/types.h>
#include <stdbool.h>

struct box {
	__u16 width;
	__u16 height;
};

struct same_box {
	__u32 width;
	__u32 height;
};

struct swapped_pair {
	__u16 second;
	__u16 first;
};

struct md_desc {
	struct box turned_struct;

	__be32 part_swapped_be;
	__le32 part_swapped_le;
	__u16 part_not_there;
	__u16 part_there;
	__s8 part_sign;
	__u16 part_somewhere;
	bool part_of_bool;
	__u32 part_beyond;

	__be32 macro_be;
	__le32 macro_le;
	__be16 macro_narrow_be;
	__le16 macro_narrow_le;
	__u32 : 3;
	__u32 macro : 24;
	__u32 : 0;

	struct box box_copied;
	struct same_box box_same;
	struct {
		__u16 width;
	} box_lacking;
	struct {
		__u32 width;
		__u32 height[1];
	} box_other;
	struct {
		__u16 narrow;
		__u32 wide;
	} either_box;
	__u32 too_many[3];
	struct {
		__u32 foreign : 6;
		__u32 : 26;
	} flags;
	struct {
		bool number;
	} part_of_copy;
	__u16 indexed[4];
	__u32 indexed_same[4];
	__u32 indexed_longer[5];
	__u32 indexed_shorter[3];
	__u32 walked_same[4];
	__u32 walked_longer[5];
	__u16 walked_narrow[4];
	__u32 end_read[4];

	struct swapped_pair nested;
	__u32 : 3;
	__u32 overlaid : 24;
	__u32 : 0;
	__u32 overlaid_same;

	__u32 atomic_same;
	__u64 atomic_wide;

	__u32 passed_same;
	__u64 passed_wide;
	__be32 passed_be;
	__le32 passed_le;
	__u32 passed_bits : 9;
	__u32 : 0;
	__s32 passed_signed;

	__u16 either_narrow;
	__u64 either_wide;
	__u32 either_same;
	__u32 either_too;
	__u16 or_global;

	__u16 shuffled_narrow;
	__u64 shuffled_wide;
	__u32 shuffled_same;
	__u32 shuffled_too;
	__u16 shuffled_among_1;
	__u16 shuffled_among_2;
	__u16 shuffled_among_3;
	__u16 shuffled_among_4;

	__u32 crowded : 9;
	__u32 : 0;

	__be64 split;
	__u64 tested;
	__u64 compared;

	__u32 not_behind;
	__u8 filler[40000];
	__u32 behind;
	__u32 far;
};

struct md_desc layout;

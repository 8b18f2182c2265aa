/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What refused.c does not fit. */

#include <linux/types.h>
#include <stdbool.h>

struct md_desc {
	__u32 be_here;
	__u32 le_here;
	__be32 be_there;
	__le32 le_there;
	__be32 be_stored;
	__be32 be_both;
	__be16 be_narrow;
	__le16 le_narrow;

	__u32 bits_there : 9;
	__u32 : 0;
	__u32 bits_here;
	__u32 : 13;
	__u32 bits_moved : 5;
	__u32 bits_resized : 7;
	__u32 bits_sign : 4;
	__u32 : 0;
	__u32 bits_whole_bytes : 6;
	__u32 : 0;

	__s32 signed_there;
	__u32 signed_here;
	__s16 signed_narrow;
	__s64 signed_wide;

	__u64 wide;
	__u64 wide_stored;
	__u16 narrow;
	__u16 narrow_stored;
	__u32 bool_here;
	bool bool_there;
	bool bool_stored;

	__u32 same_address;
	__u64 wide_address;
	__u16 narrow_address;
	__u32 same_atomic;
	__u64 wide_atomic;
	__u16 array[4];

	__u8 filler[40000];
	__u32 far;
};

struct md_desc layout;

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fields that all differ in more than their place from those of
 * programs/parts.c: named LOCAL_TARGET there.
 */

#include <linux/types.h>
#include <stdbool.h>

struct md_desc {
	/* 58 bits of 64 */
	__u64 be16_b40 : 40;
	__u32 u32_b9 : 9;
	__s32 : 6;
	__s32 unused : 3;
	__u64 : 0;

	/* 53 bits of 64 */
	__u32 u16_b20 : 20;
	__s32 u32_s12 : 12;
	__s32 s16_b21 : 21;
	__u64 : 0;

	/* 53 bits of 64 */
	__s32 be32_s20 : 20;
	__u64 split_u64_b33 : 33;
	__u64 : 0;

	__u8 u16_u8;
	__u16 u32_u16;
	__u8 u64_u8;
	__be32 u32_be32;
	__u32 be32_u32;
	__be16 u64_be16;
	__u64 u32_u64;
	__u64 u16_u64;
	__be64 u16_be64;
	__u32 be16_u32;
	__be64 be32_be64;
	__be32 be64_be32;
	__u16 le32_u16;
	__le64 u32_le64;
	__s8 s32_s8;
	__be32 s64_be32;
	__s64 s16_s64;
	__be64 s32_be64;
	__s16 u32_s16;
	__s16 be64_s16;

	bool u32_bool;
	bool be16_bool;

	__be32 split_u32_be32;
	__u16 split_be32_u16;
	__s64 split_s32_s64;
	__u16 split_u16_u16;
	__u8 spare[1];
} __attribute__((packed));

struct md_desc layout;

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fields that all differ in more than their place from those of
 * programs/shapes.c: named LOCAL_TARGET there.
 */

#include <linux/types.h>
#include <stdbool.h>

enum color { RED, GREEN = 200 } __attribute__((packed));
enum level { LOW = -1, HIGH = 0x100000000 };
enum depth { SHALLOW = 0, DEEP = 7 };

struct md_desc {
	/* 64 bits */
	__u8 u8_b3 : 3;
	__u64 u64_b40 : 40;
	__u32 u32_b9 : 9;
	__u32 be32_b12 : 12;

	/* 60 bits of 64 */
	__s32 s32_s7 : 7;
	__u16 u16_b10 : 10;
	__s32 u32_s5 : 5;
	__u32 bool_b1 : 1;
	__u32 b5_b5 : 5;
	__u32 b3_b7 : 7;
	__s32 s4_s6 : 6;
	__u32 b20_b13 : 13;
	__u32 s6_b6 : 6;
	__u32 : 4;

	/* 34 bits of 40 */
	__s32 b6_s6 : 6;
	__u32 bool_b3 : 3;
	__u32 m10_b5 : 5;
	__s32 ms5_s9 : 9;
	__u32 mu32_b11 : 11;
	__u32 : 6;

	__u16 be16_u16;
	__be16 u16_be16;
	__u32 be32_u32;
	__be32 u32_be32;
	__u64 be64_u64;
	__be64 u64_be64;
	__u16 le16_u16;
	__le32 u32_le32;
	__le32 be32_le32;
	__be16 be16_be16;
	__be32 be16_be32;
	__be16 be32_be16;
	__be32 s32_be32;
	__be16 s64_be16;

	__u8 u32_u8;
	__u64 u32_u64;
	__u32 u64_u32;
	__u16 u8_u16;
	__s8 s32_s8;
	__s32 s64_s32;
	__s64 s16_s64;
	__u16 s32_u16;
	__s16 u32_s16;
	__s32 u64_s32;
	__s32 u32_s32;
	__u8 s8_u8;

	__u32 bool_u32;
	__be16 bool_be16;
	bool bool_bool;
	bool u32_bool;
	bool s64_bool;

	__u32 b12_u32;
	__s8 s5_s8;
	__u16 b20_u16;
	__be32 b7_be32;
	__s64 s9_s64;
	bool b3_bool;
	__u16 m9_u16;

	__u16 words[3];
	__u16 octets[2];
	__be32 network[2];
	struct {
		__u8 pad;
		struct {
			__u32 value;
		} __attribute__((packed)) inner;
	} __attribute__((packed)) outer;
	enum color color;
	enum level level;
	enum depth depth;
	__be16 copied;
	__u16 present;
	__u16 pick_a, pick_b;
	__u8 spare[3];
} __attribute__((packed));

struct md_desc layout;

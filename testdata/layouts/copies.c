/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Structs and arrays that differ in their members from those of
 * programs/copies.c.
 */

#include <linux/types.h>
#include <stdbool.h>

enum color { RED, GREEN = 200 } __attribute__((packed));

struct small_point {
	__u8 y, x;
};

struct even {
	__u32 width;
	__u32 between;
	__u32 height;
};

struct md_desc {
	struct {
		__u16 height;
		__u16 width;
	} box;
	struct {
		__be64 stamp;
		__u16 port;
		__s8 level;
		__u32 first : 3;
		__u32 valid : 1;
		enum color color;
		__u8 octets[8];
	} __attribute__((packed)) mixed;
	struct {
		struct small_point points[3];
		__s64 depth;
		struct {
			__u32 left;
			__be16 right;
		} __attribute__((packed));
		__u16 only;
	} __attribute__((packed)) nested;
	struct {
		__u64 wide : 33;
		__u32 : 3;
		__s32 high : 20;
		__u8 low;
		__u32 middle : 12;
		bool flag;
		__u32 plain;
	} __attribute__((packed)) bits;
	struct {
		__s64 end;
		__be64 value;
		__u32 address;
		__u16 odd;
	} __attribute__((packed)) packed;
	struct {
		__u16 other;
		union {
			__u8 bytes[4];
			__u32 number;
		};
	} either;
	__u16 words[4];
	__u32 network[6];
	__u8 octets[8];
	struct small_point points[2];
	struct even moved;
	struct {
		__u32 low : 3;
		__u32 high : 5;
		__u32 : 4;
		__u32 wide : 12;
	} tight;
} __attribute__((packed));

struct md_desc layout;

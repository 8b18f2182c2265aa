/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What shapes.c is asked to fit. */

#include <linux/types.h>

enum small { SMALL_A, SMALL_B } __attribute__((packed));
enum large { LARGE_A, LARGE_B, LARGE_C = 0x100000000 };
enum below { BELOW = -1 };
enum level { LOW = -1, HIGH = 0x100000000 };

struct part {
	__u32 a;
	__u16 b;
	__u8 c[2];
};

struct counted {
	__u32 elements[2];
};

struct md_desc {
	__u8 first;
	__s16 signed_narrow;
	__s32 signed_same;
	__s32 signed_wide;
	__u16 signed_unsigned_narrow;
	__u64 signed_unsigned_wide;
	__s64 unsigned_signed_wide;

	enum small enum_narrow;
	enum large enum_wide;
	__u32 enum_integer;
	enum below enum_signed;
	void *pointer;
	__u8 constant_narrow;
	__u64 constant_wide;

	struct part part;
	__u8 bytes[8];
	__u16 bytes_wide[8];
	__u8 bytes_longer[16];
	__u32 grid[2][3];
	__u16 grid_narrow[2][3];
	__u32 behind[1];

	__u32 macro_same : 5;
	__u32 : 3;
	__u32 macro_moved : 5;
	__u32 macro_resized : 9;
	__u32 macro_signed : 5;
	__u32 : 0;
	__u16 macro_plain;
	__u32 macro_bits : 11;
	enum below macro_enum : 4;

	__u32 : 0;
	__u32 direct_same : 5;
	__u32 : 6;
	__u32 direct_nibble : 4;
	__u32 direct_stored : 6;
	__u32 : 0;
	struct {
		__u32 : 30;
		__u32 : 30;
		__u64 crossing : 20;
	} __attribute__((packed));

	__u8 before;
	__u16 elsewhere_low : 2;
	__u16 elsewhere_high : 6;
	__u32 after;
	enum level level;
};

struct md_desc layout;
struct counted layout_counted;

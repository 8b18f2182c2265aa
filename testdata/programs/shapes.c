/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An access of every shape that takes more than another offset, for
 * layouts/shapes.c. Fields are named LOCAL_TARGET after their types: bN and sN
 * are bit-fields of N bits, unsigned and signed.
 */

#include <stdbool.h>
#include "results.h"
#include "write_bitfield.h"

/* Byte order, width, sign, bool; and plain fields that are bit-fields there. */
#define PLAIN(DO)			\
	DO(__be16, be16_u16)		\
	DO(__u16, u16_be16)		\
	DO(__be32, be32_u32)		\
	DO(__u32, u32_be32)		\
	DO(__be64, be64_u64)		\
	DO(__u64, u64_be64)		\
	DO(__le16, le16_u16)		\
	DO(__u32, u32_le32)		\
	DO(__be32, be32_le32)		\
	DO(__be16, be16_be16)		\
	DO(__be16, be16_be32)		\
	DO(__be32, be32_be16)		\
	DO(__s32, s32_be32)		\
	DO(__s64, s64_be16)		\
	DO(__u32, u32_u8)		\
	DO(__u32, u32_u64)		\
	DO(__u64, u64_u32)		\
	DO(__u8, u8_u16)		\
	DO(__s32, s32_s8)		\
	DO(__s64, s64_s32)		\
	DO(__s16, s16_s64)		\
	DO(__s32, s32_u16)		\
	DO(__u32, u32_s16)		\
	DO(__u64, u64_s32)		\
	DO(__u32, u32_s32)		\
	DO(__s8, s8_u8)			\
	DO(bool, bool_u32)		\
	DO(bool, bool_be16)		\
	DO(bool, bool_b3)		\
	DO(bool, bool_b1)		\
	DO(bool, bool_bool)		\
	DO(__u32, u32_bool)		\
	DO(__s64, s64_bool)		\
	DO(__u8, u8_b3)			\
	DO(__u32, u32_b9)		\
	DO(__u64, u64_b40)		\
	DO(__be32, be32_b12)		\
	DO(__s32, s32_s7)		\
	DO(__u16, u16_b10)		\
	DO(__u32, u32_s5)

#define BITS(DO)			\
	DO(__u32, b12_u32, 12)		\
	DO(__s32, s5_s8, 5)		\
	DO(__u32, b20_u16, 20)		\
	DO(__u32, b7_be32, 7)		\
	DO(__s32, s9_s64, 9)		\
	DO(__u32, b3_bool, 3)		\
	DO(__u32, b5_b5, 5)		\
	DO(__u32, b3_b7, 3)		\
	DO(__s32, s4_s6, 4)		\
	DO(__u32, b20_b13, 20)		\
	DO(__s32, s6_b6, 6)		\
	DO(__u32, b6_s6, 6)

/* By BPF_CORE_READ_BITFIELD and BPF_CORE_WRITE_BITFIELD. */
#define MACRO(DO)			\
	DO(__u32, m10_b5, : 10)		\
	DO(__s32, ms5_s9, : 5)		\
	DO(__u32, m9_u16, : 9)		\
	DO(__u32, mu32_b11, )

/* clang 14 does not record that an enum is signed. */
#if __clang_major__ >= 15
#define SIGNED_ENUM(DO) DO(level, level)
#else
#define SIGNED_ENUM(DO)
#endif

/* A path, and what it is called in the names of variables. */
#define PATHS(DO)			\
	DO(words[2], words__2)		\
	DO(octets[1], octets__1)	\
	DO(network[1], network__1)	\
	DO(outer.inner.value, outer__inner__value) \
	DO(color, color)		\
	DO(depth, depth)		\
	SIGNED_ENUM(DO)

enum color { RED, GREEN = 200 };
enum level { LOW = -1, HIGH = 1 };
enum depth { SHALLOW = 0, DEEP = 0x100000000 };

#define DECLARE(type, name, ...)	type name __VA_ARGS__;
#define DECLARE_BITS(type, name, bits)	type name : bits;

struct md_desc___shapes {
	PLAIN(DECLARE)
	BITS(DECLARE_BITS)
	__u64 : 0;
	MACRO(DECLARE)
	__u32 words[4];
	__u8 octets[4];
	__u32 network[4];
	struct {
		struct {
			__u16 pad, value;
		} inner;
	} outer;
	enum color color;
	enum level level;
	enum depth depth;
	__u32 copied;
	__u32 absent;
	__u32 present;
	__u32 pick_a, pick_b;
} __attribute__((preserve_access_index));

#define VARIABLES(type, name, ...)	__u64 got_##name, in_##name;
#define PATH_VARIABLES(path, name)	__u64 got_##name, in_##name;
#define MACRO_VARIABLES(type, name, ...) __u64 macro_##name, in_##name;

PLAIN(VARIABLES)
BITS(VARIABLES)
MACRO(MACRO_VARIABLES)
PATHS(PATH_VARIABLES)
__u64 got_copied, in_copied;
__u64 got_absent_or_present;
__u64 got_pick, in_pick, in_pick_value;
__u64 got_sum;

#define LOAD(type, name, ...)		got_##name = md->name;
#define LOAD_MACRO(type, name, ...)	macro_##name = BPF_CORE_READ_BITFIELD(md, name);
#define LOAD_PATH(path, name)		got_##name = md->path;

#define STORE(type, name, ...)		md->name = in_##name;
#define STORE_MACRO(type, name, ...)	BPF_CORE_WRITE_BITFIELD(md, name, in_##name);
#define STORE_PATH(path, name)		md->path = in_##name;
#define STORE_CONSTANT(type, name, ...)	md->name = -2;

#define PROGRAM(name, ...) PROGRAM_OF(struct md_desc___shapes, name, __VA_ARGS__)

PROGRAM(load_plain, PLAIN(LOAD))
PROGRAM(load_bits, BITS(LOAD))
PROGRAM(load_macro, MACRO(LOAD_MACRO))
PROGRAM(load_paths, PATHS(LOAD_PATH))
PROGRAM(load_copied, { __builtin_memcpy(&got_copied, &md->copied, sizeof(md->copied)); })

PROGRAM(store_plain, PLAIN(STORE))
PROGRAM(store_bits, BITS(STORE))
PROGRAM(store_macro, MACRO(STORE_MACRO))
PROGRAM(store_paths, PATHS(STORE_PATH))
PROGRAM(store_copied, { __builtin_memcpy(&md->copied, &in_copied, sizeof(md->copied)); })
PROGRAM(store_constants, PLAIN(STORE_CONSTANT) BITS(STORE_CONSTANT))

/* Loads and stores with the offset in a register. */
PROGRAM(load_either, {
	got_absent_or_present = bpf_core_field_exists(md->absent) ? md->absent : md->present;
	got_pick = in_pick & 1 ? md->pick_a : md->pick_b;
})
PROGRAM(store_either, { *(in_pick & 1 ? &md->pick_a : &md->pick_b) = in_pick_value; })

/* A store that takes more registers than are free. */
PROGRAM(store_crowded, {
	__u64 a = in_u32_b9;
	__u64 b, c, d, e, f, g, h, i;

	asm volatile("%0 = 2; %1 = 3; %2 = 4; %3 = 5; %4 = 6; %5 = 7; %6 = 8; %7 = 9"
		     : "=r"(b), "=r"(c), "=r"(d), "=r"(e), "=r"(f), "=r"(g), "=r"(h), "=r"(i));
	md->u32_b9 = a;
	asm volatile("%0 += %1; %0 += %2; %0 += %3; %0 += %4; %0 += %5; %0 += %6; %0 += %7; %0 += %8"
		     : "+r"(a)
		     : "r"(b), "r"(c), "r"(d), "r"(e), "r"(f), "r"(g), "r"(h), "r"(i));
	got_sum = a;
})

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loads and stores of a part of a field, for layouts/parts.c. Fields are named
 * LOCAL_TARGET after their types: bN and sN are bit-fields of N bits, unsigned
 * and signed.
 */

#include <stdbool.h>
#include "results.h"

/* Those that can be written part by part, too. */
#define WRITABLE(DO)			\
	DO(__u16, u16_u8)		\
	DO(__u32, u32_u16)		\
	DO(__u64, u64_u8)		\
	DO(__u32, u32_be32)		\
	DO(__be32, be32_u32)		\
	DO(__u64, u64_be16)		\
	DO(__u32, u32_u64)		\
	DO(__u16, u16_u64)		\
	DO(__u16, u16_be64)		\
	DO(__be16, be16_u32)		\
	DO(__be32, be32_be64)		\
	DO(__be64, be64_be32)		\
	DO(__le32, le32_u16)		\
	DO(__u32, u32_le64)		\
	DO(__s32, s32_s8)		\
	DO(__s64, s64_be32)		\
	DO(__s16, s16_s64)		\
	DO(__s32, s32_be64)		\
	DO(__u32, u32_s16)		\
	DO(__be64, be64_s16)		\
	DO(__u32, u32_b9)		\
	DO(__u16, u16_b20)		\
	DO(__be16, be16_b40)		\
	DO(__s16, s16_b21)		\
	DO(__u32, u32_s12)		\
	DO(__be32, be32_s20)

#define READABLE(DO)			\
	WRITABLE(DO)			\
	DO(__u32, u32_bool)		\
	DO(__be16, be16_bool)

/* Of four bytes and more, that can be split into pairs. */
#define PAIRS(DO)			\
	DO(__u32, u32_u16)		\
	DO(__be32, be32_u32)		\
	DO(__u64, u64_be16)		\
	DO(__u32, u32_u64)		\
	DO(__be32, be32_be64)		\
	DO(__be64, be64_be32)		\
	DO(__s32, s32_s8)		\
	DO(__s32, s32_be64)		\
	DO(__be64, be64_s16)		\
	DO(__u32, u32_b9)		\
	DO(__be32, be32_s20)

/* In a packed struct, whose members clang loads and stores byte by byte. */
#define SPLIT(DO)			\
	DO(__u32, split_u32_be32)	\
	DO(__be32, split_be32_u16)	\
	DO(__s32, split_s32_s64)	\
	DO(__u64, split_u64_b33)	\
	DO(__u16, split_u16_u16)

#define DECLARE(type, name)	type name;

struct md_desc___parts {
	READABLE(DECLARE)
} __attribute__((preserve_access_index));

struct md_desc___split {
	__u8 odd;
	SPLIT(DECLARE)
} __attribute__((preserve_access_index, packed));

#define VARIABLES(type, name)	__u64 got_##name, in_##name;

READABLE(VARIABLES)
SPLIT(VARIABLES)

#define PAIR_VARIABLES(type, name)	__u64 pairs_##name;

PAIRS(PAIR_VARIABLES)

#define SIGNED_VARIABLES(type, name)	__u64 signed_##name;

READABLE(SIGNED_VARIABLES)

__u64 low_u32_be32, middle_s64_be32, high_s32_s8;

#define PART(type, of, index)	(((volatile type *)&(of))[index])

#define COPY(part, type, to, from)					\
	_Pragma("unroll")						\
	for (int i = 0; i < (int)(sizeof(type) / sizeof(part)); i++)	\
		PART(part, to, i) = PART(part, from, i);

#define LOAD_BYTES(type, name)	COPY(__u8, type, got_##name, md->name)
#define LOAD_PAIRS(type, name)	COPY(__u16, type, pairs_##name, md->name)
#define LOAD_SIGNED(type, name)	signed_##name = (__s64)PART(__s8, md->name, 1);
#define STORE_BYTES(type, name)	COPY(__u8, type, md->name, in_##name)
#define STORE_PAIRS(type, name)	COPY(__u16, type, md->name, in_##name)

/* From the last byte to the first one. */
#define STORE_BACK(type, name)						\
	_Pragma("unroll")						\
	for (int i = sizeof(type) - 1; i >= 0; i--)			\
		PART(__u8, md->name, i) = PART(__u8, in_##name, i);

#define STORE_SECOND(type, name)	PART(__u8, md->name, 1) = 0x83;

#define LOAD(type, name)		got_##name = md->name;
#define STORE(type, name)		md->name = in_##name;

#define PROGRAM(name, flavour, ...)	\
	PROGRAM_OF(struct md_desc___##flavour, name, __VA_ARGS__)

PROGRAM(load_bytes, parts, READABLE(LOAD_BYTES))
PROGRAM(load_pairs, parts, PAIRS(LOAD_PAIRS))
PROGRAM(load_signed, parts, READABLE(LOAD_SIGNED))
PROGRAM(load_split, split, SPLIT(LOAD))

/* What clang makes loads of one byte of. */
PROGRAM(load_some, parts, {
	low_u32_be32 = (__u8)md->u32_be32;
	middle_s64_be32 = (__u8)(md->s64_be32 >> 24);
	high_s32_s8 = (__u8)(md->s32_s8 >> 16);
})

PROGRAM(store_bytes, parts, WRITABLE(STORE_BYTES))
PROGRAM(store_back, parts, WRITABLE(STORE_BACK))
PROGRAM(store_pairs, parts, PAIRS(STORE_PAIRS))
PROGRAM(store_second, parts, WRITABLE(STORE_SECOND))
PROGRAM(store_split, split, SPLIT(STORE))

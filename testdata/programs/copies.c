/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copies of structs and arrays of which layouts/copies.c has the members
 * elsewhere, or as other types.
 */

#include <stdbool.h>
#include "results.h"

struct box {
	__u32 width;
	__u32 height;
};

enum color { RED, GREEN = 200 };

struct mixed {
	__u8 first;
	__be16 port;
	__s16 level;
	bool valid;
	enum color color;
	__u64 stamp;
	__u8 octets[6];
};

struct point {
	__u16 x, y;
};

struct nested {
	struct point points[3];
	struct {
		__s32 depth;
		struct {
			__u16 left, right;
		};
	};
	union {
		__u32 only;
	};
};

struct bits {
	__u32 low : 5;
	__u32 middle : 12;
	__s32 high : 15;
	__u64 wide : 40;
	__u16 plain;
	bool flag : 1;
};

struct packed {
	__u8 odd;
	__u64 value;
	__be32 address;
	__s16 end;
} __attribute__((packed));

struct either {
	union {
		__u32 number;
		__u8 bytes[4];
	};
	__u16 other;
};

struct tight {
	__u8 low;
	__u8 high;
	__u16 wide;
};

struct md_desc___copies {
	struct box box;
	struct mixed mixed;
	struct nested nested;
	struct bits bits;
	struct packed packed;
	struct either either;
	__u32 words[4];
	__be16 network[5];
	__u8 octets[7];
	struct point points[2];
	struct box moved;
	struct tight tight;
} __attribute__((preserve_access_index));

#define COPIES(DO)			\
	DO(struct box, box)		\
	DO(struct mixed, mixed)		\
	DO(struct nested, nested)	\
	DO(struct bits, bits)		\
	DO(struct tight, tight)		\
	DO(struct packed, packed)	\
	DO(struct either, either)	\
	DO(struct box, moved)

#define ARRAYS(DO)			\
	DO(__u32, words, 4)		\
	DO(__be16, network, 5)		\
	DO(__u8, octets, 7)		\
	DO(struct point, points, 2)

#define VARIABLE(type, name)		type got_##name, in_##name;
#define ARRAY_VARIABLE(type, name, length) type got_##name[length], in_##name[length];

COPIES(VARIABLE)
ARRAYS(ARRAY_VARIABLE)

#define LOAD(type, name, ...)	__builtin_memcpy(&got_##name, &md->name, sizeof(got_##name));
#define STORE(type, name, ...)	__builtin_memcpy(&md->name, &in_##name, sizeof(in_##name));
#define SET(type, name, ...)	__builtin_memset(&md->name, 1, sizeof(in_##name));
#define CLEAR(type, name, ...)	__builtin_memset(&md->name, 0, sizeof(in_##name));

#define PROGRAM(name, ...) PROGRAM_OF(struct md_desc___copies, name, __VA_ARGS__)

PROGRAM(load_structs, COPIES(LOAD))
PROGRAM(load_arrays, ARRAYS(LOAD))
PROGRAM(store_structs, COPIES(STORE))
PROGRAM(store_arrays, ARRAYS(STORE))
PROGRAM(set_structs, COPIES(SET))
PROGRAM(set_arrays, ARRAYS(SET))
PROGRAM(clear_structs, COPIES(CLEAR))
PROGRAM(clear_arrays, ARRAYS(CLEAR))

/* With a value in every register. */
#define OTHERS	"r"(b), "r"(c), "r"(d), "r"(e), "r"(f), "r"(g), "r"(h), "r"(i)

#define FILL								\
	__u64 b, c, d, e, f, g, h, i;					\
									\
	asm volatile("%0 = 2; %1 = 3; %2 = 4; %3 = 5; %4 = 6; %5 = 7; %6 = 8; %7 = 9" \
		     : "=r"(b), "=r"(c), "=r"(d), "=r"(e), "=r"(f), "=r"(g), "=r"(h), "=r"(i));

#define ADD_UP								\
	asm volatile("%0 += %1; %0 += %2; %0 += %3; %0 += %4; %0 += %5; %0 += %6; %0 += %7; %0 += %8" \
		     : "+r"(a) : OTHERS);

__u64 got_sum;

PROGRAM(load_crowded, {
	FILL
	__u64 a = *(__u64 *)&md->box;
	ADD_UP
	got_sum = a;
})
PROGRAM(store_crowded, {
	__u64 a = *(__u64 *)&in_box;
	FILL
	*(__u64 *)&md->box = a;
	ADD_UP
	got_sum = a;
})

/* One register is free, and what is copied is in one that nobody needs later. */
PROGRAM(store_tight, {
	__u32 a = *(volatile __u32 *)&in_tight;
	__u64 b;
	__u64 c, d, e, f, g, h;

	asm volatile("%0 = 2; %1 = 3; %2 = 4; %3 = 5; %4 = 6; %5 = 7; %6 = 8"
		     : "=r"(b), "=r"(c), "=r"(d), "=r"(e), "=r"(f), "=r"(g), "=r"(h));
	__builtin_memcpy(&md->tight, &a, sizeof(a));
	asm volatile("%0 += %1; %0 += %2; %0 += %3; %0 += %4; %0 += %5; %0 += %6"
		     : "+r"(b) : "r"(c), "r"(d), "r"(e), "r"(f), "r"(g), "r"(h));
})

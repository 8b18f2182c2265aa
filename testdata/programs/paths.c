/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Loads and stores that clang shares between fields, which of them being known
 * only at run time, for layouts/paths.c, where no two are kept in the same way.
 */

#include "results.h"

struct md_desc___paths {
	__u32 small;
	__u32 swapped;
	__u32 large;
	__u32 nine;
	__u32 plain;
} __attribute__((preserve_access_index));

__u64 in_pick, in_value;
__u32 in_global = 0x12345678;
__u64 got_two, got_three, got_pair_first, got_pair_second, got_sum, got_later,
      got_spilled, got_looped, got_in_turn, got_or_global, got_tested, got_twice, got_often;
__u32 got_global;

/* Not ours, but copied with the code around it. */
struct net_device {
	int mtu;
} __attribute__((preserve_access_index));
__u64 got_type_size;

#define PROGRAM(name, ...)	\
	PROGRAM_OF(struct md_desc___paths, name, __u64 pick = in_pick; __VA_ARGS__)

/* Keeps clang from knowing what it is. */
#define OPAQUE(pointer) asm volatile("" : "+r"(pointer))

PROGRAM(load_two, { got_two = pick & 1 ? md->small : md->swapped; })

PROGRAM(load_three, {
	switch (pick & 3) {
	case 0:
		got_three = md->small;
		break;
	case 1:
		got_three = md->swapped;
		break;
	default:
		got_three = md->nine;
	}
})

/* Two loads, and what one reads says nothing of the other. */
PROGRAM(load_pair, {
	if (pick & 1) {
		got_pair_first = md->small;
		got_pair_second = md->plain;
	} else {
		got_pair_first = md->large;
		got_pair_second = md->nine;
	}
})

/* A load with a record of its own is copied, too. */
PROGRAM(load_sum, { got_sum = (pick & 1 ? md->small : md->swapped) + (__u64)md->large; })
PROGRAM(load_type_size, {
	volatile __u32 *at = pick & 1 ? &md->small : &md->swapped;
	__u64 size = bpf_core_type_size(struct net_device);

	OPAQUE(size);
	got_type_size = size + *at;
})

/* The ways part again between the choice and the load. */
PROGRAM(load_later, {
	volatile __u32 *at = pick & 1 ? &md->small : &md->nine;

	if (pick & 2) {
		got_later = 1;
		if (pick & 4)
			got_later += *at;
	}
})

/* The address waits in the stack. */
PROGRAM(load_spilled, {
	volatile __u32 *volatile at = pick & 1 ? &md->swapped : &md->large;

	got_spilled = bpf_ktime_get_ns() & 0;
	got_spilled += *at;
})

/* The choice stays the same all the time. */
PROGRAM(load_looped, {
	volatile __u32 *at = pick & 1 ? &md->small : &md->swapped;

	got_looped = 0;
	for (int i = 0; i < 3; i++) {
		got_looped += *at;
		OPAQUE(i);
		if (i > 3)
			break;
	}
})

/* Another one each time. */
PROGRAM(load_in_turn, {
	volatile __u32 *one = &md->small, *other = &md->swapped, *next;
	__u64 sum = 0;

	for (int i = 0; i < (pick & 3); i++) {
		sum += *one;
		next = other;
		other = one;
		one = next;
	}
	got_in_turn = sum;
})

/* No field at all on one of the paths. */
PROGRAM(load_or_global, {
	volatile __u32 *at = pick & 1 ? &md->large : &in_global;

	got_or_global = *at;
})

/* The load is the last thing that the function does before it jumps back. */
PROGRAM(load_tested, {
	if (pick & 4 && (pick & 1 ? md->small : md->nine) > 7)
		got_tested = 1;
})

/* Two choices after each other, one of the four ways through them. */
PROGRAM(load_twice, {
	volatile __u32 *first = pick & 1 ? &md->small : &md->large;
	volatile __u32 *second = pick & 2 ? &md->nine : &md->swapped;

	got_twice = (__u64)*first << 32;
	got_twice += *second;
})

/* Many loads of what was chosen once. */
#define FOUR_OF(at) ((__u64)*at + *at + *at + *at)
PROGRAM(load_often, {
	volatile __u32 *at = pick & 1 ? &md->small : &md->swapped;

	got_often = FOUR_OF(at) + FOUR_OF(at) + FOUR_OF(at) + FOUR_OF(at) + FOUR_OF(at);
})

PROGRAM(store_two, { *(pick & 1 ? &md->small : &md->swapped) = in_value; })

PROGRAM(store_three, {
	*(pick & 2 ? &md->large : pick & 1 ? &md->nine : &md->plain) = in_value;
})

PROGRAM(store_constant, { *(pick & 1 ? &md->swapped : &md->nine) = 0x1234; })

PROGRAM(store_or_global, { *(pick & 1 ? &md->nine : &got_global) = in_value; })

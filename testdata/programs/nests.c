/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Accesses that clang breaks apart, so that what it records of them starts at a
 * struct within the descriptor, for layouts/nests.c.
 */

#include "results.h"

struct nic_tag {
	__u16 vid;
	__u16 prio;
	__u8 marks[4];
} __attribute__((preserve_access_index));

enum color {
	COLOR_RED = 1,
	COLOR_BLUE = 7,
};

struct md_desc___nests {
	__u32 hash;
	struct nic_tag tags[4];
	struct nic_tag inner;
	struct {
		__u16 kind;
		__u16 length;
	} chunks[3];
	enum color color;
} __attribute__((preserve_access_index));

/* The kernel's, of which the layout knows nothing. */
struct net_device {
	int mtu;
} __attribute__((preserve_access_index));

__u64 got_prios, got_lengths, got_prio, got_vid, got_mark, got_blue, got_tag_size, got_hash,
      got_device_size;
__u16 in_vid;

#define PROGRAM(name, ...) PROGRAM_OF(struct md_desc___nests, name, __VA_ARGS__)

#define OPAQUE(pointer) asm volatile("" : "+r"(pointer))

PROGRAM(load_prios, {
	__u64 sum = 0;

_Pragma("clang loop unroll(disable)")
	for (int i = 0; i < 4; i++)
		if (bpf_core_field_exists(md->tags[i].prio))
			sum = sum * 31 + md->tags[i].prio;
	got_prios = sum;
	got_hash = md->hash;
})

PROGRAM(load_lengths, {
	__u64 sum = 0;

_Pragma("clang loop unroll(disable)")
	for (int i = 0; i < 3; i++)
		sum = sum * 31 + md->chunks[i].length;
	got_lengths = sum;
})

static __attribute__((noinline)) __u64 prio(struct nic_tag *tag)
{
	OPAQUE(tag);
	return bpf_core_field_exists(tag->prio) ? tag->prio : 0xbad;
}

PROGRAM(load_prio, { got_prio = prio(&md->inner); })

PROGRAM(load_vid, {
	struct nic_tag *tag = &md->inner;

	OPAQUE(tag);
	got_vid = tag->vid;
	got_mark = tag->marks[2];
})

PROGRAM(load_blue, {
	got_blue = md->color == bpf_core_enum_value(enum color, COLOR_BLUE);
	got_tag_size = bpf_core_type_size(struct nic_tag);
	got_device_size = bpf_core_type_size(struct net_device);
})

static __attribute__((noinline)) void set_vid(struct nic_tag *tag)
{
	OPAQUE(tag);
	tag->vid = in_vid;
}

PROGRAM(store_vid, { set_vid(&md->inner); })

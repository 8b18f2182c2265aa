/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Accesses that can't be rewritten truthfully for the layout in
 * refused_layout.c, and beside them ones that can. The test reads the comments:
 *
 *	refused: REASON		accesses to the field have to be, for this reason
 *	refused el: REASON	in little endian; in big endian they are edited
 *	refused eb: REASON	the reverse
 *
 * All others have to be edited.
 */

#include <linux/bpf.h>
#include <stdbool.h>
#include "md_desc.h"

struct box {
	__u32 width;
	__u32 height;
};

struct either_box {
	union {
		__u32 wide;
		__u16 narrow;
	};
};

struct flags {
	__be32 foreign : 5;
	__u32 : 27;
};

struct held {
	__u32 number;
};

struct swapped_pair {
	__u16 first;
	__u16 second;
} __attribute__((preserve_access_index));

struct overlay {
	__u16 first;
	__u16 second;
} __attribute__((preserve_access_index));

struct md_desc___alias {
	__s32 part_sign;
} __attribute__((preserve_access_index));

struct md_desc___mine {
	__u32 gone;
	__u32 turned_struct;
	__u32 far;

	__u32 part_swapped_be;
	__u32 part_swapped_le;
	__u32 part_not_there;
	__u32 part_there;
	__s32 part_sign;
	__u32 part_somewhere;
	__u32 part_of_bool;
	__u32 part_beyond;

	__u32 macro_be : 20;
	__u32 macro_le : 20;
	__be32 macro_narrow_be;
	__le32 macro_narrow_le;
	__u32 macro : 20;

	struct box box_copied;
	struct box box_same;
	struct box box_lacking;
	struct box box_other;
	struct either_box either_box;
	__u32 too_many[4];
	struct flags flags;
	struct held part_of_copy;
	__u32 indexed[4];
	__u32 indexed_same[4];
	__u32 indexed_longer[4];
	__u32 indexed_shorter[4];
	__u32 walked_same[4];
	__u32 walked_longer[4];
	__u32 walked_narrow[4];
	__u32 walked_gone[4];
	__u32 end_read[4];

	struct swapped_pair nested;
	__u32 overlaid;
	__u32 overlaid_same;

	__u32 atomic_same;
	__u32 atomic_wide;

	__u32 passed_same;
	__u32 passed_wide;
	__u32 passed_be;
	__u32 passed_le;
	__u32 passed_bits;
	__u32 passed_signed;

	__u32 either_narrow;
	__u32 either_wide;
	__u32 either_same;
	__u32 either_too;
	__u32 or_global;

	__u32 shuffled_narrow;
	__u32 shuffled_wide;
	__u32 shuffled_same;
	__u32 shuffled_too;
	__u32 shuffled_among_1;
	__u32 shuffled_among_2;
	__u32 shuffled_among_3;
	__u32 shuffled_among_4;

	__u32 crowded;
	__u32 behind;
	__u32 not_behind;

	__u64 aligned;
	__u16 before;
	__u64 beside : 25;
	__s32 split : 16;

	__u32 beside_tested : 4;
	__u32 tested : 20;
	__u32 : 0;
	__u32 beside_compared : 4;
	__u32 compared : 20;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} map SEC(".maps");

#define TAKE(value)	asm volatile("" : : "r"(value))

/* All of a field, seen by the compiler as read. */
#define COPY(to, field)						\
	({							\
		__builtin_memcpy(&to, &(field), sizeof(to));	\
		asm volatile("" : : "r"(&to) : "memory");	\
	})

/* One byte of a field, counted from its address. */
#define BYTE(field, index) (((volatile __u8 *)&(field))[index])

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HIGHEST	3
#define LOWEST	0
#else
#define HIGHEST	0
#define LOWEST	3
#endif

SEC("xdp") int missing(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(md->gone);			/* refused: has no field gone, it has far, */
	TAKE(md->turned_struct);	/* refused: is struct box, which is no __u32 */
	return XDP_PASS;
}

SEC("xdp") int reach(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(md->far);			/* refused: does not fit into the instruction */
	return XDP_PASS;
}

/* Clang gives MOVs the line of a neighbour. */
SEC("xdp") int part(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	struct md_desc___alias *alias = (void *)md;

	if (!md)
		return XDP_PASS;
	TAKE(BYTE(md->part_swapped_be, 1));
	TAKE(BYTE(md->part_swapped_le, 1));
	TAKE(BYTE(md->part_not_there, HIGHEST));
	TAKE(BYTE(md->part_there, LOWEST));
	BYTE(alias->part_sign, LOWEST) = 1;
	TAKE(BYTE(md->part_sign, HIGHEST));	/* refused: has the sign only */
	TAKE(BYTE(md->part_somewhere, ctx->rx_queue_index & 3)); /* refused: at an index that is not constant */
	BYTE(md->part_of_bool, 1) = 1;	/* refused: holds whether it is 0 as a whole */
	TAKE(BYTE(md->part_beyond, 4)); /* refused: accesses bytes 4 to 4 of the field */
	return XDP_PASS;
}

SEC("xdp") int macro(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_be)); /* refused el: the byte order differs, and the bit-field macros */
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_le)); /* refused eb: the byte order differs, and the bit-field macros */
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_narrow_be)); /* refused el: the width in foreign byte order differs */
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_narrow_le)); /* refused eb: the width in foreign byte order differs */
	TAKE(BPF_CORE_READ_BITFIELD(md, macro));
	return XDP_PASS;
}

SEC("xdp") int whole(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	__u32 i = ctx->rx_queue_index;
	struct box box, same;
	struct either_box either;
	struct flags flags;
	__u32 more[4];

	if (!md)
		return XDP_PASS;
	box = md->box_copied;
	same = md->box_same;
	TAKE(box.width + box.height + same.width + same.height);
	box = md->box_lacking;		/* refused: {...} has no field height */
	TAKE(box.width + box.height);
	box = md->box_other;		/* refused: height of struct {...} is __u32[1], which is no __u32 */
	TAKE(box.width + box.height);
	either = md->either_box;	/* refused: nothing tells which member of union {...} is meant */
	TAKE(either.narrow + either.wide);
	COPY(more, md->too_many);	/* refused: __u32[3] has no element 3 */
	COPY(flags, md->flags);		/* refused el: is a bit-field in foreign byte order */
	BYTE(md->part_of_copy, 1) = 1;	/* refused: holds whether it is 0 as a whole */
	if (i < 4) {
		TAKE(md->indexed[i]);	/* refused: at an index that is not constant */
		TAKE(md->indexed_same[i]);
		TAKE(md->indexed_longer[i]);
		TAKE(md->indexed_shorter[i]);	/* refused: at an index that is not constant */
	}
	return XDP_PASS;
}

/* Walks that end one past the last element. */
SEC("xdp") int walk(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	__u32 sum = 0, *p;

	if (!md)
		return XDP_PASS;
	for (p = md->walked_same; p != &md->walked_same[4]; p++)
		sum = sum * 3 + *p;
	for (p = md->walked_longer;		/* refused: its address is computed with */
	     p != &md->walked_longer[4]; p++)	/* refused: __u32[5] does not end where __u32[4] does, and */
		sum = sum * 3 + *p;
	for (p = md->walked_narrow;		/* refused: its address is computed with */
	     p != &md->walked_narrow[4]; p++)	/* refused: __u16[4] does not end where __u32[4] does, and */
		sum = sum * 3 + *p;
	for (p = md->walked_gone;		/* refused: has no field walked_gone, it has */
	     p != &md->walked_gone[4]; p++)	/* refused: has no field walked_gone, it has */
		sum = sum * 3 + *p;
	TAKE(*(volatile __u32 *)&md->end_read[4]); /* refused: accesses 4 bytes, the field __u32[0] at */
	TAKE(sum);
	return XDP_PASS;
}

/* Structs that a pointer is kept to, so that their records name no descriptor. */
SEC("xdp") int kept(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	struct swapped_pair *swapped_pair;
	struct overlay *overlay;

	if (!md)
		return XDP_PASS;
	swapped_pair = &md->nested;
	asm volatile("" : "+r"(swapped_pair));
	TAKE(swapped_pair->first);	/* refused: nothing tells whether this is there or in a copy */
	overlay = (void *)&md->overlaid; /* refused: has a record about overlay->second, too, which is left to the loader */
	asm volatile("" : "+r"(overlay));
	TAKE(overlay->second);
	overlay = (void *)&md->overlaid_same;
	asm volatile("" : "+r"(overlay));
	TAKE(overlay->second);
	return XDP_PASS;
}

SEC("xdp") int atomic(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	__sync_fetch_and_add(&md->atomic_same, 1);
	__sync_fetch_and_add(&md->atomic_wide, 1); /* refused: needs a field of the same type */
	return XDP_PASS;
}

SEC("xdp") int passed(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	bpf_map_update_elem(&map, &md->passed_same, &md->passed_same, BPF_ANY);
	bpf_map_lookup_elem(&map, &md->passed_wide); /* refused: its address is passed to a function */
	bpf_map_lookup_elem(&map, &md->passed_be); /* refused el: its address is passed to a function */
	bpf_map_lookup_elem(&map, &md->passed_le); /* refused eb: its address is passed to a function */
	bpf_map_lookup_elem(&map, &md->passed_bits); /* refused: its address is passed to a function */
	bpf_map_lookup_elem(&map, &md->passed_signed);
	return XDP_PASS;
}

__u32 global;

/* One load, whichever it is: each path gets one of its own. */
SEC("xdp") int either(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	volatile __u32 *kept = &global;
	__u32 i = ctx->rx_queue_index;

	if (!md)
		return XDP_PASS;
	TAKE(i & 1 ? md->either_narrow : md->either_wide);
	TAKE(i & 2 ? md->either_same : md->either_too);
	if (i & 4)
		kept = &md->or_global;
	TAKE(*kept);
	return XDP_PASS;
}

#define SWAP(one, other)	\
	do {				\
		volatile __u32 *kept = one;	\
		one = other;		\
		other = kept;		\
	} while (0)

/* Any of five addresses in any order: too many paths to keep apart. */
SEC("xdp") int shuffle(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	__u32 n = ctx->rx_queue_index;
	volatile __u32 *a, *b, *c, *d, *e;

	if (!md)
		return XDP_PASS;
	a = &md->shuffled_narrow;	/* refused: is shared by several fields */
	b = &md->shuffled_wide;		/* refused: is shared by several fields */
	c = &md->shuffled_same;		/* refused: is shared by several fields */
	d = &md->shuffled_too;		/* refused: is shared by several fields */
	e = &global;
	do {
		TAKE(*a);
		if (n & 1)
			SWAP(a, b);
		SWAP(b, c);
		SWAP(c, d);
		SWAP(d, e);
		SWAP(e, a);
	} while (--n);
	return XDP_PASS;
}

/* One of them is no field, and they can't be kept apart either. */
SEC("xdp") int shuffle_global(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	__u32 n = ctx->rx_queue_index;
	volatile __u32 *a, *b, *c, *d, *e;

	if (!md)
		return XDP_PASS;
	a = &md->shuffled_among_1;	/* refused: also accesses what is no field of it */
	b = &md->shuffled_among_2;	/* refused: also accesses what is no field of it */
	c = &md->shuffled_among_3;	/* refused: also accesses what is no field of it */
	d = &md->shuffled_among_4;	/* refused: also accesses what is no field of it */
	e = &global;
	do {
		TAKE(*a);
		if (n & 1)
			SWAP(a, b);
		SWAP(b, c);
		SWAP(c, d);
		SWAP(d, e);
		SWAP(e, a);
	} while (--n);
	return XDP_PASS;
}

/* A check for the size of the struct above, and an offset in a register. */
SEC("xdp") int baked(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)(long)ctx->data_meta;

	if ((void *)(md + 1) > (void *)(long)ctx->data)
		return XDP_PASS;
	TAKE(ctx->rx_queue_index ?
	     md->behind :		/* refused: in the layout it ends at byte */
	     md->not_behind);
	return XDP_PASS;
}

/* Two loads, each as wide as the field, that have a part of it each. */
SEC("xdp") int halves(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE((__u64)md->split);
	return XDP_PASS;
}

/* A jump looks at some of 20 bits only. */
SEC("xdp") int jumps(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	asm volatile goto("if %0 & 8 goto %l[drop]" : :
			  "r"((__u64)md->tested) : : drop);
	asm volatile goto("if %0 == 8 goto %l[drop]" : : "r"((__u64)md->compared) : : drop);
	return XDP_PASS;
drop:
	return XDP_DROP;
}

/* A value in every register, and the end of the stack in use. */
SEC("xdp") int full(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	__u64 a, b, c, d, e, f, g, h, i;

	if (!md)
		return XDP_PASS;
	asm volatile("%0 = 1; %1 = 2; %2 = 3; %3 = 4; %4 = 5; %5 = 6; %6 = 7; %7 = 8; %8 = 9"
		     : "=r"(a), "=r"(b), "=r"(c), "=r"(d), "=r"(e),
		       "=r"(f), "=r"(g), "=r"(h), "=r"(i));
	md->crowded = a;		/* refused: neither a free register for them nor room on the stack */
	asm volatile("%0 += %1; %0 += %2; %0 += %3; %0 += %4; %0 += %5; %0 += %6; %0 += %7; %0 += %8;"
		     "*(u64 *)(r10 - 512) = %0"
		     : "+r"(a)
		     : "r"(b), "r"(c), "r"(d), "r"(e), "r"(f), "r"(g), "r"(h), "r"(i)
		     : "memory");
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Accesses that differ from the layout in shapes_layout.c in ways that no other
 * object here does, and some that don't differ.
 */

#include <linux/bpf.h>
#include "md_desc.h"

enum small { SMALL_A, SMALL_B };
enum large { LARGE_A, LARGE_B };
enum below { BELOW = -1 };

struct part {
	__u32 a;
	__u16 b;
	__u8 c[2];
};

struct counted {
	__u32 elements[4];
};

struct md_desc___shapes {
	__s32 signed_same;
	__s32 signed_narrow;
	__s16 signed_wide;
	__s32 signed_unsigned_narrow;
	__s32 signed_unsigned_wide;
	__u32 unsigned_signed_wide;

	enum small enum_narrow;
	enum large enum_wide;
	enum small enum_integer;
	enum below enum_signed;
	void *pointer;
	__u32 constant_narrow;
	__u32 constant_wide;

	struct part part;
	__u8 bytes[8];
	__u8 bytes_wide[8];
	__u8 bytes_longer[8];
	__u32 grid[2][3];
	__u32 grid_narrow[2][3];
	__u32 behind[2];

	__u32 macro_same : 5;
	__u32 macro_moved : 5;
	__u32 macro_resized : 5;
	__s32 macro_signed : 5;
	__u32 macro_plain : 5;
	__u32 macro_bits;
	enum below macro_enum : 4;

	__u32 direct_same : 5;
	__u32 direct_nibble : 4;
	__u32 direct_stored : 6;
} __attribute__((preserve_access_index));

/*
 * Bit-fields in byte 1, of which clang 19 records that they are in the aligned
 * word from byte 0 on, and loads one byte.
 */
struct md_desc___elsewhere {
	__u8 before;
	__u16 elsewhere_low : 2;
	__u16 elsewhere_high : 6;
	__u32 after;
} __attribute__((preserve_access_index));

#define TAKE(value)	asm volatile("" : : "r"((long)(value)))

static __always_inline struct md_desc___shapes *shapes(struct xdp_md *ctx)
{
	return (void *)md_desc(ctx);
}

SEC("xdp") int integers(struct xdp_md *ctx)
{
	struct md_desc___shapes *md = shapes(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(md->signed_same);
	TAKE(md->signed_narrow);
	TAKE(md->signed_wide);
	TAKE(md->signed_unsigned_narrow);
	TAKE(md->signed_unsigned_wide);
	TAKE(md->unsigned_signed_wide);
	TAKE(md->enum_narrow);
	TAKE(md->enum_wide);
	TAKE(md->enum_integer);
	TAKE(md->enum_signed);
	TAKE(md->pointer);
	md->constant_narrow = 7;
	md->constant_wide = 7;
	return XDP_PASS;
}

SEC("xdp") int aggregates(struct xdp_md *ctx)
{
	struct md_desc___shapes *md = shapes(ctx);
	struct part part;
	__u64 bytes, wide, longer;

	if (!md)
		return XDP_PASS;
	__builtin_memcpy(&part, &md->part, sizeof(part));
	TAKE(part.a);
	TAKE(part.b);
	__builtin_memcpy(&bytes, md->bytes, sizeof(bytes));
	TAKE(bytes);
	__builtin_memcpy(&wide, md->bytes_wide, sizeof(wide));
	TAKE(wide);
	__builtin_memcpy(&longer, md->bytes_longer, sizeof(longer));
	TAKE(longer);
	TAKE(md->part.c[1]);
	TAKE(md->grid[1][2]);
	TAKE(md->grid_narrow[1][2]);
	TAKE(md->behind[1]);
	return XDP_PASS;
}

SEC("xdp") int macros(struct xdp_md *ctx)
{
	struct md_desc___shapes *md = shapes(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_same));
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_moved));
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_resized));
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_signed));
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_plain));
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_bits));
	TAKE(BPF_CORE_READ_BITFIELD(md, macro_enum));
	return XDP_PASS;
}

SEC("xdp") int direct(struct xdp_md *ctx)
{
	struct md_desc___shapes *md = shapes(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(md->direct_same);
	TAKE(md->direct_nibble);
	md->direct_stored = ctx->rx_queue_index;
	return XDP_PASS;
}

SEC("xdp") int elsewhere(struct xdp_md *ctx)
{
	struct md_desc___elsewhere *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(md->before);
	TAKE(md->elsewhere_low);
	TAKE(md->elsewhere_high);
	return XDP_PASS;
}

SEC("xdp") int values(struct xdp_md *ctx)
{
	struct md_desc___shapes *md = shapes(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(bpf_core_field_offset(md->constant_wide));
	TAKE(bpf_core_field_size(md->constant_wide));
	TAKE(bpf_core_field_size(md->part));
	TAKE(bpf_core_field_exists(md->enum_integer));
	TAKE(__CORE_RELO(md, enum_signed, SIGNED));
	TAKE(__CORE_RELO(md, enum_narrow, SIGNED));
	TAKE(__CORE_RELO(md, bytes[2], LSHIFT_U64));
	TAKE(bpf_core_type_matches(struct part));
	TAKE(bpf_core_type_matches(struct counted));
	TAKE(bpf_core_type_matches(enum small));
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

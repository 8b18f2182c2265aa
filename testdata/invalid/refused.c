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

struct md_desc___mine {
	__be32 be_here;
	__le32 le_here;
	__u32 be_there;
	__u32 le_there;
	__u32 be_stored;
	__be32 be_both;
	__be32 be_narrow;
	__le32 le_narrow;

	__u32 bits_there;
	__u32 bits_here : 12;
	__u32 bits_moved : 5;
	__u32 bits_resized : 3;
	__s32 bits_sign : 4;
	__u32 bits_whole_bytes : 6;

	__u32 signed_there;
	__s32 signed_here;
	__s32 signed_narrow;
	__s32 signed_wide;

	__u32 wide;
	__u32 wide_stored;
	__u32 narrow;
	__u32 narrow_stored;
	bool bool_here;
	__u32 bool_there;
	__u32 bool_stored;
	__u32 far;

	__u32 same_address;
	__u32 wide_address;
	__u32 narrow_address;
	__u32 same_atomic;
	__u32 wide_atomic;
	__u32 array[4];
} __attribute__((preserve_access_index));

#define TAKE(value)	asm volatile("" : : "r"(value))

SEC("xdp") int byte_order(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(md->be_here);	/* refused el: the byte order differs */
	TAKE(md->le_here);	/* refused eb: the byte order differs */
	TAKE(md->be_there);	/* refused el: the byte order differs */
	TAKE(md->le_there);	/* refused eb: the byte order differs */
	TAKE(md->be_both);
	TAKE(md->be_narrow);	/* refused el: the width of a field in foreign byte order differs */
	TAKE(md->le_narrow);	/* refused eb: the width of a field in foreign byte order differs */
	md->be_stored = 1;	/* refused el: the byte order differs */
	return XDP_PASS;
}

SEC("xdp") int bit_fields(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(md->bits_there);	/* refused: only one of the two is a bit-field */
	TAKE(md->bits_here);	/* refused: only one of the two is a bit-field */
	TAKE(md->bits_moved);	/* refused: the bit-field differs in its place within the byte */
	TAKE(md->bits_resized);	/* refused: the bit-field differs in size */
	TAKE(md->bits_sign);	/* refused: the bit-field differs in sign */
	TAKE(md->bits_whole_bytes);
	return XDP_PASS;
}

SEC("xdp") int sign(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(md->signed_there);	/* refused: the sign differs */
	TAKE(md->signed_here);	/* refused: the sign differs */
	TAKE(md->signed_narrow); /* refused: the width of a signed field differs */
	TAKE(md->signed_wide);
	return XDP_PASS;
}

SEC("xdp") int width(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	__u32 value = ctx->rx_queue_index;

	if (!md)
		return XDP_PASS;
	TAKE(md->wide);
	TAKE(md->narrow);
	TAKE(md->bool_there);
	TAKE(md->bool_here);	/* refused: the types differ */
	TAKE(md->far);		/* refused: does not fit into the instruction */
	md->wide_stored = value; /* refused: would leave the upper bytes */
	md->narrow_stored = value;
	md->bool_stored = value; /* refused: the types differ */
	return XDP_PASS;
}

/* Clang gives these MOVs the line of a neighbour. */
SEC("xdp") int address(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);
	__u32 i = ctx->rx_queue_index;

	if (!md)
		return XDP_PASS;
	TAKE(&md->same_address);
	TAKE(&md->wide_address); /* refused: its offset is kept in a register */
	TAKE(&md->narrow_address); /* refused: its offset is kept in a register */
	__sync_fetch_and_add(&md->same_atomic, 1);
	__sync_fetch_and_add(&md->wide_atomic, 1); /* refused: its offset is kept in a register */
	if (i < 4)
		TAKE(md->array[i]); /* refused: its offset is kept in a register */
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The shapes in which programs ask whether a field is there. In each function
 * what reads md->mark is guarded, and what reads md->csum is not, unless its
 * name says otherwise.
 */

#include <linux/bpf.h>
#include "md_desc.h"

#define has(field) bpf_core_field_exists(md->field)

#define PROGRAM(name)							     \
	static __always_inline int name##_body(struct xdp_md *ctx,	     \
					       struct md_desc *md);	     \
	SEC("xdp") int name(struct xdp_md *ctx)				     \
	{								     \
		struct md_desc *md = md_desc(ctx);			     \
									     \
		return md ? name##_body(ctx, md) : XDP_PASS;		     \
	}								     \
	static __always_inline int name##_body(struct xdp_md *ctx,	     \
					       struct md_desc *md)

char _license[] SEC("license") = "GPL";

__u64 got;
__u32 wanted;

PROGRAM(plain_if)
{
	if (has(mark))
		got = md->mark;
	return XDP_PASS;
}

PROGRAM(nested_ifs)
{
	if (has(hash)) {
		got = md->hash;
		if (ctx->rx_queue_index > 3) {
			got++;
			if (has(mark))
				got += md->mark;
		}
	}
	return XDP_PASS;
}

PROGRAM(both)
{
	if (has(hash) && has(mark) && md->hash > 7)
		got = md->mark;
	return XDP_PASS;
}

PROGRAM(either)
{
	if (!has(hash) || !has(mark))
		return XDP_DROP;
	got = md->mark + md->hash;
	return XDP_PASS;
}

PROGRAM(early_return)
{
	if (!has(mark))
		return XDP_DROP;
	got = bpf_ktime_get_ns();
	if (got & 1)
		got += md->mark;
	return XDP_PASS;
}

PROGRAM(ternary)
{
	got = has(mark) ? md->mark : 7;
	return XDP_PASS;
}

PROGRAM(flag)
{
	int usable = has(hash) && has(mark);

	got = bpf_ktime_get_ns();
	if (usable)
		got += md->mark;
	bpf_ktime_get_ns();
	if (usable && wanted)
		got += md->mark;
	return XDP_PASS;
}

PROGRAM(bits)
{
	__u32 fields = has(hash) | has(mark) << 1 | (ctx->rx_queue_index & 1) << 2;

	got = bpf_ktime_get_ns();
	if (fields & 4)
		got++;
	if (fields & 2)
		got += md->mark;
	return XDP_PASS;
}

/* Volatile makes the compiler keep the flag in the stack. */
PROGRAM(spilled)
{
	volatile int usable = has(mark);

	got = bpf_ktime_get_ns();
	if (usable)
		got += md->mark;
	return XDP_PASS;
}

PROGRAM(negated)
{
	__u64 missing = !has(mark);

	asm volatile("" : "+r"(missing));
	got = bpf_ktime_get_ns();
	if (missing ^ 1)
		got += md->mark;
	return XDP_PASS;
}

PROGRAM(switched)
{
	int kind = has(mark) * 2 + has(hash);

	asm volatile("" : "+r"(kind));
	switch (kind) {
	case 0:
		got = 1;
		break;
	case 1:
		got = md->hash;
		break;
	case 2:
		got = md->mark;
		break;
	case 3:
		got = md->mark ^ md->hash;
		break;
	}
	return XDP_PASS;
}

PROGRAM(sized)
{
	if (bpf_core_field_size(md->mark) == 4 && has(mark))
		got = md->mark;
	return XDP_PASS;
}

/*
 * The test that guards csum is made under a condition that is asked twice. The
 * empty asm keeps the compiler from noticing.
 */
PROGRAM(asked_twice)
{
	__u32 want = wanted;

	if (want && !has(csum))
		return XDP_DROP;
	asm volatile("" : "+r"(want));
	got = bpf_ktime_get_ns();
	if (want)
		got += md->csum;
	return XDP_PASS;
}

PROGRAM(unguarded)
{
	if (has(hash))
		got = md->hash;
	got += md->csum;
	return XDP_PASS;
}

PROGRAM(wrong_guard)
{
	if (has(hash))
		got = md->csum;
	return XDP_PASS;
}

PROGRAM(after_guard)
{
	if (has(mark))
		got = md->mark;
	if (ctx->rx_queue_index == 2)
		got += md->csum;
	return XDP_PASS;
}

/* The verifier can't see through a map value either. */
PROGRAM(remembered)
{
	wanted = has(csum);
	bpf_ktime_get_ns();
	asm volatile("" ::: "memory");
	if (wanted)
		got = md->csum;
	return XDP_PASS;
}

static __noinline int read_mark(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return 0;
	return md->mark;
}

SEC("xdp") int subprogram(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md && has(mark))
		got = read_mark(ctx);
	return XDP_PASS;
}

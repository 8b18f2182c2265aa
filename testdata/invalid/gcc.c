/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One access in each program, compiled by GCC 12, which records it or not, and
 * not always where it is. It has none of the builtins that md_desc.h asks the
 * layout's size with.
 */

#include <linux/bpf.h>

struct rx {
	__u16 queue, ring;
};

struct md_desc___gcc {
	__u64 rx_timestamp;
	__u32 hash;
	__s32 skew;
	__u32 words[4];
	struct rx rx;
	union {
		__u32 flow;
		__u16 port;
	};
	__u32 queue_prio : 7;
} __attribute__((preserve_access_index));

/* Of more variables than one GCC 12 sorts the BTF by where its memory is. */
struct {
	__u32 in;
	__u64 got;
	__s64 got_signed;
} results;

#define PROGRAM(name, access)						\
	__attribute__((section("xdp"), used))				\
	int name(struct xdp_md *ctx)					\
	{								\
		struct md_desc___gcc *md = (void *)(long)ctx->data_meta; \
									\
		if ((void *)(md + 1) > (void *)(long)ctx->data)		\
			return XDP_PASS;				\
		access;							\
		return XDP_PASS;					\
	}

PROGRAM(load_u64, results.got = md->rx_timestamp)
PROGRAM(load_u32, results.got = md->hash)
PROGRAM(load_s32, results.got_signed = md->skew)
PROGRAM(load_element, results.got = md->words[2])
PROGRAM(load_nested, results.got = md->rx.ring)
PROGRAM(load_union, results.got = md->port)
PROGRAM(load_bits, results.got = md->queue_prio)
PROGRAM(store_constant, md->hash = 5)
PROGRAM(store_u32, md->hash = results.in)

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Functions, callbacks and variables that are called the same in each file and are each
 * file's own.
 */

#include <linux/bpf.h>
#include "md_desc.h"

#define JOIN(a, b) __JOIN(a, b)
#define __JOIN(a, b) a##b

char LICENSE[] SEC("license") = "GPL";

__u64 JOIN(got_picked_, FILE), JOIN(got_steps_, FILE), JOIN(got_count_, FILE);

static volatile __u64 count, start = 100 * FILE;
static const volatile __u64 factor = FILE;

static __noinline __u32 pick(struct md_desc *md)
{
	static volatile __u32 calls = 7;

	return md->FIELD + calls + FILE;
}

static long step(__u32 index, __u64 *sum)
{
	*sum += index * FILE;
	return 0;
}

SEC("xdp") int JOIN(program_, FILE)(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u64 sum = 0;

	if (!md)
		return XDP_DROP;
	JOIN(got_picked_, FILE) = pick(md);
	count += md->FIELD;
	start++;
	JOIN(got_count_, FILE) = count * factor + start;
	bpf_loop(4, step, &sum, 0);
	JOIN(got_steps_, FILE) = sum;
	return XDP_PASS;
}

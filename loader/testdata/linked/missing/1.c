/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is not chosen accesses what no layout has, and is in front of everything else. */

#include <linux/bpf.h>
#include "md_desc.h"

struct md_desc___other {
	__u64 nowhere;
	struct {
		__u32 part;
	} csum;
} __attribute__((preserve_access_index));

char LICENSE[] SEC("license") = "GPL";

__u64 got_1;

__weak __noinline __u32 chosen(struct xdp_md *ctx)
{
	struct md_desc___other *other = (void *)md_desc(ctx);

	return other ? other->nowhere + other->csum.part : 0;
}

SEC("xdp") int program_1(struct xdp_md *ctx)
{
	got_1 = chosen(ctx);
	return XDP_PASS;
}

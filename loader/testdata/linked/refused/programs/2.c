/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

__u64 got_2;

static __attribute__((used)) SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		got_2 = md->hash;
	return XDP_PASS;
}

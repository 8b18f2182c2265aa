/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The first string is the license, with which no program may call the helper. */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "Proprietary";
static char also[] __attribute__((used)) SEC("license") = "GPL";

__u64 got;

SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 copy;

	if (!md)
		return XDP_DROP;
	bpf_probe_read_kernel(&copy, sizeof(copy), &got);
	got = md->hash;
	return XDP_PASS;
}

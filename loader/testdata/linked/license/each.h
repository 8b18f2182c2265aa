/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The first string is the license. Only with that one may a program call the helper. */

#include <linux/bpf.h>
#include "md_desc.h"

#define JOIN(a, b) __JOIN(a, b)
#define __JOIN(a, b) a##b

char LICENSE[] SEC("license") = "GPL";
static char also[] __attribute__((used)) SEC("license") = "Proprietary";
char JOIN(text_, FILE)[] SEC("license_text") = "The text of a license.";

__u64 JOIN(got_, FILE);

SEC("xdp") int JOIN(program_, FILE)(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 copy;

	if (!md)
		return XDP_DROP;
	bpf_probe_read_kernel(&copy, sizeof(copy), &JOIN(got_, FILE));
	JOIN(got_, FILE) = md->FIELD + FILE;
	return XDP_PASS;
}

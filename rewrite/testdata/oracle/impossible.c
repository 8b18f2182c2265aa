/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A bit-field that no single load reads in the layout in shapes_layout.c. */

#include <linux/bpf.h>
#include "md_desc.h"

struct md_desc___impossible {
	__u64 crossing : 20;
} __attribute__((preserve_access_index));

#define TAKE(value)	asm volatile("" : : "r"(value))

SEC("xdp") int impossible(struct xdp_md *ctx)
{
	struct md_desc___impossible *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	TAKE(__CORE_RELO(md, crossing, BYTE_SIZE));
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

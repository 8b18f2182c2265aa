/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads an enum that layouts/shapes.c has wider. clang 14 does not record that
 * it is signed.
 */

#include <linux/bpf.h>
#include "md_desc.h"

enum level { LOW = -1, HIGH = 1 };

struct md_desc___mine {
	enum level level;
} __attribute__((preserve_access_index));

SEC("xdp") int enumeration(struct xdp_md *ctx)
{
	struct md_desc___mine *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	return md->level == LOW ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An enumeration that clang 14 does not record the sign of. */

#include <linux/bpf.h>
#include "md_desc.h"

enum level { LOW = -1, HIGH = 1 };

struct md_desc___enum {
	enum level level;
} __attribute__((preserve_access_index));

SEC("xdp") int enums(struct xdp_md *ctx)
{
	struct md_desc___enum *md = (void *)md_desc(ctx);

	if (!md)
		return XDP_PASS;
	if (md->level == LOW)
		md->level = HIGH;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* No other option than one that no kernel has. */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

extern short CONFIG_DOES_NOT_EXIST __kconfig __weak;

__u64 got_absent, got_mark;

SEC("xdp") int program_1(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_DROP;
	got_mark = md->mark;
	got_absent = CONFIG_DOES_NOT_EXIST + 1;
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

#include <linux/bpf.h>
#include "md_desc.h"

char LICENSE[] SEC("license") = "GPL";

extern int CONFIG_DOES_NOT_EXIST __kconfig;
extern int CONFIG_NEITHER_DOES_THIS __kconfig __weak;

__u64 got;

SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		got = md->hash + CONFIG_DOES_NOT_EXIST + CONFIG_NEITHER_DOES_THIS;
	return XDP_PASS;
}

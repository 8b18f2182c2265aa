/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Has types of its own to bring into the kernel, and no maps. */

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct mine {
	__u32 number;
};

SEC("xdp") int typed(struct xdp_md *ctx)
{
	return bpf_core_type_id_local(struct mine) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls a kfunc that has another prototype in the kernel. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int bpf_cast_to_kern_ctx(int packet) __ksym;

SEC("xdp") int wrong(struct xdp_md *ctx)
{
	return bpf_cast_to_kern_ctx(1);
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __AREA_H__
#define __AREA_H__

/* Programs that take random metadata and leave what they made of it in .bss. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

#define WORDS 8

/* area_of returns the metadata area as words, or NULL. */
static __always_inline __u32 *area_of(struct xdp_md *ctx)
{
	__u32 *area = (void *)(long)ctx->data_meta;

	if ((void *)(area + WORDS) > (void *)(long)ctx->data)
		return 0;
	return area;
}

#endif /* __AREA_H__ */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __COST_H__
#define __COST_H__

/* What the generated programs share. */

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

/* Where values come from and go to. */
__u64 in_unsigned, out_unsigned;
__s64 in_signed, out_signed;

/*
 * A program whose body accesses "md", the metadata area as a struct. The bounds
 * are the same whether accesses are recorded or not.
 */
#define PROGRAM(name, type, body)					\
	SEC("xdp") int name(struct xdp_md *ctx)				\
	{								\
		type *md = (void *)(long)ctx->data_meta;		\
									\
		if ((void *)md + 64 > (void *)(long)ctx->data)		\
			return XDP_PASS;				\
		body							\
		return XDP_PASS;					\
	}

#endif /* __COST_H__ */

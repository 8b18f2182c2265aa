// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * What observe.c reads of any driver's descriptor: its bytes, from a multiple of 8 on, and the
 * lower bits of its address, in which some drivers' accessors keep something. And of the
 * device: its features.
 */

#include "md_driver.h"

MD_DRIVER("observe");

struct words {
	__u64 at[8];
};

MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	return (void *)1;
}

#define WORD_ALIGNED(desc) ((struct words *)((__u64)(desc) & ~7ULL))

#define MD_OBSERVED(type, field, ...)					\
	static __attribute__((noinline, used))				\
	__attribute__((btf_decl_tag("from: the descriptor")))		\
	type md_field_##field(__VA_ARGS__)

#define MD_WORD(i)							\
	MD_OBSERVED(__u64, word##i, void *desc)				\
	{								\
		return WORD_ALIGNED(desc)->at[i];			\
	}

MD_WORD(0)
MD_WORD(1)
MD_WORD(2)
MD_WORD(3)
MD_WORD(4)
MD_WORD(5)
MD_WORD(6)
MD_WORD(7)

MD_OBSERVED(__u64, low_bits, void *desc)
{
	return (__u64)desc & 7;
}

MD_OBSERVED(__u64, features, void *desc, struct xdp_buff *xdp)
{
	return xdp->rxq->dev->features;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __MD_DESC_H__
#define __MD_DESC_H__

/*
 * What bpf/md_desc.h would be if it were written for one NIC: the layout
 * itself instead of a record of each access. LAYOUT names its file. C knows
 * nothing of flavours: for a layout that is one, -Dmd_desc___nic=md_desc makes
 * it the plain name.
 */

#include <bpf/bpf_helpers.h>
#include LAYOUT

/*
 * The size goes through a register, and is put there first, as a recorded size
 * is. Left to itself clang would add it as an immediate: that is the one
 * instruction that the record costs.
 */
#define md_desc(ctx)							\
	({								\
		__u64 size;						\
									\
		asm volatile("%0 = %1"					\
			     : "=r"(size)				\
			     : "i"(sizeof(struct md_desc))		\
			     : "memory");				\
		__md_desc((void *)(long)(ctx)->data_meta,		\
			  (void *)(long)(ctx)->data, size);		\
	})

static __always_inline struct md_desc *__md_desc(void *meta, void *data, __u64 size)
{
	if (meta + size > data)
		return (void *)0;

	__builtin_assume(meta != (void *)0);
	return meta;
}

#endif /* __MD_DESC_H__ */

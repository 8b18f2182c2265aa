/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __RESULTS_H__
#define __RESULTS_H__

#include <linux/bpf.h>
#include "md_desc.h"

/*
 * A program tells what it read in global variables, which a test finds in the
 * .bss map by name. ../README.md lists the names.
 */

/* 1 once md_desc(ctx) has given a descriptor. */
__u64 found;

char _license[] SEC("license") = "Dual BSD/GPL";

/*
 * RESULT(type, name) - the variables that READ(md, path, name) fills
 *
 * No layout has every field, so every read is guarded. There is no else branch
 * on purpose: given two loads to choose from, clang makes one of them, with
 * the offset in a register, and records the two offsets instead of the load
 * (merged.c does that).
 */
#define RESULT(type, name)	\
	__u64 has_##name;	\
	type got_##name

#define READ(md, path, name)						\
	do {								\
		has_##name = bpf_core_field_exists((md)->path);		\
		if (bpf_core_field_exists((md)->path))			\
			got_##name = (md)->path;			\
	} while (0)

/*
 * PROGRAM_OF(type, name, ...) - an XDP program for which md points to the
 * descriptor, which is a type
 */
#define PROGRAM_OF(type, name, ...)					\
	SEC("xdp") int name(struct xdp_md *ctx)				\
	{								\
		type *md = (void *)md_desc(ctx);			\
									\
		if (!md)						\
			return XDP_PASS;				\
		found = 1;						\
		__VA_ARGS__						\
		return XDP_PASS;					\
	}

#endif /* __RESULTS_H__ */

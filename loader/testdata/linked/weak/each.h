/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A function and a program that are in each file, of which one is chosen, between others
 * that are in one only. The records of these, for the layout and for the kernel, are
 * behind the code of those that are not chosen.
 */

#include <linux/bpf.h>
#include "md_desc.h"

/* 2 for the kernel. */
enum bpf_map_type___mine {
	BPF_MAP_TYPE_ARRAY___mine = 77,
};

#define JOIN(a, b) __JOIN(a, b)
#define __JOIN(a, b) a##b

char LICENSE[] SEC("license") = "GPL";

__u64 JOIN(got_chosen_, FILE), JOIN(got_front_, FILE), JOIN(got_behind_, FILE);
__weak __u64 got_program;

static __noinline __u32 helper(struct md_desc *md)
{
	return md->csum + FILE;
}

__noinline __u32 JOIN(front_, FILE)(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? md->hash_type + FILE : 0;
}

WEAK __noinline __u32 chosen(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md ? md->hash + helper(md) + 10 * FILE : 0;
}

__noinline __u32 JOIN(behind_, FILE)(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 array = bpf_core_enum_value(enum bpf_map_type___mine, BPF_MAP_TYPE_ARRAY___mine);

	return md ? md->mark + array + FILE : 0;
}

WEAK SEC("xdp") int program(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_DROP;
	got_program = md->vlan_tci + 1000 * FILE;
	return XDP_PASS;
}

SEC("xdp") int JOIN(program_, FILE)(struct xdp_md *ctx)
{
	JOIN(got_front_, FILE) = JOIN(front_, FILE)(ctx);
	JOIN(got_chosen_, FILE) = chosen(ctx);
	JOIN(got_behind_, FILE) = JOIN(behind_, FILE)(ctx);
	return XDP_PASS;
}

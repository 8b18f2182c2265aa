/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records in more than one function of more than one section: two programs
 * that share a section, and the functions they call, which clang puts in .text.
 */

#include "results.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

RESULT(__u64, hash);
RESULT(__u64, hash_type);
RESULT(__u64, mark);
RESULT(__u64, vlan_tci);

/* -1: no descriptor. */
static __noinline int flow_class(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return -1;

	READ(md, hash, hash);
	return got_hash % 4;
}

static __noinline int note_mark(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return -1;

	READ(md, mark, mark);
	return 0;
}

static __always_inline void count(__u32 class)
{
	__u64 *n = bpf_map_lookup_elem(&packets, &class);

	if (n)
		__sync_fetch_and_add(n, 1);
}

SEC("xdp") int first(struct xdp_md *ctx)
{
	struct md_desc *md;
	int class = flow_class(ctx);

	if (class < 0)
		return XDP_PASS;

	count(class);
	md = md_desc(ctx);
	if (!md)
		return XDP_PASS;

	found = 1;
	READ(md, hash_type, hash_type);
	return XDP_PASS;
}

SEC("xdp") int second(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	int class = flow_class(ctx);

	if (!md || class < 0 || note_mark(ctx))
		return XDP_PASS;

	count(class);
	found = 2;
	READ(md, vlan_tci, vlan_tci);
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One program that fits, among others of which each fails in its own way. */

#include <linux/bpf.h>
#include "md_desc.h"

__u32 hash_wanted;

static __attribute__((noinline)) int read_hash(struct md_desc *md)
{
	return md ? md->hash : 0;
}

SEC("xdp") int wanted(struct xdp_md *ctx)
{
	hash_wanted = read_hash(md_desc(ctx));
	return XDP_PASS;
}

/* The kernel has no such function. */
SEC("fentry/there_is_no_such_function") int traces_nothing(void *ctx) { return 0; }

/* What it replaces is for the loader to say. */
SEC("freplace/nothing") int replaces_nothing(struct xdp_md *ctx) { return XDP_PASS; }

/* No program of the network: a function that is no metadata. */
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash, __u32 *type) __ksym;

SEC("xdp") int calls_kfunc(struct xdp_md *ctx)
{
	__u32 hash = 0, type;

	bpf_xdp_metadata_rx_hash(ctx, &hash, &type);
	return hash ? XDP_DROP : XDP_PASS;
}

/* Not to be loaded unless somebody asks for it. It never ends. */
SEC("?xdp") int never_ends(struct xdp_md *ctx)
{
	for (;;)
		asm volatile("");
}

/* No layout of the tests has it. */
SEC("xdp") int reads_what_is_missing(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	return md && md->rx_timestamp ? XDP_DROP : XDP_PASS;
}

/* Copies the whole struct, which is not recorded. */
SEC("xdp") int copies(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx), copy;

	if (!md)
		return XDP_PASS;
	copy = *md;
	asm volatile("" : : "r"(&copy) : "memory");
	return copy.hash ? XDP_DROP : XDP_PASS;
}

/* A type of map that does not exist. */
struct {
	__uint(type, 4711);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} no_such_map SEC(".maps");

SEC("xdp") int needs_no_such_map(struct xdp_md *ctx)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&no_such_map, &zero) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

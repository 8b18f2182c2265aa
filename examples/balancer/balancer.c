//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts packets by the NIC's flow hash, in as many buckets as the loader says. A packet
 * that the NIC has made no hash of is counted apart.
 */

#include <linux/bpf.h>
#include "md_desc.h"

#define MAX_BUCKETS 64

const volatile __u32 buckets = 4; /* at most MAX_BUCKETS */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_BUCKETS + 1);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

SEC("xdp") int balance(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 bucket = MAX_BUCKETS;
	__u64 *n;

	/* 0 may be a hash: that there is one, its type says. */
	if (md && (!bpf_core_field_exists(md->hash_type) || md->hash_type))
		bucket = md->hash % buckets;
	n = bpf_map_lookup_elem(&packets, &bucket);
	if (n)
		(*n)++;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

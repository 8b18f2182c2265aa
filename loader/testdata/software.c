/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is computed of each packet of a test run, and of when, wherever that is read. */

#include <linux/bpf.h>
#include "md_desc.h"

struct {
	__u64 before, rx_timestamp, again, in_function, deeper, in_callback;
	__u32 hash, hash_type, hash_in_function;
	__u32 found;
} computed;

static __attribute__((noinline)) __u64 deeper(struct md_desc *md)
{
	return md->rx_timestamp;
}

static __attribute__((noinline)) int in_function(struct md_desc *md, int a, int b)
{
	computed.in_function = md->rx_timestamp;
	computed.hash_in_function = md->hash;
	computed.deeper = deeper(md);
	return a - b;
}

struct loop {
	struct md_desc *md;
	__u64 found;
};

static long in_callback(__u32 n, struct loop *loop)
{
	loop->found = loop->md->rx_timestamp;
	return 0;
}

SEC("xdp") int compute(struct xdp_md *ctx)
{
	__u64 before = bpf_ktime_get_tai_ns();
	struct md_desc *md = md_desc(ctx);
	struct loop loop = { .md = md };

	if (!md)
		return XDP_DROP;
	computed.before = before;
	computed.found++;
	computed.hash = md->hash;
	computed.hash_type = md->hash_type;
	computed.rx_timestamp = md->rx_timestamp;
	bpf_loop(3, in_callback, &loop, 0);
	computed.in_callback = loop.found;
	barrier();
	computed.again = md->rx_timestamp;
	return in_function(md, XDP_PASS, XDP_ABORTED);
}

char _license[] SEC("license") = "GPL";

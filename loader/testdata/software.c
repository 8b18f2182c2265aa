/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is computed of each packet of a test run, and when. */

#include <linux/bpf.h>
#include "md_desc.h"

struct {
	__u64 before, rx_timestamp, after;
	__u32 hash, hash_type;
	__u32 found;
} computed;

SEC("xdp") int compute(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_DROP;
	computed.found++;
	computed.hash = md->hash;
	computed.hash_type = md->hash_type;
	computed.before = bpf_ktime_get_tai_ns();
	computed.rx_timestamp = md->rx_timestamp;
	computed.after = bpf_ktime_get_tai_ns();
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";

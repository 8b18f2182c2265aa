/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts packets by how long they took from the NIC to this program: a histogram of
 * powers of two. A NIC without timestamps has all packets in unstamped.
 */

#include <linux/bpf.h>
#include "md_desc.h"

/* Packets of which the time is from 2^n ns to less than 2^(n + 1) ns, by n. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} histogram SEC(".maps");

/* How far the NIC's clock is ahead of CLOCK_TAI, in ns. User space keeps it right. */
__s64 ahead;

__u64 unstamped;	/* packets without a time */
__u64 early;		/* packets that came before they were here: the clocks differ */

static __always_inline __u32 log2(__u64 n)
{
	__u32 log = 0;

#pragma clang loop unroll(full)
	for (__u32 bits = 32; bits; bits /= 2) {
		if (n >> bits) {
			n >>= bits;
			log += bits;
		}
	}
	return log;
}

SEC("xdp") int latency(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u64 stamp = 0, *packets;
	__s64 took;
	__u32 n;

	if (md && bpf_core_field_exists(md->rx_timestamp))
		stamp = md->rx_timestamp;
	if (!stamp) {
		__sync_fetch_and_add(&unstamped, 1);
		return XDP_PASS;
	}
	took = bpf_ktime_get_tai_ns() + ahead - stamp;
	if (took < 0) {
		__sync_fetch_and_add(&early, 1);
		return XDP_PASS;
	}
	n = log2(took);
	packets = bpf_map_lookup_elem(&histogram, &n);
	if (packets)
		__sync_fetch_and_add(packets, 1);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

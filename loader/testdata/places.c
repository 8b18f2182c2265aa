/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A program for each place on an interface, which count their packets in one map. */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include "md_desc.h"

struct counts {
	__u64 seen;
	__u64 found;
	__u64 right; /* with the mark that was sent */
};

enum { AT_XDP, AT_INGRESS, AT_EGRESS, PLACES };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, struct counts);
} counts SEC(".maps");

static __always_inline void count(struct md_desc *md, __u32 place)
{
	struct counts *count = bpf_map_lookup_elem(&counts, &place);

	if (!count)
		return;
	__sync_fetch_and_add(&count->seen, 1);
	if (!md)
		return;
	__sync_fetch_and_add(&count->found, 1);
	if (md->mark == 0xcafe)
		__sync_fetch_and_add(&count->right, 1);
}

SEC("xdp") int first(struct xdp_md *ctx)
{
	count(md_desc(ctx), AT_XDP);
	return XDP_PASS;
}

SEC("tc") int in(struct __sk_buff *skb)
{
	count(md_desc(skb), AT_INGRESS);
	return TC_ACT_UNSPEC;
}

SEC("tcx/egress") int out(struct __sk_buff *skb)
{
	count(md_desc(skb), AT_EGRESS);
	return TC_ACT_UNSPEC;
}

SEC("?classifier") int in_too(struct __sk_buff *skb)
{
	count(md_desc(skb), AT_INGRESS);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";

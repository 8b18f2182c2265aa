/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What XDP and TC say of one packet, and what the stack has in its skb. */

#include <linux/bpf.h>
#include "driver.h"

struct numbered {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PACKETS);
	__type(key, __u32);
	__type(value, struct fields);
} by_xdp SEC(".maps"), by_tc SEC(".maps"), by_stack SEC(".maps");

SEC("xdp") int received(struct xdp_md *ctx)
{
	struct fields *f = record_of(&by_xdp, (void *)(long)ctx->data, (void *)(long)ctx->data_end);

	if (f)
		record(f, md_desc(ctx));
	return XDP_PASS;
}

SEC("tc") int stacked(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct fields *f = record_of(&by_tc, data, data_end);

	if (f)
		record(f, md_desc(skb));
	f = record_of(&by_stack, data, data_end);
	if (f) {
		f->seen++;
		f->hash = skb->hash;
		f->mark = skb->mark;
		f->vlan_tci = skb->vlan_tci;
		f->vlan_proto = skb->vlan_proto;
	}
	return 0; /* TC_ACT_OK */
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes down what the kernel's metadata kfuncs say of each packet, which finds
 * its place as it does in bpf/examples/record.c. Nothing in here is rewritten.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "kfuncs.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 100000);
	__type(key, __u32);
	__type(value, struct said);
} said SEC(".maps");

SEC("xdp") int kfuncs(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__be32 *number = data + sizeof(struct ethhdr);
	struct said s = {};
	__u32 key;

	if ((void *)(number + 1) > data_end)
		return XDP_DROP;

	key = bpf_ntohl(*number);
	ask(ctx, &s);
	bpf_map_update_elem(&said, &key, &s, BPF_ANY);
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";

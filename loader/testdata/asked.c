/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is read of a packet by way of the kernel's metadata kfuncs, and beside it what
 * these say of the same one to a program that calls them itself. Then the packet goes to
 * a program that can't be bound to the device.
 */

#include <linux/bpf.h>
#include "driver.h"
#include "kfuncs.h"

struct asked {
	struct fields driver;
	struct said kernel;
	__u64 done;
	__u64 called;	/* by a tail call, and no hash was there */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PACKETS);
	__type(key, __u32);
	__type(value, struct asked);
} asked SEC(".maps");

int called(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(struct xdp_md *));
} calls SEC(".maps") = {
	.values = { [0] = &called },
};

SEC("xdp") int received(struct xdp_md *ctx)
{
	struct asked *a = record_of(&asked, (void *)(long)ctx->data, (void *)(long)ctx->data_end);
	struct said said = {};
	struct md_desc *md;

	if (!a)
		return XDP_PASS;

	a->driver.seen++;
	md = md_desc(ctx);
	if (md) {
		a->driver.found++;
		a->driver.rx_timestamp = md->rx_timestamp;
		a->driver.hash = md->hash;
		a->driver.hash_type = md->hash_type;
		a->driver.vlan_tci = md->vlan_tci;
		a->driver.vlan_proto = md->vlan_proto;
		if (bpf_core_field_exists(md->mark))
			a->driver.mark = md->mark;
	}
	ask(ctx, &said);
	a->kernel = said;
	barrier();
	a->done++;
	bpf_tail_call(ctx, &calls, 0);
	return XDP_PASS;
}

SEC("xdp") int called(struct xdp_md *ctx)
{
	struct asked *a = record_of(&asked, (void *)(long)ctx->data, (void *)(long)ctx->data_end);
	struct md_desc *md = md_desc(ctx);

	if (!a || !md)
		return XDP_PASS;
	if (!bpf_core_field_exists(md->hash))
		a->called++;
	else
		a->driver.hash ^= md->hash;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

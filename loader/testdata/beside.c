/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is read of a packet, and beside it what the kernel's metadata kfuncs say of the
 * same one.
 */

#include <linux/bpf.h>
#include "driver.h"
#include "kfuncs.h"

struct beside {
	struct fields driver;
	struct said kernel;
	__u32 hash_then;	/* read again, after the kfuncs were called */
	__u32 hash_type_then;
	__u64 done;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_PACKETS);
	__type(key, __u32);
	__type(value, struct beside);
} beside SEC(".maps");

SEC("xdp") int received(struct xdp_md *ctx)
{
	struct beside *b = record_of(&beside, (void *)(long)ctx->data, (void *)(long)ctx->data_end);
	struct md_desc *md;
	struct said said = {};

	if (!b)
		return XDP_PASS;

	/* Before the kernel is asked: it makes a hash for an skb that has none. */
	md = md_desc(ctx);
	record(&b->driver, md);
	ask(ctx, &said);
	b->kernel = said;
	if (md) {
		b->hash_then = md->hash;
		b->hash_type_then = md->hash_type;
	}
	barrier();
	b->done++;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checks that the metadata area is large enough. */

#include <linux/bpf.h>
#include "md_desc.h"

char _license[] SEC("license") = "GPL";

__u64 got;

SEC("xdp") int recorded(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (md)
		got = md->mark;
	return XDP_PASS;
}

SEC("xdp") int baked(struct xdp_md *ctx)
{
	struct md_desc *md = (void *)(long)ctx->data_meta;
	void *data = (void *)(long)ctx->data;

	if ((void *)(md + 1) > data)
		return XDP_PASS;
	got = md->mark;
	return XDP_PASS;
}

SEC("xdp") int mirrored(struct xdp_md *ctx)
{
	struct md_desc *md = (void *)(long)ctx->data_meta;
	void *data = (void *)(long)ctx->data;

	if (data >= (void *)md + 48)
		got = md->mark;
	return XDP_PASS;
}

SEC("tc") int skb(struct __sk_buff *ctx)
{
	struct md_desc *md = (void *)(long)ctx->data_meta;
	void *data = (void *)(long)ctx->data;

	if ((void *)md + 40 <= data)
		got = md->mark;
	return 0;
}

/* Not of the metadata area. */
SEC("xdp") int packet(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 14 <= end)
		got = *(__u8 *)data;
	return XDP_PASS;
}

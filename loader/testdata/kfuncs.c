/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes down what the kernel's metadata kfuncs say of each packet, which finds
 * its place as it does in bpf/examples/record.c. Nothing in here is rewritten.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum xdp_rss_hash_type {
	XDP_RSS_TYPE_NONE = 0,
};

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx,
					 __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash,
				    enum xdp_rss_hash_type *type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx,
					__be16 *proto, __u16 *tci) __ksym;

struct said {
	__u64 timestamp;
	__u32 hash;
	enum xdp_rss_hash_type hash_type;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__s32 timestamp_error;	/* 0, or what the kfunc returned */
	__s32 hash_error;
	__s32 vlan_error;
};

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
	s.timestamp_error = bpf_xdp_metadata_rx_timestamp(ctx, &s.timestamp);
	s.hash_error = bpf_xdp_metadata_rx_hash(ctx, &s.hash, &s.hash_type);
	s.vlan_error = bpf_xdp_metadata_rx_vlan_tag(ctx, &s.vlan_proto,
						    &s.vlan_tci);
	bpf_map_update_elem(&said, &key, &s, BPF_ANY);
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";

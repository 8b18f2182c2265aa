/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __KFUNCS_H__
#define __KFUNCS_H__

/* What the kernel's metadata kfuncs say of a packet. */

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

static __always_inline void ask(const struct xdp_md *ctx, struct said *s)
{
	s->timestamp_error = bpf_xdp_metadata_rx_timestamp(ctx, &s->timestamp);
	s->hash_error = bpf_xdp_metadata_rx_hash(ctx, &s->hash, &s->hash_type);
	s->vlan_error = bpf_xdp_metadata_rx_vlan_tag(ctx, &s->vlan_proto,
						     &s->vlan_tci);
}

#endif /* __KFUNCS_H__ */

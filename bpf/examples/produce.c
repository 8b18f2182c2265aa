/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writes what the driver knows of each packet in front of it, and redirects the
 * packet to the next program, any that is loaded for the same layout. What the
 * driver knows is asked of the kernel's metadata kfuncs. They want a program
 * that is bound to its interface when it is loaded: see docs/producers.md.
 */

#include <linux/bpf.h>
#include "md_desc.h"

/* Its bits are those of md_desc.hash_type: see the kernel's include/net/xdp.h. */
enum xdp_rss_hash_type {
	XDP_RSS_TYPE_NONE = 0,
};

/*
 * All return 0, -ENODATA if there is nothing to say of this packet, or
 * -EOPNOTSUPP if the driver never has anything to say.
 */
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx,
					 __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash,
				    enum xdp_rss_hash_type *type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx,
					__be16 *proto, __u16 *tci) __ksym;

/* The interface to redirect to: its index at key 0. Until then packets pass. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

SEC("xdp") int produce(struct xdp_md *ctx)
{
	enum xdp_rss_hash_type hash_type = XDP_RSS_TYPE_NONE;
	__be16 vlan_proto = 0;
	__u16 vlan_tci = 0;
	__u64 timestamp = 0;
	__u32 hash = 0;
	struct md_desc *md;

	/* A call that fails may have written something all the same. */
	if (bpf_xdp_metadata_rx_timestamp(ctx, &timestamp))
		timestamp = 0;
	if (bpf_xdp_metadata_rx_hash(ctx, &hash, &hash_type))
		hash = hash_type = 0;
	if (bpf_xdp_metadata_rx_vlan_tag(ctx, &vlan_proto, &vlan_tci))
		vlan_proto = vlan_tci = 0;

	/* Without room for it, the packet goes on without metadata. */
	if (bpf_xdp_adjust_meta(ctx, -(int)bpf_core_type_size(struct md_desc)))
		goto redirect;
	md = md_desc(ctx);
	if (!md)
		goto redirect;

	if (bpf_core_field_exists(md->rx_timestamp))
		md->rx_timestamp = timestamp;
	if (bpf_core_field_exists(md->hash))
		md->hash = hash;
	if (bpf_core_field_exists(md->hash_type))
		md->hash_type = hash_type;
	if (bpf_core_field_exists(md->csum))
		md->csum = 0;
	if (bpf_core_field_exists(md->csum_status))
		md->csum_status = MD_CSUM_NONE;
	if (bpf_core_field_exists(md->vlan_tci))
		md->vlan_tci = vlan_tci;
	if (bpf_core_field_exists(md->vlan_proto))
		md->vlan_proto = vlan_proto;
	if (bpf_core_field_exists(md->mark))
		md->mark = 0;
	if (bpf_core_field_exists(md->ptype))
		md->ptype = 0;

redirect:
	return bpf_redirect_map(&next, 0, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";

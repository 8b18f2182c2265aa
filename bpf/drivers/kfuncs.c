// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/*
 * Any driver: what it tells by the kernel's metadata kfuncs, for fields that no file has
 * for the driver.
 *
 * Only a program that is bound to the device may call them. It runs natively, on that
 * device and nowhere else, so the buff is always the driver's.
 */

#include <linux/bpf.h>
#include "md_driver.h"

MD_DRIVER("kfuncs");

enum xdp_rss_hash_type {
	XDP_RSS_TYPE_NONE = 0,
};

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash,
				    enum xdp_rss_hash_type *rss_type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *vlan_proto,
					__u16 *vlan_tci) __ksym;

#define TIMESTAMP "kfunc bpf_xdp_metadata_rx_timestamp"
#define HASH "kfunc bpf_xdp_metadata_rx_hash"
#define VLAN_TAG "kfunc bpf_xdp_metadata_rx_vlan_tag"

/* Whether there is a value, the kfunc says. ctx is no number that could be returned. */
MD_DESCRIPTOR(void, struct xdp_buff *xdp)
{
	return (void *)1;
}

/*
 * Some drivers look beside the packet: virtio_net for the hash, igc for the stamp. So all
 * of them are taken to.
 */

MD_PACKET_FIELD(rx_timestamp, TIMESTAMP, void *desc, struct xdp_buff *xdp)
{
	__u64 timestamp = 0;

	if (bpf_xdp_metadata_rx_timestamp((struct xdp_md *)xdp, &timestamp))
		return 0;
	return timestamp;
}

MD_PACKET_FIELD(hash, HASH, void *desc, struct xdp_buff *xdp)
{
	enum xdp_rss_hash_type type = 0;
	__u32 hash = 0;

	if (bpf_xdp_metadata_rx_hash((struct xdp_md *)xdp, &hash, &type))
		return 0;
	return hash;
}

MD_PACKET_FIELD(hash_type, HASH, void *desc, struct xdp_buff *xdp)
{
	enum xdp_rss_hash_type type = 0;
	__u32 hash = 0;

	if (bpf_xdp_metadata_rx_hash((struct xdp_md *)xdp, &hash, &type))
		return 0;
	return type;
}

MD_PACKET_FIELD(vlan_tci, VLAN_TAG, void *desc, struct xdp_buff *xdp)
{
	__be16 proto = 0;
	__u16 tci = 0;

	if (bpf_xdp_metadata_rx_vlan_tag((struct xdp_md *)xdp, &proto, &tci))
		return 0;
	return tci;
}

MD_PACKET_FIELD(vlan_proto, VLAN_TAG, void *desc, struct xdp_buff *xdp)
{
	__be16 proto = 0;
	__u16 tci = 0;

	if (bpf_xdp_metadata_rx_vlan_tag((struct xdp_md *)xdp, &proto, &tci))
		return 0;
	return proto;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Drops packets of VLANs that are not allowed, and counts both.
 *
 * Most NICs take the tag off, and XDP does not see it in the packet: what firewalls do
 * about that is "ethtool -K eth0 rxvlan off". Here the NIC says which tag it was. One
 * that does not tell is to leave the tags in the packet, where this program looks, too.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include "md_desc.h"

/* The element of packets without a tag. */
#define UNTAGGED 4096

struct rule {
	__u32 allowed;
	__u32 reserved;
	__u64 passed;
	__u64 dropped;
};

/* By VLAN ID. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UNTAGGED + 1);
	__type(key, __u32);
	__type(value, struct rule);
} vlans SEC(".maps");

struct tagged {
	struct ethhdr eth;
	__be16 tci;
};

/* The outermost tag that is in the packet. */
static __always_inline __u32 vlan_in_packet(struct xdp_md *ctx)
{
	struct tagged *packet = (void *)(long)ctx->data;

	if ((void *)(packet + 1) > (void *)(long)ctx->data_end)
		return UNTAGGED;
	if (packet->eth.h_proto != bpf_htons(ETH_P_8021Q) &&
	    packet->eth.h_proto != bpf_htons(ETH_P_8021AD))
		return UNTAGGED;
	return bpf_ntohs(packet->tci) & 0xfff;
}

SEC("xdp") int vlan(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 vlan = UNTAGGED;
	struct rule *rule;

	/* What the NIC took off was outside of what is left. */
	if (md && bpf_core_field_exists(md->vlan_tci) &&
	    bpf_core_field_exists(md->vlan_proto) && md->vlan_proto)
		vlan = md->vlan_tci & 0xfff;
	if (vlan == UNTAGGED)
		vlan = vlan_in_packet(ctx);

	rule = bpf_map_lookup_elem(&vlans, &vlan);
	if (!rule)
		return XDP_ABORTED;
	if (!rule->allowed) {
		__sync_fetch_and_add(&rule->dropped, 1);
		return XDP_DROP;
	}
	__sync_fetch_and_add(&rule->passed, 1);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

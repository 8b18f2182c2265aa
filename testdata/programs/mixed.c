/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One record of ours between records that only the kernel's BTF can answer. */

#include "results.h"

struct net_device {
	unsigned int mtu;
	int ifindex;
} __attribute__((preserve_access_index));

RESULT(__u64, hash);
__u64 has_net_device__mtu;
__u64 off_net_device__ifindex;
__u64 type_size_net_device;

SEC("xdp") int mixed(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	has_net_device__mtu = bpf_core_field_exists(struct net_device, mtu);
	if (!md)
		return XDP_PASS;

	found = 1;
	type_size_net_device = bpf_core_type_size(struct net_device);
	READ(md, hash, hash);
	off_net_device__ifindex = bpf_core_field_offset(struct net_device, ifindex);
	return XDP_PASS;
}

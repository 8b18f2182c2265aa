/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#define FILE 2
#include "each.h"

extern struct counts shared SEC(".maps");
struct counts own SEC(".maps");

__u64 got_shared_2, got_either_2, got_own, got_data_2;
__u64 start SEC(".data.tuning") = 1000;
__u64 own_2 SEC(".data.tuning") = 60;
const volatile __u8 narrow_2 = 80;
const volatile __u64 wide_2 SEC(".rodata.tuning") = 180;

SEC("xdp") int program_2(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_DROP;
	got_shared_2 = add(&shared, 1, md->hash);
	got_either_2 = add(&either, 2, md->csum);
	got_own = add(&own, 3, md->vlan_tci);
	got_data_2 = md->mark + tuning.factor + tuning.offset + calls++ + limit + own_2++ + narrow_2 + wide_2 + start;
	return XDP_PASS;
}

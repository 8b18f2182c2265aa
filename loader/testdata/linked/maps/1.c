/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#define FILE 1
#include "each.h"

struct counts shared SEC(".maps");
extern __u64 start SEC(".data.tuning");

__u64 got_shared_1, got_either_1, got_data_1;
__u64 own_1 SEC(".data.tuning") = 6;
const volatile __u8 narrow_1 = 8;
const volatile __u64 wide_1 SEC(".rodata.tuning") = 18;

SEC("xdp") int program_1(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);

	if (!md)
		return XDP_DROP;
	got_shared_1 = add(&shared, 1, md->hash);
	got_either_1 = add(&either, 2, md->csum);
	got_data_1 = md->mark + tuning.factor + tuning.offset + calls++ + limit + own_1++ + narrow_1 + wide_1 + start;
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The first packet starts a timer that counts for ever. */

#include <linux/bpf.h>
#include "md_desc.h"

struct clock {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock);
} clocks SEC(".maps");

__u32 ticks;
__u32 hash_seen;

#define CLOCK_MONOTONIC 1
#define MILLISECOND 1000000

static int tick(void *map, __u32 *key, struct clock *clock)
{
	ticks++;
	bpf_timer_start(&clock->timer, MILLISECOND, 0);
	return 0;
}

SEC("xdp") int starts_timer(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u32 zero = 0;
	struct clock *clock = bpf_map_lookup_elem(&clocks, &zero);

	if (!clock || !md)
		return XDP_PASS;
	hash_seen = md->hash;
	if (!bpf_timer_init(&clock->timer, &clocks, CLOCK_MONOTONIC)) {
		bpf_timer_set_callback(&clock->timer, tick);
		bpf_timer_start(&clock->timer, 0, 0);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

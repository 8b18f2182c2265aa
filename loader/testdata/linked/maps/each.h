/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Maps and variables of several files: declared in one and defined in another, weak in
 * both, in sections that are put together.
 */

#include <linux/bpf.h>
#include "md_desc.h"

struct counts {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
};

struct tuning {
	__u32 factor;
	__u16 offset;
};

char LICENSE[] SEC("license") = "GPL";

__weak struct counts either SEC(".maps");

__weak struct tuning tuning = { 3, FILE };
__weak __u64 calls;
__weak const volatile __u32 limit = 10 * FILE;

static __always_inline __u64 add(void *map, __u32 key, __u64 value)
{
	__u64 *sum = bpf_map_lookup_elem(map, &key);

	return sum ? *sum += value : 0;
}

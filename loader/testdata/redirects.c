/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs that redirect into a cpumap and a devmap, and the programs that see the packets
 * there and count them.
 */

#include <linux/bpf.h>
#include "md_desc.h"

struct counts {
	__u64 seen;
	__u64 found;
	__u64 right; /* with the mark that was sent */
};

enum { ON_CPU, ON_WAY_OUT, PLACES };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, struct counts);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} named SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} ports SEC(".maps");

/* Without room for a program. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} plain SEC(".maps");

static __always_inline int count(struct xdp_md *ctx, __u32 place)
{
	struct counts *count = bpf_map_lookup_elem(&counts, &place);
	struct md_desc *md = md_desc(ctx);

	if (!count)
		return XDP_DROP;
	__sync_fetch_and_add(&count->seen, 1);
	if (!md)
		return XDP_DROP;
	__sync_fetch_and_add(&count->found, 1);
	if (md->mark == 0xcafe)
		__sync_fetch_and_add(&count->right, 1);
	return XDP_DROP;
}

SEC("xdp") int spread(struct xdp_md *ctx)
{
	return bpf_redirect_map(&cpus, 0, XDP_PASS);
}

SEC("xdp") int spread_named(struct xdp_md *ctx)
{
	return bpf_redirect_map(&named, 0, XDP_PASS);
}

SEC("xdp") int forward(struct xdp_md *ctx)
{
	return bpf_redirect_map(&ports, 7, XDP_PASS);
}

SEC("xdp") int spread_plain(struct xdp_md *ctx)
{
	return bpf_redirect_map(&plain, 0, XDP_PASS);
}

SEC("xdp/cpumap") int on_cpu(struct xdp_md *ctx)
{
	return count(ctx, ON_CPU);
}

SEC("xdp/devmap") int on_way_out(struct xdp_md *ctx)
{
	return count(ctx, ON_WAY_OUT);
}

char _license[] SEC("license") = "Dual BSD/GPL";

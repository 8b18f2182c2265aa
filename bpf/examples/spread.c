/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Spreads flows over CPUs by the NIC's hash: a packet goes to the stack on the CPU that
 * all packets of its flow go to, without that its headers are read. Those that the NIC
 * has no hash of, and all of a NIC that does not tell it, stay on the CPU that they
 * came in on.
 */

#include <linux/bpf.h>
#include "md_desc.h"

/* The CPUs: the values say how long their queues are. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} cpus SEC(".maps");

/*
 * Which CPU each hash goes to, by its upper bits: the lower ones are much the same in
 * all packets of a queue, as by them the NIC chooses it.
 */
const volatile __u32 table[256];

/* Packets that each CPU was given. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} given SEC(".maps");

__u64 stayed;

SEC("xdp") int spread(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u64 *packets;
	__u32 cpu;

	if (!md || !bpf_core_field_exists(md->hash) ||
	    (bpf_core_field_exists(md->hash_type) && !md->hash_type)) {
		__sync_fetch_and_add(&stayed, 1);
		return XDP_PASS;
	}
	cpu = table[md->hash >> 24];
	packets = bpf_map_lookup_elem(&given, &cpu);
	if (packets)
		__sync_fetch_and_add(packets, 1);
	return bpf_redirect_map(&cpus, cpu, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";

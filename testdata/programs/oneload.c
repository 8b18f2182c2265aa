/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads every field of the header once and returns a number that depends on
 * all of them. No guards, no maps: what the kernel makes of it is to be the
 * same, instruction for instruction, as what it makes of the same source
 * compiled against fixed/md_desc.h.
 */

#include <linux/bpf.h>
#include "md_desc.h"

/*
 * The barriers leave clang one order to put a load and the arithmetic in, so
 * that the two objects don't differ in what has nothing to do with records.
 */
#define ADD(sum, field)						\
	do {							\
		__u64 value = (field);				\
								\
		asm volatile("" : "+r"(value) : : "memory");	\
		sum = sum * 31 + value;				\
		asm volatile("" : "+r"(sum) : : "memory");	\
	} while (0)

SEC("xdp") int oneload(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	__u64 sum = 1;

	if (!md)
		return 0;

	ADD(sum, md->rx_timestamp);
	ADD(sum, md->hash);
	ADD(sum, md->hash_type);
	ADD(sum, md->csum);
	ADD(sum, md->csum_status);
	ADD(sum, md->vlan_tci);
	ADD(sum, md->vlan_proto);
	ADD(sum, md->mark);
	return sum ^ sum >> 32;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Uses of the descriptor's pointer that clang leaves no record of, and accesses
 * through pointers of which nobody knows what they point at. Where a comment says
 * "refused" the line is, with this in the message.
 */

#include <stddef.h>
#include <linux/bpf.h>
#include "md_desc.h"

#include <linux/pkt_cls.h>

char _license[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct md_desc);
} kept SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

__u64 out;
struct md_desc global;
__u8 bytes[64];

/* Keeps clang from knowing what it is. */
#define OPAQUE(value) asm volatile("" : "+r"(value) : : "memory")

#define BEGIN(name)					\
	SEC("xdp") int name(struct xdp_md *ctx)		\
	{						\
		struct md_desc *md = md_desc(ctx);	\
							\
		if (!md)				\
			return XDP_PASS;

#define END						\
		return XDP_PASS;			\
	}

BEGIN(copied)
	struct md_desc snap;
	struct md_desc *at = &snap;

	*at = *md; /* refused: md_desc_copy */
	OPAQUE(at);
	out = at->mark;
END

BEGIN(copied_to_global)
	global = *md; /* refused: md_desc_copy */
END

BEGIN(copied_to_value)
	__u32 key = 0;
	struct md_desc *value = bpf_map_lookup_elem(&kept, &key);

	if (value)
		*value = *md; /* refused: md_desc_copy */
END

BEGIN(copied_bytes)
	__builtin_memcpy(bytes, md, sizeof(*md)); /* refused: md_desc_copy */
END

BEGIN(replaced)
	struct md_desc new = {};

	new.mark = 77;
	OPAQUE(ctx);
	*md = new; /* refused: record */
END

BEGIN(cleared)
	__builtin_memset(md, 0, sizeof(*md)); /* refused: record */
END

BEGIN(first_bytes)
	__builtin_memcpy(bytes, md, 12); /* refused: record */
END

BEGIN(by_offset)
	out = *(__u32 *)((void *)md + offsetof(struct md_desc, mark)); /* refused: record */
END

BEGIN(by_index)
	out = ((__u32 *)md)[2]; /* refused: record */
END

BEGIN(stored_by_index)
	((__u32 *)md)[7] = 5; /* refused: record */
END

BEGIN(added)
	__sync_fetch_and_add((__u64 *)md, 1); /* refused: record */
END

BEGIN(by_hand)
	asm volatile("%0 = *(u32 *)(%1 + 8)" : "=r"(out) : "r"(md)); /* refused: record */
END

/* Nothing asks clang for records of this one. */
struct md_desc___plain {
	__u64 stamp;
	__u32 hash;
};

BEGIN(flavoured)
	out = ((struct md_desc___plain *)md)->hash; /* refused: record */
END

static __noinline __u64 first_of(const void *memory)
{
	return *(const volatile __u64 *)memory; /* refused: record */
}

BEGIN(in_function)
	out = first_of(md);
END

static long in_turn(__u32 i, struct md_desc **md)
{
	out += ((volatile __u8 *)*md)[3]; /* refused: record */
	return 0;
}

BEGIN(in_callback)
	bpf_loop(2, in_turn, &md, 0);
END

BEGIN(in_stack)
	struct md_desc *volatile waiting = md;

	out = ((__u32 *)waiting)[3]; /* refused: record */
END

BEGIN(looped)
	volatile __u8 *at = (void *)md;

	for (int i = 0; i < 4; i++)
		out += at[i]; /* refused: record */
END

/* Functions of the kernel that take it for so many bytes. */
BEGIN(put_out)
	bpf_ringbuf_output(&events, md, sizeof(*md), 0); /* refused: bpf_ringbuf_output */
END

BEGIN(updated)
	__u32 key = 0;

	bpf_map_update_elem(&kept, &key, md, 0); /* refused: bpf_map_update_elem */
END

BEGIN(looked_up)
	out = !!bpf_map_lookup_elem(&kept, md); /* refused: bpf_map_lookup_elem */
END

BEGIN(probed)
	__u32 first;

	bpf_probe_read_kernel(&first, sizeof(first), md); /* refused: bpf_probe_read_kernel */
	out = first;
END

BEGIN(summed_up)
	out = bpf_csum_diff(0, 0, (__be32 *)md, sizeof(*md), 0); /* refused: bpf_csum_diff */
END

BEGIN(filled)
	bpf_xdp_load_bytes(ctx, 0, md, 8); /* refused: bpf_xdp_load_bytes */
END

/* Any pointer may be in memory that others write to. */
struct md_desc *pointer;

BEGIN(unknown)
	struct md_desc *from_memory = pointer;
	__u32 hash = 0;

	OPAQUE(from_memory);
	out = md->mark, bpf_probe_read_kernel(&hash, sizeof(hash), &from_memory->hash); /* refused: */
	out += hash;
END

SEC("tc") int in_tc(struct __sk_buff *skb)
{
	struct md_desc *md = md_desc(skb);

	if (md)
		out = *(__u32 *)((void *)md + 8); /* refused: record */
	return TC_ACT_OK;
}

/* Is right beside all that is wrong. */
BEGIN(right)
	struct md_desc snap = {};
	struct md_desc *at = &snap;

	at->mark = md->hash;
	OPAQUE(at);
	out = at->mark;
	global = snap;
	__builtin_memset(at, 0, sizeof(*at));
	bpf_ringbuf_output(&events, at, sizeof(*at), 0);
END

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Ways of the descriptor's pointer from md_desc(ctx) to an access: through
 * memory, functions, callbacks and loops. Each program sets the variable of its
 * name to hash and mark, added up once or several times.
 */

#include "results.h"

#define PROGRAM(name, ...)	\
	__u64 got_##name;	\
	PROGRAM_OF(struct md_desc, name, __VA_ARGS__)

/* Keeps clang from knowing what it is. */
#define OPAQUE(value) asm volatile("" : "+r"(value))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

__u64 in_pick;

/* What a program hands on in one piece, as its functions see the packet. */
struct packet {
	__u32 tag;
	struct md_desc *md;
	__u64 sum;
	void *data;
};

static __noinline void add_hash(struct packet *packet)
{
	packet->sum += packet->md->hash;
}

static __noinline void add_both(struct packet *packet)
{
	add_hash(packet);
	if (packet->tag == 7)
		packet->sum += packet->md->mark;
}

PROGRAM(in_struct, {
	struct packet packet = { .tag = 7, .md = md, .data = (void *)(long)ctx->data };

	add_both(&packet);
	got_in_struct = packet.sum;
})

static long add_mark(__u32 i, void *data)
{
	struct packet *packet = data;

	packet->sum += packet->md->mark;
	if (i == 1)
		packet->sum += packet->md->hash;
	return 0;
}

PROGRAM(in_callback, {
	struct packet packet = { .md = md };

	bpf_loop(3, add_mark, &packet, 0);
	got_in_callback = packet.sum;
})

static long add_counted(void *map, __u32 *key, __u64 *value, struct packet *packet)
{
	packet->sum += packet->md->hash;
	*value += packet->md->mark;
	return 0;
}

PROGRAM(in_elements, {
	struct packet packet = { .md = md };

	bpf_for_each_map_elem(&counters, add_counted, &packet, 0);
	got_in_elements = packet.sum;
})

static __noinline struct md_desc *find(struct xdp_md *ctx)
{
	return md_desc(ctx);
}

PROGRAM(returned, {
	struct md_desc *again = find(ctx);

	if (again)
		got_returned = again->hash + (__u64)md->mark;
})

static __noinline struct md_desc *same(struct md_desc *md)
{
	OPAQUE(md);
	return md;
}

PROGRAM(passed_on, { got_passed_on = same(md)->hash + (__u64)same(same(md))->mark; })

static __noinline __u64 last_of(__u64 a, __u64 b, __u64 c, __u64 d, struct md_desc *md)
{
	OPAQUE(a);
	return a + b + c + d + md->hash + (__u64)md->mark;
}

PROGRAM(last_argument, { got_last_argument = last_of(in_pick, 0, 0, -in_pick, md); })

static __noinline __u64 either_of(struct md_desc *one, __u32 unread, struct md_desc *other)
{
	OPAQUE(one);
	return one->hash + (__u64)other->mark;
}

PROGRAM(both_arguments, { got_both_arguments = either_of(md, 1, md); })

PROGRAM(spilled, {
	struct md_desc *volatile kept = md;

	got_spilled = bpf_ktime_get_ns() & 0;
	got_spilled += kept->hash;
	got_spilled += kept->mark;
})

PROGRAM(two_variables, {
	struct md_desc *one = md;
	struct md_desc *other = (void *)(long)ctx->data_meta;

	OPAQUE(one);
	OPAQUE(other);
	if ((void *)other + bpf_core_type_size(struct md_desc) > (void *)(long)ctx->data)
		return XDP_PASS;
	if (in_pick & 1) {
		struct md_desc *third = one;

		one = other;
		other = third;
	}
	got_two_variables = one->hash + (__u64)other->mark;
})

PROGRAM(looped, {
	struct md_desc *at = md;
	__u64 sum = 0;

	for (int i = 0; i < 3; i++) {
		OPAQUE(at);
		sum += at->hash;
		OPAQUE(i);
		if (i > 3)
			break;
	}
	got_looped = sum;
})

/* The bounds in one's own words. */
__u64 got_by_hand;
SEC("xdp") int by_hand(struct xdp_md *ctx)
{
	void *data_meta = (void *)(long)ctx->data_meta;
	void *data = (void *)(long)ctx->data;
	struct md_desc *md = data_meta;

	if (data_meta + bpf_core_type_size(struct md_desc) <= data)
		got_by_hand = md->hash + (__u64)md->mark;
	return XDP_PASS;
}

/* What a program puts in front for the next one is no descriptor. */
struct mine {
	__u32 magic;
	__u32 hash;
};

PROGRAM(own_header, {
	__u32 hash = md->hash;
	struct mine *mine;

	got_own_header = hash + (__u64)md->mark;
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*mine)))
		return XDP_ABORTED;
	mine = (void *)(long)ctx->data_meta;
	if ((void *)(mine + 1) > (void *)(long)ctx->data)
		return XDP_ABORTED;
	mine->magic = 0x600d;
	mine->hash = hash;
})

/* The packet is read beside the descriptor, through pointers of its own. */
PROGRAM(beside_packet, {
	__u8 *data = (void *)(long)ctx->data;
	__u64 sum = md->hash;

	if (data + 2 > (__u8 *)(long)ctx->data_end)
		return XDP_ABORTED;
	sum += data[0] + data[1];
	got_beside_packet = sum + md->mark - 2 * 0xee;
})

/* A load balancer's way: hash and mark choose, a map has the answer. */
PROGRAM(balanced, {
	__u32 key = md->hash % 3;
	__u64 *counter = bpf_map_lookup_elem(&counters, &key);

	if (counter)
		*counter += 1;
	got_balanced = md->hash + (__u64)md->mark;
})

/* Ends before it moves the packet, and begins anew. */
PROGRAM(found_anew, {
	__u64 sum = md->hash;

	if (bpf_xdp_adjust_head(ctx, 0))
		return XDP_ABORTED;
	md = md_desc(ctx);
	if (!md)
		return XDP_ABORTED;
	got_found_anew = sum + md->mark;
})

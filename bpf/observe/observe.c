/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
//go:build ignore

/*
 * What XDP and the stack have of the same packet: an XDP program notes what it reads, and
 * a TC program finds the note again and hands both to user space.
 *
 * The note is found by its number, which goes with the packet in the metadata area. Where
 * the driver has no area, or loses it on the way to the skb, it is found by the head of the
 * packet.
 */

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include "md_desc.h"

/* What descriptor.c and skb.c have besides. */
struct md_desc___observed {
	__u64 word0, word1, word2, word3, word4, word5, word6, word7;
	__u64 low_bits, features;
	__u32 sw_hash;
} __attribute__((preserve_access_index));

enum xdp_rss_hash_type {
	XDP_RSS_TYPE_NONE = 0,
};

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash,
				    enum xdp_rss_hash_type *type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *proto,
					__u16 *tci) __ksym __weak;

/* No kfunc was asked. No error has this number. */
#define NOT_ASKED 1

/* What the kernel's metadata kfuncs say, each with what it returned. */
struct said {
	__u64 rx_timestamp;
	__u32 hash;
	__u32 hash_type;
	__u16 vlan_tci;
	__be16 vlan_proto;
	__s32 timestamp_error;
	__s32 hash_error;
	__s32 vlan_error;
};

struct note {
	struct md_desc md;
	struct said said;
	__u64 words[8];		/* of the descriptor */
	__u64 features;		/* of the device */
	__u32 low_bits;		/* of its address */
	__u32 found;		/* whether there is one */
	__u32 queue;
	__be16 tag_proto;	/* of the tag in the packet, 0 if there is none */
	__be16 tag_tci;
	__u32 times;		/* packets with this head */
	__u32 pad;
};

struct observation {
	struct note xdp;
	struct md_desc skb;
	__u32 sw_hash;		/* whether the stack computed the hash */
	__u32 length;
	__u32 by_head;		/* how the note was found */
	__u32 held;		/* bytes of head */
	__u8 head[256];
};

/* Either all of it is the head of a packet, or the last word is a number. */
struct key {
	__u32 words[15];
	__u32 length;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct key);
	__type(value, struct note);
} notes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct note);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} observations SEC(".maps");

/* Packets by what became of them. */
enum {
	BY_XDP,
	BY_TC,
	UNMATCHED,	/* of TC, without a note */
	AMBIGUOUS,	/* with the same head as others */
	DROPPED,	/* observations that there was no room for */
	COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 which)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &which);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}

struct ethernet {
	__u32 addresses[3];
	__be16 proto;
} __attribute__((packed));

struct tag {
	__be16 tci;
	__be16 proto;
};

static __always_inline int is_tag(__be16 proto)
{
	return proto == bpf_htons(0x8100) || proto == bpf_htons(0x88a8);
}

/*
 * The head of a packet without its tags: what is in XDP in the packet may be beside it in
 * the skb.
 */
static __always_inline int head_of(struct key *key, void *data, void *end, __u64 length)
{
	struct ethernet *ethernet = data;
	__u32 *word = (void *)(ethernet + 1);
	__be16 proto;
	int i;

	if ((void *)(ethernet + 1) > end)
		return 0;
	__builtin_memset(key, 0, sizeof(*key));
	proto = ethernet->proto;
	for (i = 0; i < 2; i++) {
		struct tag *tag = (void *)word;

		if (!is_tag(proto) || (void *)(tag + 1) > end)
			break;
		proto = tag->proto;
		word = (void *)(tag + 1);
	}
	key->words[0] = ethernet->addresses[0];
	key->words[1] = ethernet->addresses[1];
	key->words[2] = ethernet->addresses[2];
	key->words[3] = proto;
	key->length = length - sizeof(*ethernet) - i * sizeof(struct tag);
#pragma unroll
	for (i = 4; i < 15; i++, word++) {
		if ((void *)(word + 1) > end)
			break;
		key->words[i] = *word;
	}
	return 1;
}

/* What is in front of the packet for the TC program. */
struct area {
	__u64 mark;
	__u64 number;
};

#define AREA_MARK 0x6f6273657276ULL

static __always_inline void key_of(struct key *key, __u64 number)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->words[0] = number;
	key->words[1] = number >> 32;
	key->length = ~0U;
}

static __always_inline __u64 next_number(void)
{
	__u32 zero = 0;
	__u64 *last = bpf_map_lookup_elem(&numbers, &zero);

	if (!last)
		return 0;
	*last += 1;
	return *last << 16 | bpf_get_smp_processor_id();
}

static __always_inline struct note *new_note(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethernet *ethernet = data;
	struct tag *tag = (void *)(ethernet + 1);
	__u32 zero = 0;
	struct note *note = bpf_map_lookup_elem(&scratch, &zero);

	if (!note)
		return 0;
	__builtin_memset(note, 0, sizeof(*note));
	note->queue = ctx->rx_queue_index;
	note->said.timestamp_error = NOT_ASKED;
	note->said.hash_error = NOT_ASKED;
	note->said.vlan_error = NOT_ASKED;
	if ((void *)(tag + 1) <= end && is_tag(ethernet->proto)) {
		note->tag_proto = ethernet->proto;
		note->tag_tci = tag->tci;
	}
	return note;
}

static __always_inline void read(struct note *note, struct md_desc *md)
{
	struct md_desc___observed *more = (void *)md;

	if (!md)
		return;
	note->found = 1;
	md_desc_copy(&note->md, md);
	if (!bpf_core_field_exists(more->word0))
		return;
	note->words[0] = more->word0;
	note->words[1] = more->word1;
	note->words[2] = more->word2;
	note->words[3] = more->word3;
	note->words[4] = more->word4;
	note->words[5] = more->word5;
	note->words[6] = more->word6;
	note->words[7] = more->word7;
	note->low_bits = more->low_bits;
	note->features = more->features;
}

static __always_inline void ask(struct said *said, struct xdp_md *ctx)
{
	enum xdp_rss_hash_type hash_type = 0;
	__u32 hash = 0;
	__u64 timestamp = 0;
	__be16 proto = 0;
	__u16 tci = 0;

	said->timestamp_error = bpf_xdp_metadata_rx_timestamp(ctx, &timestamp);
	said->hash_error = bpf_xdp_metadata_rx_hash(ctx, &hash, &hash_type);
	if (bpf_xdp_metadata_rx_vlan_tag) /* since 6.8 */
		said->vlan_error = bpf_xdp_metadata_rx_vlan_tag(ctx, &proto, &tci);
	said->rx_timestamp = timestamp;
	said->hash = hash;
	said->hash_type = hash_type;
	said->vlan_tci = tci;
	said->vlan_proto = proto;
}

/* Leaves a note for the TC program, under the packet's head and, if there is room, its number. */
static __always_inline void leave(struct note *note, struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 number, length = end - data;
	struct note *other;
	struct area *area;
	struct key key;

	asm("" : "+r"(length)); /* or clang subtracts halves of pointers */
	count(BY_XDP);
	if (head_of(&key, data, end, length)) {
		other = bpf_map_lookup_elem(&notes, &key);
		note->times = other ? other->times + 1 : 1;
		bpf_map_update_elem(&notes, &key, note, BPF_ANY);
	}
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*area)))
		return;
	area = (void *)(long)ctx->data_meta;
	if ((void *)(area + 1) > (void *)(long)ctx->data)
		return;
	number = next_number();
	area->mark = AREA_MARK;
	area->number = number;
	key_of(&key, number);
	bpf_map_update_elem(&notes, &key, note, BPF_ANY);
}

SEC("xdp") int received(struct xdp_md *ctx)
{
	struct note *note = new_note(ctx);

	if (note) {
		read(note, md_desc(ctx));
		leave(note, ctx);
	}
	return XDP_PASS;
}

/* The same on a device that has metadata kfuncs. */
SEC("xdp") int asked(struct xdp_md *ctx)
{
	struct note *note = new_note(ctx);

	if (note) {
		read(note, md_desc(ctx));
		ask(&note->said, ctx);
		leave(note, ctx);
	}
	return XDP_PASS;
}

/* Returns whether the packet has a number. */
static __always_inline int number_of(struct key *key, struct __sk_buff *skb)
{
	struct area *area = (void *)(long)skb->data_meta;

	if ((void *)(area + 1) > (void *)(long)skb->data || area->mark != AREA_MARK)
		return 0;
	key_of(key, area->number);
	return 1;
}

static __always_inline void hand_over(struct note *note, struct __sk_buff *skb, __u32 by_head)
{
	struct observation *o = bpf_ringbuf_reserve(&observations, sizeof(*o), 0);
	struct md_desc___observed *more;
	struct md_desc *md;
	__u32 last;

	if (!o) {
		count(DROPPED);
		return;
	}
	__builtin_memset(o, 0, sizeof(*o));
	o->xdp = *note;
	md = md_desc(skb);
	if (md) {
		md_desc_copy(&o->skb, md);
		more = (void *)md;
		if (bpf_core_field_exists(more->sw_hash))
			o->sw_hash = more->sw_hash;
	}
	o->by_head = by_head;
	o->length = skb->len;
	last = skb->len - 1;
	if (last > sizeof(o->head) - 1)
		last = sizeof(o->head) - 1;
	if (!bpf_skb_load_bytes(skb, 0, o->head, last + 1))
		o->held = last + 1;
	bpf_ringbuf_submit(o, 0);
}

static __always_inline int skb_head_of(struct key *key, struct __sk_buff *skb)
{
	__u32 wanted = sizeof(*key) + 2 * sizeof(struct tag);

	bpf_skb_pull_data(skb, skb->len < wanted ? skb->len : wanted);
	return head_of(key, (void *)(long)skb->data, (void *)(long)skb->data_end, skb->len);
}

SEC("tc") int stacked(struct __sk_buff *skb)
{
	struct note *note;
	struct key key;
	__u32 by_head;

	count(BY_TC);
	by_head = !number_of(&key, skb);
	if (by_head && !skb_head_of(&key, skb))
		return -1; /* TC_ACT_UNSPEC */
	note = bpf_map_lookup_elem(&notes, &key);
	if (!note)
		count(UNMATCHED);
	else if (by_head && note->times != 1)
		count(AMBIGUOUS);
	else
		hand_over(note, skb, by_head);
	bpf_map_delete_elem(&notes, &key);
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";

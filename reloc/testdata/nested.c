/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records whose root type is also that of a member of the descriptor. nested_test.go
 * has the layouts.
 */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)

struct kept { __u16 id, gone; };
struct passed { __u16 id; };
struct read { __u32 inner; };
struct header { __u16 proto; };
typedef struct { __u16 id; } alias;
enum color { BLUE = 7 };
enum unused { UNUSED = 7 };

struct md_desc___nested {
	struct kept kept;
	struct passed passed[2];
	struct read read;
	struct header header;
	alias alias;
	enum color color;
	enum unused unused;
	enum { ANONYMOUS = 7 } anonymous;
	struct kept tail[];
};

#pragma clang attribute pop

__u64 out;

#define OPAQUE(pointer) asm volatile("" : "+r"(pointer))

SEC("xdp") int nested(struct xdp_md *ctx)
{
	struct md_desc___nested *md = (void *)(long)ctx->data_meta;
	struct header *header = (void *)(long)ctx->data;
	struct kept *kept = &md->kept, *tail = md->tail;
	struct passed *end = &md->passed[2];
	alias *alias_of = &md->alias;
	struct read copy;

	OPAQUE(kept);
	OPAQUE(tail);
	end--;
	OPAQUE(end);
	OPAQUE(alias_of);
	out += kept->id;
	if (bpf_core_field_exists(kept->gone))
		out += kept->gone;
	out += tail->id;
	out += end->id;
	out += bpf_core_type_size(alias) + bpf_core_type_exists(alias) + alias_of->id;

	/* The program's own, and also what md->read is. */
	OPAQUE(header);
	copy.inner = md->read.inner;
	out += (long)&copy;
	asm volatile("" : : "r"(&copy) : "memory");

	/* The packet's, though md->header is of that type too. */
	out += header->proto;

	out += md->color == bpf_core_enum_value(enum color, BLUE);
	out += bpf_core_enum_value(enum unused, UNUSED);
	out += md->anonymous == bpf_core_enum_value(typeof(md->anonymous), ANONYMOUS);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every kind of record there is. enum md_csum_status is not md_desc, so a
 * layout is applied to it only with --type 'md_*'.
 */

#include "results.h"

struct md_desc___kinds {
	struct {
		__u16 queue;
	} rx;
	__u32 words[4];
	__s32 skew;
	__u32 l3_ok : 1;
	__u32 queue_prio : 7;
	__s32 delta : 5;
} __attribute__((preserve_access_index));

/* In no layout. */
struct md_absent {
	__u32 nothing;
} __attribute__((preserve_access_index));

/* What can be asked of an element of an array. */
#define ELEMENT_KINDS(name)	\
	__u64 has_##name;	\
	__u64 off_##name;	\
	__u64 sz_##name

#define READ_ELEMENT_KINDS(md, path, name)				     \
	do {								     \
		has_##name = bpf_core_field_exists((md)->path);		     \
		if (bpf_core_field_exists((md)->path)) {		     \
			off_##name = bpf_core_field_offset((md)->path);	     \
			sz_##name = bpf_core_field_size((md)->path);	     \
		}							     \
	} while (0)

/* And of a field: the other three kinds, which libbpf refuses for elements. */
#define FIELD_KINDS(name)	\
	ELEMENT_KINDS(name);	\
	__u64 signed_##name;	\
	__u64 lsh_##name;	\
	__u64 rsh_##name

#define READ_KINDS(md, path, name)					     \
	do {								     \
		READ_ELEMENT_KINDS(md, path, name);			     \
		if (bpf_core_field_exists((md)->path)) {		     \
			signed_##name = __CORE_RELO(md, path, SIGNED);	     \
			lsh_##name = __CORE_RELO(md, path, LSHIFT_U64);	     \
			rsh_##name = __CORE_RELO(md, path, RSHIFT_U64);	     \
		}							     \
	} while (0)

#define READ_BITS(md, path, name)					     \
	do {								     \
		READ_KINDS(md, path, name);				     \
		if (bpf_core_field_exists((md)->path))			     \
			got_##name = BPF_CORE_READ_BITFIELD(md, path);	     \
	} while (0)

FIELD_KINDS(rx_timestamp);
FIELD_KINDS(hash);
FIELD_KINDS(vlan_proto);
FIELD_KINDS(rx__queue);
ELEMENT_KINDS(words__2);
FIELD_KINDS(skew);
FIELD_KINDS(l3_ok);
FIELD_KINDS(queue_prio);
FIELD_KINDS(delta);

__u64 got_l3_ok;
__u64 got_queue_prio;
__s64 got_delta;

#define TYPE_KINDS(name)		\
	__u64 type_exists_##name;	\
	__u64 type_size_##name;		\
	__u64 type_matches_##name;	\
	__u64 type_local_##name;	\
	__u64 type_target_##name

/* clang 14 has no type_matches record; the variable stays 0. */
#if __clang_major__ >= 15
#define TYPE_MATCHES(type) bpf_core_type_matches(type)
#else
#define TYPE_MATCHES(type) 0
#endif

#define READ_TYPE(type, name)						     \
	do {								     \
		type_exists_##name = bpf_core_type_exists(type);	     \
		type_size_##name = bpf_core_type_size(type);		     \
		type_matches_##name = TYPE_MATCHES(type);		     \
		type_local_##name = bpf_core_type_id_local(type);	     \
		type_target_##name = bpf_core_type_id_kernel(type);	     \
	} while (0)

TYPE_KINDS(md_desc);
TYPE_KINDS(md_desc___kinds);
TYPE_KINDS(md_absent);
TYPE_KINDS(md_csum_status);

#define ENUM_KINDS(name)		\
	__u64 enum_exists_##name;	\
	__s64 enum_value_##name

#define READ_ENUM(type, name)						     \
	do {								     \
		enum_exists_##name = bpf_core_enum_value_exists(type, name); \
		if (bpf_core_enum_value_exists(type, name))		     \
			enum_value_##name = bpf_core_enum_value(type, name); \
	} while (0)

ENUM_KINDS(MD_CSUM_NONE);
ENUM_KINDS(MD_CSUM_UNNECESSARY);
ENUM_KINDS(MD_CSUM_COMPLETE);

SEC("xdp") int kinds(struct xdp_md *ctx)
{
	struct md_desc *md = md_desc(ctx);
	struct md_desc___kinds *mine = (struct md_desc___kinds *)md;

	READ_TYPE(struct md_desc, md_desc);
	READ_TYPE(struct md_desc___kinds, md_desc___kinds);
	READ_TYPE(struct md_absent, md_absent);
	READ_TYPE(enum md_csum_status, md_csum_status);

	READ_ENUM(enum md_csum_status, MD_CSUM_NONE);
	READ_ENUM(enum md_csum_status, MD_CSUM_UNNECESSARY);
	READ_ENUM(enum md_csum_status, MD_CSUM_COMPLETE);

	if (!md)
		return XDP_PASS;

	found = 1;
	READ_KINDS(md, rx_timestamp, rx_timestamp);
	READ_KINDS(md, hash, hash);
	READ_KINDS(md, vlan_proto, vlan_proto);
	READ_KINDS(mine, rx.queue, rx__queue);
	READ_ELEMENT_KINDS(mine, words[2], words__2);
	READ_KINDS(mine, skew, skew);
	READ_BITS(mine, l3_ok, l3_ok);
	READ_BITS(mine, queue_prio, queue_prio);
	READ_BITS(mine, delta, delta);
	return XDP_PASS;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __PAIRS_H__
#define __PAIRS_H__

/* What the generated programs share. */

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "write_bitfield.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* Stays when the functions of programs are taken out of an object. */
int stays(void) { return 0; }

/* The metadata area as a type, or NULL if it is too small for the layout's. */
#define DESCRIPTOR(ctx, type)						       \
	({								       \
		void *meta = (void *)(long)(ctx)->data_meta;		       \
		void *data = (void *)(long)(ctx)->data;			       \
									       \
		meta + bpf_core_type_size(type) > data ? (type *)0 : (type *)meta; \
	})

/* The address of a field, as a pointer that the compiler can't see through. */
#define ADDRESS(field)							\
	({								\
		__typeof__(field) *address = &(field);			\
									\
		asm volatile("" : "+r"(address));			\
		address;						\
	})

/* A field copied as bytes. */
#define COPIED(field)							\
	({								\
		__typeof__(field) copy;					\
									\
		__builtin_memcpy(&copy, &(field), sizeof(copy));	\
		copy;							\
	})

/*
 * A member or element of a struct or array that is copied as a whole. It is taken
 * from where it is, as clang would record an access to the copy as well.
 */
#define WITHIN(md, whole, leaf)						\
	(__builtin_offsetof(__typeof__(*md), leaf) - __builtin_offsetof(__typeof__(*md), whole))

#define COPIED_WITH(md, whole, leaf)					\
	({								\
		char copy[sizeof(md->whole)];				\
		__typeof__(md->leaf) value;				\
									\
		__builtin_memcpy(copy, &md->whole, sizeof(copy));	\
		asm volatile("" : : "r"(copy) : "memory");		\
		__builtin_memcpy(&value, copy + WITHIN(md, whole, leaf), sizeof(value)); \
		value;							\
	})

#define STORE_WITH(md, whole, leaf, stored)				\
	({								\
		char copy[sizeof(md->whole)];				\
		__typeof__(md->leaf) value = stored;			\
									\
		__builtin_memcpy(copy, &md->whole, sizeof(copy));	\
		__builtin_memcpy(copy + WITHIN(md, whole, leaf), &value, sizeof(value)); \
		asm volatile("" : : "r"(copy) : "memory");		\
		__builtin_memcpy(&md->whole, copy, sizeof(copy));	\
	})

#define BYTE(variable, i) (((volatile __u8 *)&(variable))[i])

/* A field loaded or stored byte by byte. */
#define SPLIT(field)							\
	({								\
		__typeof__(field) value;				\
									\
		_Pragma("unroll")					\
		for (int i = 0; i < (int)sizeof(value); i++)		\
			BYTE(value, i) = BYTE(field, i);		\
		value;							\
	})

#define STORE_SPLIT(field, stored)					\
	({								\
		__typeof__(field) value = stored;			\
									\
		_Pragma("unroll")					\
		for (int i = 0; i < (int)sizeof(value); i++)		\
			BYTE(field, i) = BYTE(value, i);		\
	})

/* What lies behind a field, as a type. */
#define BESIDE(field, type)						\
	({								\
		type *beside = (void *)&(field) + sizeof(field);	\
									\
		asm volatile("" : "+r"(beside));			\
		*beside;						\
	})

/* Bytes of a struct as a number, whatever its members are. */
#define RAW(base, offset, type) (*(type __attribute__((may_alias)) *)((char *)(base) + (offset)))

/* A field as the kernel reads it. */
#define PROBED(field)							\
	({								\
		__typeof__(field) value = 0;				\
									\
		bpf_probe_read_kernel((void *)&value, sizeof(value), (void *)&(field)); \
		value;							\
	})

/* What the compiler can't see through, nor what is in memory behind it. */
#define OPAQUE(variable) asm volatile("" : "+r"(variable) : : "memory")

/* Has no instruction that reads its arguments but the last one. */
__noinline int ignoring(struct xdp_md *ctx, __u64 one, struct xdp_md *again, __u64 value)
{
	asm volatile("" : "+r"(value) : "r"(ctx), "r"(one), "r"(again));
	return value >> 7;
}

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} records SEC(".maps");

#endif /* __PAIRS_H__ */

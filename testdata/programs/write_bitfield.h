/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __WRITE_BITFIELD_H__
#define __WRITE_BITFIELD_H__

#include <bpf/bpf_core_read.h>

/* As libbpf 1.4 and later define it. */
#ifndef BPF_CORE_WRITE_BITFIELD
#define BPF_CORE_WRITE_BITFIELD(s, field, new_val)			\
	({								\
		void *p = (void *)s + __CORE_RELO(s, field, BYTE_OFFSET); \
		unsigned int byte_size = __CORE_RELO(s, field, BYTE_SIZE); \
		unsigned int lshift = __CORE_RELO(s, field, LSHIFT_U64); \
		unsigned int rshift = __CORE_RELO(s, field, RSHIFT_U64); \
		unsigned long long mask, val, nval = new_val;		\
		unsigned int rpad = rshift - lshift;			\
									\
		asm volatile("" : "+r"(p));				\
									\
		switch (byte_size) {					\
		case 1: val = *(unsigned char *)p; break;		\
		case 2: val = *(unsigned short *)p; break;		\
		case 4: val = *(unsigned int *)p; break;		\
		case 8: val = *(unsigned long long *)p; break;		\
		}							\
									\
		mask = (~0ULL << rshift) >> lshift;			\
		val = (val & ~mask) | ((nval << rpad) & mask);		\
									\
		switch (byte_size) {					\
		case 1: *(unsigned char *)p = val; break;		\
		case 2: *(unsigned short *)p = val; break;		\
		case 4: *(unsigned int *)p = val; break;		\
		case 8: *(unsigned long long *)p = val; break;		\
		}							\
	})
#endif

#endif /* __WRITE_BITFIELD_H__ */

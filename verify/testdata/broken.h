/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __BROKEN_H__
#define __BROKEN_H__

/*
 * BROKEN(field, how) { ... } - a function of a field that is wrong
 *
 * The file has it under another name, field__how, which a test puts in the place of the
 * field's own.
 */
#define BROKEN(field, how, ...)						\
	static __attribute__((noinline, used))				\
	__attribute__((btf_decl_tag("from: " #how)))			\
	__typeof__(((struct md_desc *)0)->field) md_field_##field##__##how(__VA_ARGS__)

#endif /* __BROKEN_H__ */

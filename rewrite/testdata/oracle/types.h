/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef __TYPES_H__
#define __TYPES_H__

/* Types that a program and a layout have under one name. */
#define TYPES(DO)							\
	DO(struct link)							\
	DO(struct handlers)						\
	DO(struct qualified)						\
	DO(struct reals)						\
	DO(struct unions)						\
	DO(number_t)							\
	DO(pointer_t)							\
	DO(array_t)							\
	DO(handler_t)							\
	DO(struct declared_here)					\
	DO(struct declared_there)					\
	DO(struct declared_nowhere)					\
	DO(struct declared_otherwise)					\
	DO(struct to_void)						\
	DO(struct to_number)						\
	DO(struct to_pointer)						\
	DO(struct arguments)						\
	DO(struct argument_sign)					\
	DO(struct returned)						\
	DO(struct longer)						\
	DO(struct sign)							\
	DO(struct width)						\
	DO(struct truth)						\
	DO(struct real)							\
	DO(struct real_width)						\
	DO(struct choice)						\
	DO(struct missing)						\
	DO(struct further)						\
	DO(struct inner_name)						\
	DO(struct inner_missing)					\
	DO(struct anonymous)						\
	DO(struct bits)							\
	DO(enum wider)							\
	DO(enum fewer)							\
	DO(enum others)							\
	DO(union either)						\
	DO(to_void_t)							\
	DO(to_other_t)							\
	DO(to_struct_t)							\
	DO(of_others_t)							\
	DO(other_kind_t)						\
	DO(other_sign_t)						\
	DO(other_handler_t)

/* Those that differ in nothing. */
struct link {
	struct link *next, **previous;
	int value;
};

struct declared;
union declared_union;

struct handlers {
	int (*open)(struct link *, const void *, unsigned long);
	void (*close)(void);
	struct link *(*find)(int (*)(struct link *), ...);
};

struct qualified {
	const volatile int a;
	char *restrict b;
	const char *const *c;
	struct declared *d;
	union declared_union *e;
};

struct reals {
	float a;
	double b[2];
};

struct unions {
	union {
		int a;
		struct link b;
	};
	union { short c; } d[3];
};

typedef unsigned long long number_t;
typedef void *pointer_t;
typedef struct link *array_t[4];
typedef int (*handler_t)(struct link *);

#endif /* __TYPES_H__ */

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What types_layout.c has under the same names, and what it has otherwise. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "types.h"

struct complete { int a; };
struct incomplete;
union incomplete_union;

struct declared_here { struct incomplete *p; };
struct declared_there { struct complete *p; };
struct declared_nowhere { union incomplete_union *p; };
struct declared_otherwise { struct incomplete *p; };
struct to_void { void *p; };
struct to_number { int *p; };
struct to_pointer { int **p; };
struct arguments { int (*f)(int, int); };
struct argument_sign { int (*f)(int, unsigned int); };
struct returned { int (*f)(void); };
struct longer { int a[4]; };
struct sign { int a; };
struct width { int a; };
struct truth { _Bool a; };
struct real { float a; };
struct real_width { float a; };
struct choice { enum { RED, BLUE } a; };
struct missing { int a, b; };
struct further { int a; };
struct inner_name { struct one { int a; } a; };
struct inner_missing { struct { int a, b; } a; };
struct anonymous { int a; struct { int b; }; };
struct bits { int a : 3; };
enum wider { WIDER_A, WIDER_B };
enum fewer { FEWER_A, FEWER_B };
enum others { OTHERS_A, OTHERS_B };
union either { int a; short b; };
struct struct_or_union { int a; };
typedef void *to_void_t;
typedef int *to_other_t;
typedef struct link *to_struct_t;
typedef int of_others_t[2];
typedef int other_kind_t;
typedef int other_sign_t;
typedef int (*other_handler_t)(int);

#define TAKE(value)	asm volatile("" : : "r"((long)(value)))

#define ASK(type)					\
	TAKE(bpf_core_type_matches(type));		\
	TAKE(bpf_core_type_exists(type));		\
	TAKE(bpf_core_type_size(type));

SEC("xdp") int types(struct xdp_md *ctx)
{
	TYPES(ASK)
	ASK(struct struct_or_union)
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";

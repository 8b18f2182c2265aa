/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What types.c is asked to fit. */

#include "types.h"

struct complete;
struct incomplete { int a; };
union incomplete_union;

struct declared_here { struct incomplete *p; };
struct declared_there { struct complete *p; };
struct declared_nowhere { union incomplete_union *p; };
struct declared_otherwise { union incomplete_union *p; };
struct to_void { int *p; };
struct to_number { void *p; };
struct to_pointer { int *p; };
struct arguments { int (*f)(int); };
struct argument_sign { int (*f)(int, int); };
struct returned { long (*f)(void); };
struct longer { int a[5]; };
struct sign { unsigned int a; };
struct width { long a; };
struct truth { unsigned char a; };
struct real { int a; };
struct real_width { double a; };
struct choice { int a; };
struct missing { int a; };
struct further { int b, a; };
struct inner_name { struct other { int a; } a; };
struct inner_missing { struct { int a; } a; };
struct anonymous { struct { int b; }; int a; };
struct bits { int a : 5; };
enum wider { WIDER_A, WIDER_B, WIDER_C = 0x100000000 };
enum fewer { FEWER_A };
enum others { OTHERS_C, OTHERS_B, OTHERS_A };
union either { short b; int a; };
union struct_or_union { int a; };
typedef int *to_void_t;
typedef long *to_other_t;
typedef struct complete *to_struct_t;
typedef long of_others_t[3];
typedef int *other_kind_t;
typedef unsigned int other_sign_t;
typedef long (*other_handler_t)(int, int);

#define JOIN2(a, b)	a##b
#define JOIN(a, b)	JOIN2(a, b)
#define VARIABLE(type)	type JOIN(variable, __COUNTER__);

TYPES(VARIABLE)
VARIABLE(union struct_or_union)

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* calls.c with its program array pinned by name. */

#define PINNED
#include "calls.c"

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * calls_pinned.c with a last program that can't be in one array with the others: the
 * kernel does not let programs with and without fragments call each other.
 */

#define PINNED
#define LAST "xdp.frags"
#include "calls.c"

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#define FILE 1
#define WEAK __weak
#include "each.h"

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#define FILE 2
#define WEAK
#include "each.h"

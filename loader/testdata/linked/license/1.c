/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#define FILE 1
#define FIELD hash
#include "each.h"

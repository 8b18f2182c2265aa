// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* sfc_siena: Solarflare SFC9000, which sfc drove before 6.0. */

#include "sfc.h"

MD_DRIVER("sfc_siena");
MD_LACKS(rx_timestamp, "the NIC makes stamps of PTP only, and sends them in events");

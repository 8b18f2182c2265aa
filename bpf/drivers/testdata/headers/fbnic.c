// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/*
 * The types of fbnic, out of its own headers. What those include is in vmlinux.h, but for
 * these macros.
 */
#include "vmlinux.h"

#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define GENMASK(high, low) (~0UL << (low) & ~0UL >> (63 - (high)))
#define GENMASK_ULL(high, low) GENMASK(high, low)
#define DECLARE_BITMAP(name, bits) unsigned long name[((bits) + 63) / 64]
#define DIV_ROUND_UP(number, by) (((number) + (by) - 1) / (by))
#define __iomem
#define __rcu
#define ETH_ALEN 6
#define FBNIC_NON_NAPI_VECTORS 2

#include "fbnic_netdev.h"

struct net_device device;
struct fbnic_net net;
struct fbnic_q_triad triad;
struct fbnic_pkt_buff buff;
